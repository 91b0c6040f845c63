/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_VIDEO_INTERNAL_H
#define MM_API_VIDEO_INTERNAL_H

#include "base/tensor.h"
#include "media/media.h"
#include "motionmatcher/video.h"

struct mm_video {
    mm_frames frames;  /* the tensor's */
    mm_tensor *tensor; /* [F, H, W, 3] */
};

/* Takes over the frames' memory, also when it fails. */
mm_status mm_video_wrap(mm_video **out, mm_frames *frames, mm_error *error);
/* Decodes with explicit geometry. */
mm_status mm_video_decode_clip(mm_video **out, const char *path, const mm_decode_request *request,
                               const mm_logger *logger, mm_error *error);
/* RGB bytes to v / 127.5 - 1, fresh: [F, H, W, 3]. */
mm_status mm_video_to_floats(const mm_video *video, float **out, mm_error *error);
/* MM_ERR_USAGE: the video has another size. */
mm_status mm_video_check_size(const mm_video *video, int64_t frames, int64_t width, int64_t height,
                              mm_error *error);
/* "video.mp4" -> "video.json", fresh. */
char *mm_video_description_path(const char *path);
/* mm_video_read_prompt(), without publishing the error. */
mm_status mm_video_read_description_prompt(const char *path, char **out, mm_error *error);

#endif

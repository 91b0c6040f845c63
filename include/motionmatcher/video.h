/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file video.h
 * Frames in memory: packed RGB, 8 bits, [frames, height, width, 3], top row first.
 * Thread-safety: a video never changes after it was made; any thread may read it.
 */
#ifndef MOTIONMATCHER_VIDEO_H
#define MOTIONMATCHER_VIDEO_H

#include "motionmatcher/context.h"
#include "motionmatcher/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Frames in memory. */
typedef struct mm_video mm_video;

/**
 * Decodes a clip as the options of table "train" or "features" say: width, height, num_frames,
 * frame_step, start_frame, scaling. Aspect ratio is not kept.
 * @return MM_OK; MM_ERR_INPUT: unreadable, damaged, no video in it, or fewer frames than asked (the
 *         message says how many there are); MM_ERR_UNSUPPORTED: no decoder; MM_ERR_MEMORY.
 */
MM_API mm_status mm_video_decode(mm_video **out, mm_context *context, const char *path,
                                 const mm_options *options);
/** What a file says of itself. */
typedef struct mm_video_info {
    uint32_t struct_size; /**< set by the caller to sizeof(mm_video_info) */
    int32_t width;        /**< as shown, after rotation */
    int32_t height;       /**< likewise */
    int64_t frames;       /**< 0 when the file does not say */
    double fps;           /**< 0 when unknown */
    char codec[32];       /**< its name */
} mm_video_info;

/**
 * Looks at a video without decoding it.
 * @return MM_OK; MM_ERR_USAGE: struct_size is too small; MM_ERR_INPUT: unreadable, damaged, no
 * video in it; MM_ERR_UNSUPPORTED: no decoder; MM_ERR_MEMORY.
 */
MM_API mm_status mm_video_probe(const char *path, mm_video_info *info);
/**
 * A video of frames that are there already. Packed frames are not copied.
 * @param out    receives the video, which keeps the tensor alive; NULL on failure.
 * @param frames u8 [frames, height, width, 3], each at least 1.
 * @param fps    to be shown with; 0 when unknown.
 * @return MM_OK; MM_ERR_USAGE: another type or shape, an fps that is negative or not finite;
 *         MM_ERR_MEMORY.
 */
MM_API mm_status mm_video_from_tensor(mm_video **out, const mm_tensor *frames, double fps);
/** Sets *video to NULL; accepts NULL. */
MM_API void mm_video_free(mm_video **video);
/** Number of frames; 0 for NULL, as the sizes are. */
MM_API int64_t mm_video_frames(const mm_video *video);
/** Pixels of a row. */
MM_API int64_t mm_video_width(const mm_video *video);
/** Rows of a frame. */
MM_API int64_t mm_video_height(const mm_video *video);
/** To be shown with; 0 when unknown. */
MM_API double mm_video_fps(const mm_video *video);
/**
 * The frames, without copying.
 * @param out receives u8 [frames, height, width, 3], to be freed with mm_tensor_free().
 * @return MM_OK; MM_ERR_USAGE: NULL.
 */
MM_API mm_status mm_video_tensor(const mm_video *video, mm_tensor **out);
/**
 * Writes by the name's ending: .mp4 .mkv .mov .webm .avi, .gif, .png or .jpg (contact sheet),
 * "f-%04d.png" (one picture a frame). The file appears whole or not at all.
 * @return MM_OK; MM_ERR_RUNTIME: cannot be written; MM_ERR_USAGE: unknown ending;
 *         MM_ERR_UNSUPPORTED: no encoder; MM_ERR_MEMORY.
 */
MM_API mm_status mm_video_write(const mm_video *video, mm_context *context, const char *path);
/**
 * The prompt in the description beside a video: the text "prompt" in clip.json for clip.mp4, where
 * mm_sampler_run() leaves it.
 * @param out receives a string to be freed with mm_string_free(); NULL when there is no such file,
 *            or no prompt in it.
 * @return MM_OK; MM_ERR_INPUT: the file cannot be read or is damaged; MM_ERR_MEMORY.
 */
MM_API mm_status mm_video_read_prompt(const char *path, char **out);
/** Versions of the FFmpeg libraries in use, or "none"; static. */
MM_API const char *mm_video_backend_versions(void);

#ifdef __cplusplus
}
#endif

#endif

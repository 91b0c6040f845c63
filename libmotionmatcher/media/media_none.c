/* SPDX-License-Identifier: BSD-2-Clause */
/* Instead of all else in this folder in a build without FFmpeg. */
#include "base/memory.h"
#include "media/media.h"

void mm_frames_free(mm_frames *frames)
{
    mm_free(frames->data);
    *frames = (mm_frames){0};
}

static mm_status fail(const char *what, mm_error *error)
{
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: this libmotionmatcher was built without FFmpeg, which reads and writes "
                   "videos and pictures",
                   what);
}

mm_status mm_media_decode(mm_frames *out, const char *path, const mm_decode_request *request,
                          const mm_logger *logger, mm_error *error)
{
    (void)request, (void)logger;
    *out = (mm_frames){0};
    return fail(path, error);
}

mm_status mm_media_decode_each(const char *path, const mm_decode_request *request,
                               const mm_logger *logger, mm_frame_sink sink, void *user,
                               int64_t *count, mm_error *error)
{
    (void)request, (void)logger, (void)sink, (void)user;
    *count = 0;
    return fail(path, error);
}

mm_status mm_media_probe(mm_media_info *out, const char *path, mm_error *error)
{
    *out = (mm_media_info){0};
    return fail(path, error);
}

mm_status mm_media_check_path(const char *path, mm_error *error)
{
    return fail(path, error);
}

mm_status mm_media_write(const char *path, const mm_frames *frames, const mm_logger *logger,
                         mm_error *error)
{
    (void)frames, (void)logger;
    return fail(path, error);
}

mm_status mm_frames_scale(mm_frames *out, const mm_frames *in, int32_t width, int32_t height,
                          mm_scaling scaling, mm_error *error)
{
    (void)in, (void)width, (void)height, (void)scaling;
    *out = (mm_frames){0};
    return fail("scaling frames", error);
}

const char *mm_media_versions(void)
{
    return "none";
}

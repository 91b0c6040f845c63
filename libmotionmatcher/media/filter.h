/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures through a chain of libavfilter's filters: rotating, scaling, changing the pixel format.
 */
#ifndef MM_MEDIA_FILTER_H
#define MM_MEDIA_FILTER_H

#include <libavutil/frame.h>
#include <libavutil/rational.h>

#include "base/error.h"
#include "media/media.h"

typedef struct AVFilterGraph AVFilterGraph;
typedef struct AVFilterContext AVFilterContext;

typedef struct mm_filter {
    AVFilterGraph *graph;
    AVFilterContext *source, *sink;
} mm_filter;

/* For pictures of the size and format of `like`, one every `time_base`. */
mm_status mm_filter_open(mm_filter *filter, const AVFrame *like, AVRational time_base,
                         const char *description, mm_error *error);
void mm_filter_close(mm_filter *filter);
/* NULL: no more pictures. The caller keeps its reference. */
mm_status mm_filter_push(mm_filter *filter, AVFrame *picture, mm_error *error);
/* *got is false when the filters want more pictures, or have given all. */
mm_status mm_filter_pull(mm_filter *filter, AVFrame *picture, bool *got, mm_error *error);

const char *mm_scaling_name(mm_scaling scaling); /* as libswscale has it */

/* "what: FFmpeg's words" with the given status, or MM_ERR_MEMORY where `code` says so. */
mm_status mm_fail_ffmpeg(mm_error *error, mm_status status, int code, const char *what);

/* A new picture with memory for its pixels; NULL without. */
AVFrame *mm_picture_new(int width, int height, int format);
/* Frame `index` as a picture; sides that `even` asks for repeat the last row and column. */
AVFrame *mm_picture_from_frame(const mm_frames *frames, int64_t index, bool even);
/* Copies an RGB24 picture into packed memory. */
void mm_picture_copy(uint8_t *out, const AVFrame *picture);

#endif

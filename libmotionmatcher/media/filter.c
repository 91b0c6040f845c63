/* SPDX-License-Identifier: BSD-2-Clause */
#include "media/filter.h"

#include <errno.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/mem.h>
#include <string.h>

#include "base/memory.h"

mm_status mm_fail_ffmpeg(mm_error *error, mm_status status, int code, const char *what)
{
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    if (code == AVERROR(ENOMEM))
        return mm_fail_memory(error, what, 0);
    av_strerror(code, words, sizeof(words));
    return mm_fail(error, status, "%s: %s", what, words);
}

const char *mm_scaling_name(mm_scaling scaling)
{
    return scaling == MM_SCALING_BICUBIC ? "bicubic" : "bilinear";
}

static int set_source(mm_filter *filter, const AVFrame *like, AVRational time_base)
{
    AVBufferSrcParameters *parameters = av_buffersrc_parameters_alloc();
    filter->source =
        avfilter_graph_alloc_filter(filter->graph, avfilter_get_by_name("buffer"), "in");
    int code = AVERROR(ENOMEM);
    if (parameters && filter->source) {
        parameters->format = like->format;
        parameters->width = like->width;
        parameters->height = like->height;
        parameters->time_base = time_base;
        parameters->hw_frames_ctx = like->hw_frames_ctx;
#if LIBAVFILTER_VERSION_MAJOR >= 10
        parameters->color_space = like->colorspace;
        parameters->color_range = like->color_range;
#endif
        code = av_buffersrc_parameters_set(filter->source, parameters);
    }
    if (code >= 0)
        code = avfilter_init_str(filter->source, NULL);
    av_free(parameters);
    return code;
}

static int connect_ends(mm_filter *filter, const char *description)
{
    AVFilterInOut *outputs = avfilter_inout_alloc(), *inputs = avfilter_inout_alloc();
    int code = AVERROR(ENOMEM);
    if (outputs && inputs && (outputs->name = av_strdup("in")) &&
        (inputs->name = av_strdup("out"))) {
        outputs->filter_ctx = filter->source;
        inputs->filter_ctx = filter->sink;
        code = avfilter_graph_parse_ptr(filter->graph, description, &inputs, &outputs, NULL);
    }
    avfilter_inout_free(&inputs);
    avfilter_inout_free(&outputs);
    return code;
}

static int build(mm_filter *filter, const AVFrame *like, AVRational time_base,
                 const char *description)
{
    filter->graph = avfilter_graph_alloc();
    if (!filter->graph)
        return AVERROR(ENOMEM);
    filter->graph->nb_threads = 1; /* the caller's threads are the library's to count */
    int code = set_source(filter, like, time_base);
    if (code >= 0)
        code = avfilter_graph_create_filter(&filter->sink, avfilter_get_by_name("buffersink"),
                                            "out", NULL, NULL, filter->graph);
    if (code >= 0)
        code = connect_ends(filter, description);
    return code < 0 ? code : avfilter_graph_config(filter->graph, NULL);
}

mm_status mm_filter_open(mm_filter *filter, const AVFrame *like, AVRational time_base,
                         const char *description, mm_error *error)
{
    *filter = (mm_filter){0};
    int code = build(filter, like, time_base, description);
    if (code >= 0)
        return MM_OK;
    mm_filter_close(filter);
    return mm_fail_ffmpeg(error, MM_ERR_UNSUPPORTED, code, "converting a picture");
}

void mm_filter_close(mm_filter *filter)
{
    avfilter_graph_free(&filter->graph);
    *filter = (mm_filter){0};
}

mm_status mm_filter_push(mm_filter *filter, AVFrame *picture, mm_error *error)
{
    int code = av_buffersrc_add_frame_flags(filter->source, picture, AV_BUFFERSRC_FLAG_KEEP_REF);
    return code >= 0 ? MM_OK : mm_fail_ffmpeg(error, MM_ERR_RUNTIME, code, "converting a picture");
}

mm_status mm_filter_pull(mm_filter *filter, AVFrame *picture, bool *got, mm_error *error)
{
    av_frame_unref(picture);
    int code = av_buffersink_get_frame(filter->sink, picture);
    *got = code >= 0;
    if (code >= 0 || code == AVERROR(EAGAIN) || code == AVERROR_EOF)
        return MM_OK;
    return mm_fail_ffmpeg(error, MM_ERR_RUNTIME, code, "converting a picture");
}

AVFrame *mm_picture_new(int width, int height, int format)
{
    AVFrame *picture = av_frame_alloc();
    if (!picture)
        return NULL;
    picture->width = width;
    picture->height = height;
    picture->format = format;
    if (av_frame_get_buffer(picture, 0) < 0)
        av_frame_free(&picture);
    return picture;
}

static void copy_row(uint8_t *out, int out_width, const uint8_t *in, int width)
{
    memcpy(out, in, (size_t)width * 3);
    for (int x = width; x < out_width; x++)
        memcpy(out + 3 * (size_t)x, in + 3 * (size_t)(width - 1), 3);
}

AVFrame *mm_picture_from_frame(const mm_frames *frames, int64_t index, bool even)
{
    int odd = even ? 1 : 0, width = frames->width, height = frames->height;
    AVFrame *picture =
        mm_picture_new(width + (width & odd), height + (height & odd), AV_PIX_FMT_RGB24);
    if (!picture)
        return NULL;
    size_t row = (size_t)width * 3;
    const uint8_t *pixels = frames->data + (size_t)index * (size_t)height * row;
    for (int y = 0; y < picture->height; y++) {
        int from = y < height ? y : height - 1;
        copy_row(picture->data[0] + (ptrdiff_t)y * picture->linesize[0], picture->width,
                 pixels + (size_t)from * row, width);
    }
    picture->pts = index;
    return picture;
}

void mm_picture_copy(uint8_t *out, const AVFrame *picture)
{
    size_t row = (size_t)picture->width * 3;
    for (int y = 0; y < picture->height; y++)
        memcpy(out + (size_t)y * row, picture->data[0] + (ptrdiff_t)y * picture->linesize[0], row);
}

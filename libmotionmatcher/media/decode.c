/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "media/filter.h"
#include "media/input.h"
#include "media/media.h"
#include "media/orientation.h"
#include "media/quiet.h"

/* What decides how a picture is converted: all equal means that the filters can stay. */
typedef struct picture_kind {
    int width, height, format, colorspace, range;
    mm_orientation orientation;
} picture_kind;

typedef struct decoding {
    const mm_decode_request *request;
    const mm_logger *logger;
    mm_input input;
    AVPacket *packet;
    AVFrame *picture, *converted;
    mm_filter filter;
    picture_kind kind;
    mm_frames *out;
    mm_frame_sink sink; /* takes each frame from out->data, which then holds one; may be NULL */
    void *user;
    int64_t capacity;        /* frames that out->data has room for */
    int64_t taken;           /* frames kept or handed over */
    int64_t seen;            /* frames decoded */
    int64_t damaged_packets; /* that the decoder refused */
    bool ended;              /* enough frames, or no more */
} decoding;

static size_t frame_bytes(const mm_frames *frames)
{
    return (size_t)frames->width * (size_t)frames->height * 3;
}

void mm_frames_free(mm_frames *frames)
{
    mm_free(frames->data);
    *frames = (mm_frames){0};
}

static const int32_t *display_matrix(const decoding *d)
{
    const AVFrameSideData *side = av_frame_get_side_data(d->picture, AV_FRAME_DATA_DISPLAYMATRIX);
    if (side && side->size >= 9 * sizeof(int32_t))
        return (const int32_t *)(const void *)side->data;
    return mm_input_display_matrix(&d->input);
}

static picture_kind kind_of(const decoding *d)
{
    const AVFrame *picture = d->picture;
    return (picture_kind){.width = picture->width,
                          .height = picture->height,
                          .format = picture->format,
                          .colorspace = picture->colorspace,
                          .range = picture->color_range,
                          .orientation = mm_orientation_from_matrix(display_matrix(d), NULL)};
}

static bool same_kind(const picture_kind *a, const picture_kind *b)
{
    return a->width == b->width && a->height == b->height && a->format == b->format &&
           a->colorspace == b->colorspace && a->range == b->range &&
           a->orientation.transpose == b->orientation.transpose &&
           a->orientation.flip_x == b->orientation.flip_x &&
           a->orientation.flip_y == b->orientation.flip_y;
}

static bool has_alpha(int format)
{
    const AVPixFmtDescriptor *description = av_pix_fmt_desc_get(format);
    return description && (description->flags & AV_PIX_FMT_FLAG_ALPHA);
}

/* Without a size of its own, the request takes the first frame's. */
static void choose_size(decoding *d, const picture_kind *kind)
{
    bool turned = kind->orientation.transpose;
    if (d->out->width == 0)
        d->out->width =
            d->request->width ? d->request->width : (turned ? kind->height : kind->width);
    if (d->out->height == 0)
        d->out->height =
            d->request->height ? d->request->height : (turned ? kind->width : kind->height);
}

static mm_status set_filter(decoding *d, mm_error *error)
{
    picture_kind kind = kind_of(d);
    if (d->filter.graph && same_kind(&kind, &d->kind))
        return MM_OK;
    MM_TRY(mm_input_check_size(&d->input, kind.width, kind.height, error));
    mm_filter_close(&d->filter);
    choose_size(d, &kind);
    char description[256];
    snprintf(description, sizeof(description), "%s%sscale=%d:%d:flags=%s,format=rgb24",
             has_alpha(kind.format) ? "format=gbrap,premultiply=inplace=1," : "",
             mm_orientation_filters(kind.orientation), d->out->width, d->out->height,
             mm_scaling_name(d->request->scaling));
    d->kind = kind;
    mm_status status =
        mm_filter_open(&d->filter, d->picture, d->input.stream->time_base, description, error);
    return status == MM_OK ? MM_OK : mm_error_prefix(error, "%s", d->input.file.path);
}

static mm_status fail_size(const decoding *d, int64_t frames, mm_error *error)
{
    return mm_fail(error, MM_ERR_MEMORY, "%s: no memory for %lld frames of %dx%d",
                   d->input.file.path, (long long)frames, d->out->width, d->out->height);
}

static mm_status reserve_frame(decoding *d, mm_error *error)
{
    if (d->out->count < d->capacity)
        return MM_OK;
    int64_t capacity = d->sink ? 1 : d->capacity ? 2 * d->capacity : 16;
    size_t bytes;
    if (d->request->frame_count && capacity > d->request->frame_count)
        capacity = d->request->frame_count;
    if (!mm_mul_size((size_t)capacity, frame_bytes(d->out), &bytes) || bytes > mm_available_bytes())
        return fail_size(d, capacity, error);
    uint8_t *grown = mm_realloc(d->out->data, bytes);
    if (!grown)
        return fail_size(d, capacity, error);
    d->out->data = grown;
    d->capacity = capacity;
    return MM_OK;
}

static mm_status keep_picture(decoding *d, mm_error *error)
{
    bool got = false;
    MM_TRY(set_filter(d, error));
    MM_TRY(reserve_frame(d, error));
    MM_TRY(mm_filter_push(&d->filter, d->picture, error));
    MM_TRY(mm_filter_pull(&d->filter, d->converted, &got, error));
    if (!got)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: frame %lld was lost while it was scaled",
                       d->input.file.path, (long long)d->seen);
    mm_picture_copy(d->out->data + (size_t)d->out->count * frame_bytes(d->out), d->converted);
    d->taken++;
    if (d->sink)
        return d->sink(d->user, d->out->data, d->out->width, d->out->height, error);
    d->out->count++;
    return MM_OK;
}

static mm_status take_picture(decoding *d, mm_error *error)
{
    int64_t index = d->seen - d->request->start_frame;
    if (index >= 0 && index % d->request->frame_step == 0)
        MM_TRY(keep_picture(d, error));
    d->seen++;
    d->ended = d->request->frame_count && d->taken == d->request->frame_count;
    return MM_OK;
}

/* All pictures that the packets sent so far give. */
static mm_status receive_pictures(decoding *d, mm_error *error)
{
    while (!d->ended) {
        int code = avcodec_receive_frame(d->input.decoder, d->picture);
        if (code == AVERROR(EAGAIN))
            return MM_OK;
        if (code == AVERROR(ENOMEM))
            return mm_fail_ffmpeg(error, MM_ERR_MEMORY, code, "decoding a video");
        if (code == AVERROR_EOF)
            d->ended = true;
        else if (code < 0)
            return ++d->damaged_packets, MM_OK;
        else
            MM_TRY(take_picture(d, error));
        av_frame_unref(d->picture);
    }
    return MM_OK;
}

/* NULL: the end. A packet that the decoder refuses is left out, as players do. */
static mm_status send_packet(decoding *d, const AVPacket *packet, mm_error *error)
{
    int code = avcodec_send_packet(d->input.decoder, packet);
    if (code == AVERROR(ENOMEM))
        return mm_fail_ffmpeg(error, MM_ERR_MEMORY, code, "decoding a video");
    if (code < 0 && code != AVERROR_EOF)
        d->damaged_packets++;
    return receive_pictures(d, error);
}

static mm_status decode_packets(decoding *d, mm_error *error)
{
    int code = 0;
    while (!d->ended && (code = av_read_frame(d->input.format, d->packet)) >= 0) {
        mm_status status = MM_OK;
        if (d->packet->stream_index == d->input.stream->index)
            status = send_packet(d, d->packet, error);
        av_packet_unref(d->packet);
        MM_TRY(status);
    }
    if (code == AVERROR(ENOMEM))
        return mm_fail_ffmpeg(error, MM_ERR_MEMORY, code, "reading a video");
    if (code < 0 && code != AVERROR_EOF)
        d->damaged_packets++;
    return d->ended ? MM_OK : send_packet(d, NULL, error);
}

static mm_status check_count(const decoding *d, mm_error *error)
{
    const mm_decode_request *request = d->request;
    const char *path = d->input.file.path, *damage = d->damaged_packets ? " (it is damaged)" : "";
    if (d->seen == 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: no frame can be decoded%s", path, damage);
    if (d->taken == 0 || d->taken < request->frame_count)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the video has %lld frames%s, too few for %lld from frame %lld at every "
                       "%lld: ask for fewer, or give a longer video",
                       path, (long long)d->seen, damage,
                       (long long)(request->frame_count ? request->frame_count : 1),
                       (long long)request->start_frame, (long long)request->frame_step);
    return MM_OK;
}

static void report(const decoding *d)
{
    bool exact;
    mm_orientation_from_matrix(mm_input_display_matrix(&d->input), &exact);
    if (!exact)
        mm_log(d->logger, MM_LOG_NOTICE,
               "%s: is to be shown at an angle; it is turned by quarters only", d->input.file.path);
    if (d->damaged_packets)
        mm_log(d->logger, MM_LOG_WARNING,
               "%s: %lld damaged packets; some frames may be missing or wrong", d->input.file.path,
               (long long)d->damaged_packets);
}

static mm_status decode(decoding *d, const char *path, mm_error *error)
{
    MM_TRY(mm_input_open(&d->input, path, error));
    MM_TRY(mm_input_open_decoder(&d->input, error));
    d->packet = av_packet_alloc();
    d->picture = av_frame_alloc();
    d->converted = av_frame_alloc();
    if (!d->packet || !d->picture || !d->converted)
        return mm_fail_memory(error, "decoding a video", sizeof(AVFrame));
    MM_TRY(decode_packets(d, error));
    MM_TRY(check_count(d, error));
    d->out->fps = mm_input_fps(&d->input) / (double)d->request->frame_step;
    report(d);
    return MM_OK;
}

static mm_status check_request(const mm_decode_request *request, mm_error *error)
{
    if (request->start_frame < 0 || request->frame_step < 1 || request->frame_count < 0 ||
        request->width < 0 || request->height < 0)
        return mm_fail(error, MM_ERR_USAGE,
                       "start frame, frame count and size must be 0 or more, the step 1 or more");
    if (request->width > mm_input_side_limit || request->height > mm_input_side_limit)
        return mm_fail(error, MM_ERR_USAGE, "a video cannot be scaled to %dx%d: at most %dx%d",
                       request->width, request->height, mm_input_side_limit, mm_input_side_limit);
    return MM_OK;
}

/* Decodes and closes everything but d->out. */
static mm_status run(decoding *d, const char *path, mm_error *error)
{
    d->input.file.descriptor = -1;
    *d->out = (mm_frames){0};
    MM_TRY(check_request(d->request, error));
    mm_quiet_begin();
    mm_status status = decode(d, path, error);
    mm_filter_close(&d->filter);
    av_packet_free(&d->packet);
    av_frame_free(&d->picture);
    av_frame_free(&d->converted);
    mm_input_close(&d->input);
    mm_quiet_end();
    return status;
}

mm_status mm_media_decode(mm_frames *out, const char *path, const mm_decode_request *request,
                          const mm_logger *logger, mm_error *error)
{
    decoding d = {.request = request, .logger = logger, .out = out};
    mm_status status = run(&d, path, error);
    if (status != MM_OK)
        mm_frames_free(out);
    return status;
}

mm_status mm_media_decode_each(const char *path, const mm_decode_request *request,
                               const mm_logger *logger, mm_frame_sink sink, void *user,
                               int64_t *count, mm_error *error)
{
    mm_frames frame;
    decoding d = {.request = request, .logger = logger, .out = &frame, .sink = sink, .user = user};
    mm_status status = run(&d, path, error);
    *count = d.taken;
    mm_frames_free(&frame);
    return status;
}

static void describe(mm_media_info *out, const mm_input *input)
{
    const AVCodecParameters *codec = input->stream->codecpar;
    mm_orientation orientation = mm_orientation_from_matrix(mm_input_display_matrix(input), NULL);
    out->width = orientation.transpose ? codec->height : codec->width;
    out->height = orientation.transpose ? codec->width : codec->height;
    out->frames = input->stream->nb_frames;
    out->fps = mm_input_fps(input);
    snprintf(out->codec, sizeof(out->codec), "%s", avcodec_get_name(codec->codec_id));
}

mm_status mm_media_probe(mm_media_info *out, const char *path, mm_error *error)
{
    mm_input input = {0};
    *out = (mm_media_info){0};
    mm_quiet_begin();
    mm_status status = mm_input_open(&input, path, error);
    if (status == MM_OK)
        describe(out, &input);
    mm_input_close(&input);
    mm_quiet_end();
    return status;
}

static mm_status scale_all(mm_frames *out, const mm_frames *in, mm_filter *filter, AVFrame *scaled,
                           const char *description, mm_error *error)
{
    for (int64_t i = 0; i < in->count; i++) {
        AVFrame *picture = mm_picture_from_frame(in, i, false);
        mm_status status = picture ? MM_OK : mm_fail_memory(error, "a picture", frame_bytes(in));
        if (status == MM_OK && !filter->graph)
            status = mm_filter_open(filter, picture, (AVRational){1, 1}, description, error);
        if (status == MM_OK)
            status = mm_filter_push(filter, picture, error);
        av_frame_free(&picture);
        MM_TRY(status);
        bool got = false;
        MM_TRY(mm_filter_pull(filter, scaled, &got, error));
        if (!got)
            return mm_fail(error, MM_ERR_RUNTIME, "a frame was lost while it was scaled");
        mm_picture_copy(out->data + (size_t)i * frame_bytes(out), scaled);
    }
    return MM_OK;
}

static mm_status allocate_frames(mm_frames *out, mm_error *error)
{
    size_t bytes;
    if (!mm_mul_size(frame_bytes(out), (size_t)out->count, &bytes) ||
        !(out->data = mm_malloc(bytes)))
        return mm_fail_memory(error, "frames", frame_bytes(out));
    return MM_OK;
}

mm_status mm_frames_scale(mm_frames *out, const mm_frames *in, int32_t width, int32_t height,
                          mm_scaling scaling, mm_error *error)
{
    *out = (mm_frames){.count = in->count, .width = width, .height = height, .fps = in->fps};
    if (width < 1 || height < 1 || width > mm_input_side_limit || height > mm_input_side_limit)
        return mm_fail(error, MM_ERR_USAGE, "frames cannot be scaled to %dx%d", width, height);
    char description[64];
    snprintf(description, sizeof(description), "scale=%d:%d:flags=%s,format=rgb24", width, height,
             mm_scaling_name(scaling));
    MM_TRY(allocate_frames(out, error));
    mm_quiet_begin();
    mm_filter filter = {0};
    AVFrame *scaled = av_frame_alloc();
    mm_status status = scaled ? scale_all(out, in, &filter, scaled, description, error)
                              : mm_fail_memory(error, "a picture", sizeof(AVFrame));
    mm_filter_close(&filter);
    av_frame_free(&scaled);
    mm_quiet_end();
    if (status != MM_OK)
        mm_frames_free(out);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "media/filter.h"
#include "media/memory_output.h"
#include "media/output.h"

/* Encoders in the order of preference, at a quality where generated frames show no blocks. */
static const struct {
    const char *name, *options;
} video_encoders[] = {
    {"libx264", "crf=18:preset=medium"},
    {"libopenh264", "b=8000000"},
    {"h264_nvenc", "cq=19"},
    {"h264_v4l2m2m", "b=8000000"},
    {"libvpx-vp9", "crf=20:b=0:deadline=good:cpu-used=2"},
    {"libsvtav1", "crf=23"},
    {"mpeg4", "qmin=2:qmax=3:b=20000000"},
    {"ffv1", ""},
};

/* The conversion's matrix is written into the file, so that every player undoes the same one. */
static const char video_filters[] =
    "scale=flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt601:out_range=limited,"
    "format=yuv420p";
/* One palette for the whole animation: colours do not flicker, and equal frames stay equal. */
static const char gif_filters[] =
    "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=sierra2_4a";

typedef struct writing {
    const char *path;
    const mm_frames *frames;
    mm_memory_output memory;
    AVFormatContext *format;
    AVStream *stream;
    AVCodecContext *encoder;
    mm_filter filter;
    AVPacket *packet;
    AVFrame *converted;
    bool started; /* the header is written, the trailer is not */
} writing;

AVRational mm_output_rate(const mm_frames *frames)
{
    static const AVRational fallback = {8, 1};
    AVRational rate = frames->fps > 0 ? av_d2q(frames->fps, 1001000) : fallback;
    return rate.num > 0 && rate.den > 0 ? rate : fallback;
}

static mm_status fail_write(const writing *w, int code, mm_error *error)
{
    return mm_fail_ffmpeg(error, MM_ERR_RUNTIME, code, w->path);
}

static AVDictionary *parse_options(const char *text)
{
    AVDictionary *options = NULL;
    av_dict_parse_string(&options, text, "=", ":", 0);
    return options;
}

static int open_encoder(writing *w, const AVCodec *codec, const char *option_text,
                        enum AVPixelFormat pixels)
{
    const AVFrame *like = w->converted;
    AVCodecContext *encoder = w->encoder = avcodec_alloc_context3(codec);
    if (!encoder)
        return AVERROR(ENOMEM);
    encoder->width = like->width;
    encoder->height = like->height;
    encoder->pix_fmt = pixels;
    encoder->framerate = mm_output_rate(w->frames);
    encoder->time_base = av_inv_q(encoder->framerate);
    encoder->thread_count = 1; /* equal frames give equal bytes */
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    if (pixels == AV_PIX_FMT_YUV420P) {
        encoder->colorspace = AVCOL_SPC_SMPTE170M;
        encoder->color_range = AVCOL_RANGE_MPEG;
    }
    if (w->format->oformat->flags & AVFMT_GLOBALHEADER)
        encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary *options = parse_options(option_text);
    int code = avcodec_open2(encoder, codec, &options);
    av_dict_free(&options);
    if (code < 0)
        avcodec_free_context(&w->encoder);
    return code;
}

static bool fits_container(const writing *w, const AVCodec *codec)
{
    return avformat_query_codec(w->format->oformat, codec->id, FF_COMPLIANCE_NORMAL) == 1;
}

static mm_status fail_no_encoder(const writing *w, mm_error *error)
{
    char names[256] = "";
    for (size_t i = 0; i < sizeof(video_encoders) / sizeof(*video_encoders); i++)
        if (avcodec_find_encoder_by_name(video_encoders[i].name))
            snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
                     video_encoders[i].name);
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: no encoder of this FFmpeg (%s ) takes %dx%d frames for this kind of file",
                   w->path, *names ? names : " none", w->frames->width, w->frames->height);
}

static mm_status choose_encoder(writing *w, const mm_logger *logger, mm_error *error)
{
    for (size_t i = 0; i < sizeof(video_encoders) / sizeof(*video_encoders); i++) {
        const AVCodec *codec = avcodec_find_encoder_by_name(video_encoders[i].name);
        if (!codec || !fits_container(w, codec))
            continue;
        int code = open_encoder(w, codec, video_encoders[i].options, AV_PIX_FMT_YUV420P);
        if (code == AVERROR(ENOMEM))
            return fail_write(w, code, error);
        if (code >= 0) {
            if (i > 0)
                mm_log(logger, MM_LOG_NOTICE, "%s: encoded with %s", w->path,
                       video_encoders[i].name);
            return MM_OK;
        }
    }
    return fail_no_encoder(w, error);
}

static int start_container(writing *w)
{
    w->stream = avformat_new_stream(w->format, NULL);
    if (!w->stream)
        return AVERROR(ENOMEM);
    w->stream->time_base = w->encoder->time_base;
    w->stream->avg_frame_rate = w->encoder->framerate;
    int code = avcodec_parameters_from_context(w->stream->codecpar, w->encoder);
    if (code >= 0)
        code = mm_memory_output_open(&w->memory);
    w->format->pb = w->memory.io;
    if (code >= 0)
        code = avformat_write_header(w->format, NULL);
    w->started = code >= 0;
    return code;
}

static int write_packets(writing *w)
{
    int code;
    while ((code = avcodec_receive_packet(w->encoder, w->packet)) >= 0) {
        if (w->packet->duration == 0)
            w->packet->duration = 1;
        av_packet_rescale_ts(w->packet, w->encoder->time_base, w->stream->time_base);
        w->packet->stream_index = w->stream->index;
        code = av_interleaved_write_frame(w->format, w->packet);
        if (code < 0)
            return code;
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF ? 0 : code;
}

/* A picture, or NULL at the end. */
static int encode_picture(writing *w, AVFrame *picture)
{
    if (picture)
        picture->pict_type = AV_PICTURE_TYPE_NONE;
    int code = avcodec_send_frame(w->encoder, picture);
    return code < 0 ? code : write_packets(w);
}

static mm_status push_frame(writing *w, int64_t index, const char *filters, bool even,
                            mm_error *error)
{
    AVFrame *picture = mm_picture_from_frame(w->frames, index, even);
    if (!picture)
        return mm_fail_memory(error, "a picture", (unsigned long long)w->frames->width * 3);
    mm_status status = MM_OK;
    if (!w->filter.graph)
        status = mm_filter_open(&w->filter, picture, av_inv_q(mm_output_rate(w->frames)), filters,
                                error);
    if (status == MM_OK)
        status = mm_filter_push(&w->filter, picture, error);
    av_frame_free(&picture);
    return status;
}

/* The first picture decides the encoder's size; what is pulled is encoded at once. */
static mm_status drain(writing *w, const mm_logger *logger, bool gif, mm_error *error)
{
    for (int64_t count = 0;; count++) {
        bool got = false;
        int code = 0;
        MM_TRY(mm_filter_pull(&w->filter, w->converted, &got, error));
        if (!got)
            return MM_OK;
        if (!w->encoder) {
            const AVCodec *codec = gif ? avcodec_find_encoder(AV_CODEC_ID_GIF) : NULL;
            if (gif && !codec)
                return mm_fail(error, MM_ERR_UNSUPPORTED, "this FFmpeg has no GIF encoder");
            if (gif)
                code = open_encoder(w, codec, "", AV_PIX_FMT_PAL8);
            else
                MM_TRY(choose_encoder(w, logger, error));
            code = code < 0 ? code : start_container(w);
        }
        if (code >= 0)
            code = encode_picture(w, w->converted);
        if (code < 0)
            return fail_write(w, code, error);
    }
}

static mm_status encode_frames(writing *w, const mm_logger *logger, bool gif, mm_error *error)
{
    for (int64_t i = 0; i < w->frames->count; i++) {
        MM_TRY(push_frame(w, i, gif ? gif_filters : video_filters, !gif, error));
        MM_TRY(drain(w, logger, gif, error));
    }
    MM_TRY(mm_filter_push(&w->filter, NULL, error));
    MM_TRY(drain(w, logger, gif, error));
    int code = w->encoder ? encode_picture(w, NULL) : AVERROR_BUG;
    if (code >= 0) {
        w->started = false;
        code = av_write_trailer(w->format);
    }
    if (code >= 0) {
        mm_memory_output_flush(&w->memory);
        code = w->memory.io->error;
    }
    return code < 0 ? fail_write(w, code, error) : MM_OK;
}

static mm_status open_format(writing *w, const char *name, mm_error *error)
{
    int code = avformat_alloc_output_context2(&w->format, NULL, name, name ? NULL : w->path);
    if (code < 0)
        return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: this FFmpeg cannot write such files",
                       w->path);
    w->format->flags |= AVFMT_FLAG_BITEXACT;
    w->packet = av_packet_alloc();
    w->converted = av_frame_alloc();
    return w->packet && w->converted ? MM_OK
                                     : mm_fail_memory(error, "writing a video", sizeof(AVFrame));
}

static void close_writing(writing *w)
{
    if (w->started)
        av_write_trailer(w->format); /* else packets in waiting are lost memory */
    mm_filter_close(&w->filter);
    avcodec_free_context(&w->encoder);
    av_packet_free(&w->packet);
    av_frame_free(&w->converted);
    avformat_free_context(w->format);
    mm_memory_output_close(&w->memory);
}

static mm_status write_file(const char *path, const mm_frames *frames, const mm_logger *logger,
                            bool gif, mm_error *error)
{
    writing w = {.path = path, .frames = frames};
    mm_status status = open_format(&w, gif ? "gif" : NULL, error);
    if (status == MM_OK)
        status = encode_frames(&w, logger, gif, error);
    if (status == MM_OK)
        status = mm_output_file_write_all(path, w.memory.data, w.memory.size, error);
    close_writing(&w);
    return status;
}

mm_status mm_output_video(const char *path, const mm_frames *frames, const mm_logger *logger,
                          mm_error *error)
{
    return write_file(path, frames, logger, false, error);
}

mm_status mm_output_gif(const char *path, const mm_frames *frames, mm_error *error)
{
    return write_file(path, frames, NULL, true, error);
}

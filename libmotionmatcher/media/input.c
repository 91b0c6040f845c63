/* SPDX-License-Identifier: BSD-2-Clause */
#include "media/input.h"

#include <errno.h>
#include <libavutil/avstring.h>
#include <libavutil/mem.h>
#include <string.h>

#include "base/memory.h"
#include "media/filter.h"

enum { io_buffer_bytes = 64 * 1024 };

/* Formats that name other files or addresses. They are refused by name; and nothing could be opened
   through them either, because an input has no way to open a second file. */
static const char *const scripts[] = {"concat", "concatf",    "hls",   "dash",
                                      "sdp",    "rtsp",       "rtp",   "imf",
                                      "image2", "image2pipe", "lavfi", "webm_dash_manifest"};

static int read_packet(void *opaque, uint8_t *out, int bytes)
{
    mm_input *input = opaque;
    int64_t left = (int64_t)input->file.size - input->position;
    if (left <= 0)
        return AVERROR_EOF;
    if (bytes > left)
        bytes = (int)left;
    mm_error ignored;
    if (mm_file_read(&input->file, (uint64_t)input->position, out, (size_t)bytes, &ignored) !=
        MM_OK)
        return AVERROR(EIO);
    input->position += bytes;
    return bytes;
}

static int64_t seek_packet(void *opaque, int64_t offset, int whence)
{
    mm_input *input = opaque;
    int64_t size = (int64_t)input->file.size;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return size;
    if (whence == SEEK_CUR)
        offset += input->position;
    else if (whence == SEEK_END)
        offset += size;
    else if (whence != SEEK_SET)
        return AVERROR(EINVAL);
    if (offset < 0)
        return AVERROR(EINVAL);
    input->position = offset;
    return offset;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

static bool is_script(const AVInputFormat *kind)
{
    if (kind->flags & AVFMT_NOFILE)
        return true;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++)
        if (av_match_name(scripts[i], kind->name))
            return true;
    return false;
}

static mm_status fail_input(mm_input *input, int code, const char *what, mm_error *error)
{
    mm_fail_ffmpeg(error, MM_ERR_INPUT, code, what);
    return mm_error_prefix(error, "%s", input->file.path);
}

static mm_status open_io(mm_input *input, mm_error *error)
{
    unsigned char *buffer = av_malloc(io_buffer_bytes);
    if (buffer)
        input->io =
            avio_alloc_context(buffer, io_buffer_bytes, 0, input, read_packet, NULL, seek_packet);
    if (!input->io)
        av_free(buffer);
    input->format = input->io ? avformat_alloc_context() : NULL;
    if (!input->format)
        return mm_fail_memory(error, "reading a video", io_buffer_bytes);
    input->format->pb = input->io;
    input->format->io_open = refuse_open;
    input->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    return MM_OK;
}

/* FFmpeg may decode the first pictures here: within the same limit. */
static int find_stream_info(AVFormatContext *format)
{
    unsigned count = format->nb_streams;
    AVDictionary **options = av_calloc(count ? count : 1, sizeof(*options));
    int code = options ? 0 : AVERROR(ENOMEM);
    for (unsigned i = 0; code >= 0 && i < count; i++)
        code = av_dict_set_int(&options[i], "max_pixels", mm_input_pixel_limit, 0);
    if (code >= 0)
        code = avformat_find_stream_info(format, options);
    for (unsigned i = 0; options && i < count; i++)
        av_dict_free(&options[i]);
    av_free(options);
    return code;
}

static mm_status open_container(mm_input *input, mm_error *error)
{
    /* Not const before libavformat 59. */
#if LIBAVFORMAT_VERSION_MAJOR >= 59
    const AVInputFormat *kind = NULL;
#else
    AVInputFormat *kind = NULL;
#endif
    int code = av_probe_input_buffer2(input->io, &kind, "", NULL, 0, 0);
    if (code < 0 || !kind)
        return fail_input(input, code < 0 ? code : AVERROR_INVALIDDATA,
                          "not a video file that FFmpeg knows", error);
    if (is_script(kind))
        return mm_fail(
            error, MM_ERR_UNSUPPORTED,
            "%s: a playlist or script (%s), which is not followed: name the video itself",
            input->file.path, kind->name);
    AVDictionary *options = NULL;
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    code = avformat_open_input(&input->format, "", kind, &options);
    av_dict_free(&options);
    if (code < 0)
        return fail_input(input, code, "the video is damaged or cut off", error);
    code = find_stream_info(input->format);
    return code < 0 ? fail_input(input, code, "the video is damaged or cut off", error) : MM_OK;
}

/* The cover picture of a song is a video stream to FFmpeg, but no video. */
static AVStream *find_video(AVFormatContext *format)
{
    AVStream *found = NULL;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        AVStream *stream = format->streams[i];
        bool video = stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
                     !(stream->disposition & AV_DISPOSITION_ATTACHED_PIC);
        if (video && (!found || ((stream->disposition & AV_DISPOSITION_DEFAULT) &&
                                 !(found->disposition & AV_DISPOSITION_DEFAULT))))
            found = stream;
        stream->discard = AVDISCARD_ALL;
    }
    if (found)
        found->discard = AVDISCARD_DEFAULT;
    return found;
}

mm_status mm_input_check_size(const mm_input *input, int width, int height, mm_error *error)
{
    if (width > 0 && height > 0 && width <= mm_input_side_limit && height <= mm_input_side_limit &&
        (int64_t)width * height <= mm_input_pixel_limit)
        return MM_OK;
    if (width <= 0 || height <= 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: the video is damaged: no picture can be read",
                       input->file.path);
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: pictures of %dx%d are larger than is read (%d a side, %d pixels)",
                   input->file.path, width, height, mm_input_side_limit, mm_input_pixel_limit);
}

mm_status mm_input_open(mm_input *input, const char *path, mm_error *error)
{
    *input = (mm_input){.file.descriptor = -1};
    MM_TRY(mm_file_open(&input->file, path, error));
    MM_TRY(open_io(input, error));
    MM_TRY(open_container(input, error));
    input->stream = find_video(input->format);
    if (!input->stream)
        return mm_fail(error, MM_ERR_INPUT, "%s: there is no video stream in this file", path);
    const AVCodecParameters *codec = input->stream->codecpar;
    return mm_input_check_size(input, codec->width, codec->height, error);
}

mm_status mm_input_open_decoder(mm_input *input, mm_error *error)
{
    const AVCodecParameters *parameters = input->stream->codecpar;
    const AVCodec *codec = avcodec_find_decoder(parameters->codec_id);
    if (!codec)
        return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: this FFmpeg has no decoder for %s",
                       input->file.path, avcodec_get_name(parameters->codec_id));
    input->decoder = avcodec_alloc_context3(codec);
    if (!input->decoder)
        return mm_fail_memory(error, "the video decoder", 0);
    int code = avcodec_parameters_to_context(input->decoder, parameters);
    input->decoder->thread_count = 1;
    input->decoder->max_pixels = mm_input_pixel_limit;
    input->decoder->pkt_timebase = input->stream->time_base;
    if (code >= 0)
        code = avcodec_open2(input->decoder, codec, NULL);
    return code < 0 ? fail_input(input, code, "the video cannot be decoded", error) : MM_OK;
}

void mm_input_close(mm_input *input)
{
    avcodec_free_context(&input->decoder);
    avformat_close_input(&input->format);
    if (input->io)
        av_freep(&input->io->buffer);
    avio_context_free(&input->io);
    mm_file_close(&input->file);
    *input = (mm_input){.file.descriptor = -1};
}

const int32_t *mm_input_display_matrix(const mm_input *input)
{
    const uint8_t *data = NULL;
    size_t bytes = 0;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *side = av_packet_side_data_get(
        input->stream->codecpar->coded_side_data, input->stream->codecpar->nb_coded_side_data,
        AV_PKT_DATA_DISPLAYMATRIX);
    data = side ? side->data : NULL;
    bytes = side ? side->size : 0;
#elif LIBAVFORMAT_VERSION_MAJOR >= 59
    data = av_stream_get_side_data(input->stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
#else
    int count = 0;
    data = av_stream_get_side_data(input->stream, AV_PKT_DATA_DISPLAYMATRIX, &count);
    bytes = (size_t)count;
#endif
    return bytes >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)data : NULL;
}

double mm_input_fps(const mm_input *input)
{
    AVRational rate = av_guess_frame_rate(input->format, input->stream, NULL);
    return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
}

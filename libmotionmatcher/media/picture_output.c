/* SPDX-License-Identifier: BSD-2-Clause */
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "media/filter.h"
#include "media/output.h"

enum { sheet_side_limit = 65535, number_width_limit = 9, jpeg_quantizer = 4 };

static mm_status open_encoder(AVCodecContext **out, const AVFrame *picture, bool jpeg,
                              mm_error *error)
{
    const AVCodec *codec = avcodec_find_encoder(jpeg ? AV_CODEC_ID_MJPEG : AV_CODEC_ID_PNG);
    if (!codec)
        return mm_fail(error, MM_ERR_UNSUPPORTED, "this FFmpeg has no %s encoder",
                       jpeg ? "JPEG" : "PNG");
    AVCodecContext *encoder = avcodec_alloc_context3(codec);
    if (!encoder)
        return mm_fail_memory(error, "a picture encoder", 0);
    *out = encoder;
    encoder->width = picture->width;
    encoder->height = picture->height;
    encoder->pix_fmt = picture->format;
    encoder->time_base = (AVRational){1, 1};
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    if (jpeg) {
        encoder->color_range = AVCOL_RANGE_JPEG;
        encoder->flags |= AV_CODEC_FLAG_QSCALE;
        encoder->global_quality = jpeg_quantizer * FF_QP2LAMBDA;
    }
    int code = avcodec_open2(encoder, codec, NULL);
    return code < 0 ? mm_fail_ffmpeg(error, MM_ERR_RUNTIME, code, "a picture encoder") : MM_OK;
}

static mm_status encode(AVCodecContext *encoder, const AVFrame *picture, AVPacket *packet,
                        const char *path, mm_error *error)
{
    int code = avcodec_send_frame(encoder, picture);
    if (code >= 0)
        code = avcodec_send_frame(encoder, NULL);
    if (code >= 0)
        code = avcodec_receive_packet(encoder, packet);
    if (code < 0)
        return mm_fail_ffmpeg(error, MM_ERR_RUNTIME, code, "encoding a picture");
    return mm_output_file_write_all(path, packet->data, (size_t)packet->size, error);
}

static mm_status write_picture(const char *path, const AVFrame *picture, bool jpeg, mm_error *error)
{
    AVCodecContext *encoder = NULL;
    AVPacket *packet = av_packet_alloc();
    mm_status status = packet ? open_encoder(&encoder, picture, jpeg, error)
                              : mm_fail_memory(error, "a picture", sizeof(*packet));
    if (status == MM_OK)
        status = encode(encoder, picture, packet, path, error);
    avcodec_free_context(&encoder);
    av_packet_free(&packet);
    return status;
}

static void paste(AVFrame *sheet, const mm_frames *frames, int64_t index, int64_t columns)
{
    size_t row = (size_t)frames->width * 3;
    const uint8_t *pixels = frames->data + (size_t)index * (size_t)frames->height * row;
    ptrdiff_t top = (ptrdiff_t)(index / columns) * frames->height;
    uint8_t *corner = sheet->data[0] + top * sheet->linesize[0] + (size_t)(index % columns) * row;
    for (int y = 0; y < frames->height; y++)
        memcpy(corner + (ptrdiff_t)y * sheet->linesize[0], pixels + (size_t)y * row, row);
}

static mm_status write_jpeg(const char *path, const AVFrame *picture, mm_error *error)
{
    AVFrame *converted = mm_picture_new(picture->width, picture->height, AV_PIX_FMT_YUVJ420P);
    struct SwsContext *scaler =
        sws_getContext(picture->width, picture->height, picture->format, picture->width,
                       picture->height, AV_PIX_FMT_YUVJ420P, SWS_BICUBIC, NULL, NULL, NULL);
    mm_status status =
        converted && scaler ? MM_OK : mm_fail_memory(error, "a picture", (size_t)picture->width);
    if (status == MM_OK) {
        sws_scale(scaler, (const uint8_t *const *)picture->data, picture->linesize, 0,
                  picture->height, converted->data, converted->linesize);
        converted->quality = jpeg_quantizer * FF_QP2LAMBDA;
        status = write_picture(path, converted, true, error);
    }
    sws_freeContext(scaler);
    av_frame_free(&converted);
    return status;
}

static mm_status write_sheet(const char *path, const AVFrame *sheet, mm_error *error)
{
    bool jpeg = mm_path_ends_with(path, ".jpg");
    return jpeg ? write_jpeg(path, sheet, error) : write_picture(path, sheet, false, error);
}

mm_status mm_output_contact_sheet(const char *path, const mm_frames *frames, mm_error *error)
{
    int64_t columns = 1;
    while (columns * columns < frames->count)
        columns++;
    int64_t rows = (frames->count + columns - 1) / columns;
    if (columns * frames->width > sheet_side_limit || rows * frames->height > sheet_side_limit)
        return mm_fail(error, MM_ERR_USAGE,
                       "%s: a contact sheet of %lld frames of %dx%d would be too large: write a "
                       "video, or numbered pictures (frame-%%04d.png)",
                       path, (long long)frames->count, frames->width, frames->height);
    AVFrame *sheet = mm_picture_new((int)(columns * frames->width), (int)(rows * frames->height),
                                    AV_PIX_FMT_RGB24);
    if (!sheet)
        return mm_fail_memory(error, "a contact sheet", (unsigned long long)(columns * rows));
    memset(sheet->data[0], 0, (size_t)sheet->linesize[0] * (size_t)sheet->height);
    for (int64_t i = 0; i < frames->count; i++)
        paste(sheet, frames, i, columns);
    mm_status status = write_sheet(path, sheet, error);
    av_frame_free(&sheet);
    return status;
}

/* Where the number stands in a pattern. */
typedef struct number_place {
    size_t start, end; /* of %04d */
    int width;
    bool zeros;
} number_place;

static bool parse_pattern(const char *pattern, number_place *place)
{
    const char *name = strrchr(pattern, '/');
    const char *percent = strchr(name ? name : pattern, '%');
    if (!percent || strchr(percent + 1, '%'))
        return false;
    const char *at = percent + 1;
    place->start = (size_t)(percent - pattern);
    place->zeros = *at == '0';
    place->width = 0;
    for (; *at >= '0' && *at <= '9' && place->width <= number_width_limit; at++)
        place->width = 10 * place->width + (*at - '0');
    place->end = (size_t)(at - pattern) + 1;
    return *at == 'd' && place->width <= number_width_limit;
}

static char *numbered_path(const char *pattern, const number_place *place, int64_t number)
{
    char digits[32];
    snprintf(digits, sizeof(digits), place->zeros ? "%0*lld" : "%*lld", place->width,
             (long long)number);
    return mm_format("%.*s%s%s", (int)place->start, pattern, digits, pattern + place->end);
}

static mm_status write_numbered(const char *pattern, const number_place *place,
                                const mm_frames *frames, int64_t index, mm_error *error)
{
    char *path = numbered_path(pattern, place, index);
    AVFrame *picture = path ? mm_picture_from_frame(frames, index, false) : NULL;
    mm_status status = picture ? write_picture(path, picture, false, error)
                               : mm_fail_memory(error, "a picture", strlen(pattern));
    av_frame_free(&picture);
    mm_free(path);
    return status;
}

mm_status mm_output_check_pattern(const char *pattern, mm_error *error)
{
    number_place place;
    if (parse_pattern(pattern, &place))
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "%s: expected one number in the file's name, as in frame-%%04d.png", pattern);
}

mm_status mm_output_sequence(const char *pattern, const mm_frames *frames, mm_error *error)
{
    number_place place;
    MM_TRY(mm_output_check_pattern(pattern, error));
    parse_pattern(pattern, &place);
    for (int64_t i = 0; i < frames->count; i++)
        MM_TRY(write_numbered(pattern, &place, frames, i, error));
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Video and picture files, through FFmpeg's libraries. Frames are packed RGB, 8 bits, top down. */
#ifndef MM_MEDIA_MEDIA_H
#define MM_MEDIA_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

/* data: [count][height][width][3]. */
typedef struct mm_frames {
    int64_t count;
    int32_t width, height;
    double fps; /* to be shown with: the file's, divided by the step; 0 when unknown (written: 8) */
    uint8_t *data;
} mm_frames;

void mm_frames_free(mm_frames *frames);

typedef enum mm_scaling { MM_SCALING_BILINEAR = 0, MM_SCALING_BICUBIC } mm_scaling;

typedef struct mm_decode_request {
    int64_t start_frame;   /* the first frame taken, from 0, in presentation order */
    int64_t frame_step;    /* every n-th frame from there */
    int64_t frame_count;   /* frames wanted; 0: all there are */
    int32_t width, height; /* 0: the video's own (after rotation) */
    mm_scaling scaling;
} mm_decode_request;

/*
 * Decodes a video, a GIF or a picture. Rotation side data is applied; alpha is dropped over black;
 * every pixel format libswscale knows is read. Only local files: no other protocol, playlist or
 * script is followed. MM_ERR_INPUT: unreadable or damaged, no video stream, fewer frames than
 * asked (says how many there are), sides above 16384 or more pixels
 * than 8K video has; MM_ERR_UNSUPPORTED: no decoder for the codec,
 * a playlist or script; MM_ERR_USAGE: a bad request; MM_ERR_MEMORY.
 */
mm_status mm_media_decode(mm_frames *out, const char *path, const mm_decode_request *request,
                          const mm_logger *logger, mm_error *error);

/* One frame, [height][width][3], valid during the call. A failure ends the decoding. */
typedef mm_status (*mm_frame_sink)(void *user, const uint8_t *rgb, int32_t width, int32_t height,
                                   mm_error *error);
/* The same frame by frame, so that videos of any length can be read; *count frames were handed
   over. */
mm_status mm_media_decode_each(const char *path, const mm_decode_request *request,
                               const mm_logger *logger, mm_frame_sink sink, void *user,
                               int64_t *count, mm_error *error);

typedef struct mm_media_info {
    int32_t width, height; /* after rotation */
    int64_t frames;        /* counted by the container, 0 when unknown */
    double fps;
    char codec[32];
} mm_media_info;
/* What the container says, without decoding: enough for a dry run. */
mm_status mm_media_probe(mm_media_info *out, const char *path, mm_error *error);

/*
 * Writes by the name's ending: .mp4 .mkv .mov .webm .avi (first encoder that opens of libx264,
 * libopenh264, h264_*, libvpx-vp9, libsvtav1, mpeg4, ffv1 that fits the container; yuv420p; odd
 * sides are padded by repeating the last row or column), .gif (with a palette per file), .png or
 * .jpg (a contact sheet: all frames in a grid), a name with a printf pattern such as
 * "frame-%04d.png" (a PNG sequence, numbered from 0). Quality is libx264's crf 18 or near it.
 * Atomic, a sequence picture by picture; the same frames give the same bytes. MM_ERR_RUNTIME:
 * cannot be written; MM_ERR_USAGE: an ending nobody knows; MM_ERR_UNSUPPORTED: no encoder at hand
 * (says which exist).
 */
mm_status mm_media_write(const char *path, const mm_frames *frames, const mm_logger *logger,
                         mm_error *error);

/* MM_ERR_USAGE: mm_media_write would not know the name's ending, or what to number. */
mm_status mm_media_check_path(const char *path, mm_error *error);

/* One scaled copy, for contact sheets and tests: libswscale with the given filter. */
mm_status mm_frames_scale(mm_frames *out, const mm_frames *in, int32_t width, int32_t height,
                          mm_scaling scaling, mm_error *error);

/* Versions of the FFmpeg libraries in use, for --version; "none" without FFmpeg. */
const char *mm_media_versions(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Small pictures of videos and of tracks, kept beside the figures. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "motionmatcher/video.h"
#include "report.h"

#define SHEET_FRAMES 16
#define SHEET_SIDE 96 /* of a frame's longer side, pixels */
#define TRACKS_SIDE (4 * SHEET_SIDE)

typedef struct geometry {
    int64_t width, height, frames, step;
} geometry;

/* The longer side becomes `side`; even a narrow picture keeps the least the options allow. */
static void fit(geometry *g, int64_t width, int64_t height, int64_t side)
{
    int64_t longer = width > height ? width : height;
    g->width = (width * side + longer / 2) / longer;
    g->height = (height * side + longer / 2) / longer;
    g->width = g->width < 8 ? 8 : g->width;
    g->height = g->height < 8 ? 8 : g->height;
}

static mm_status set_number(mm_options *options, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return mm_options_set(options, key, text, MM_SOURCE_SET);
}

static mm_status decode(report *r, const char *path, const geometry *g, mm_video **out)
{
    mm_options *options = NULL;
    mm_status status = mm_options_create(&options, "features");
    if (status == MM_OK)
        status = set_number(options, "width", g->width);
    if (status == MM_OK)
        status = set_number(options, "height", g->height);
    if (status == MM_OK)
        status = set_number(options, "num_frames", g->frames);
    if (status == MM_OK)
        status = set_number(options, "frame_step", g->step);
    if (status == MM_OK)
        status = mm_options_set(options, "scaling", "bicubic", MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_video_decode(out, r->pictures, path, options);
    mm_options_free(&options);
    return status;
}

static mm_status convert(report *r, const char *from, const geometry *g, const char *to)
{
    mm_video *video = NULL;
    mm_status status = decode(r, from, g, &video);
    if (status == MM_OK)
        status = mm_video_write(video, r->pictures, to);
    mm_video_free(&video);
    return status;
}

static char *picture_path(report *r, const char *kind, const char *name)
{
    return report_keep(r, "%s/%s-%s.jpg", r->cache_folder, kind, name);
}

static bool choose_geometry(const char *video, int64_t frames, geometry *out)
{
    mm_video_info info = {.struct_size = sizeof(info)};
    if (mm_video_probe(video, &info) != MM_OK)
        return false;
    if (frames == 0)
        frames = info.frames ? info.frames : SHEET_FRAMES;
    out->step = (frames + SHEET_FRAMES - 1) / SHEET_FRAMES;
    out->frames = (frames + out->step - 1) / out->step;
    fit(out, info.width, info.height, SHEET_SIDE);
    return true;
}

void report_make_sheet(report *r, const char *video, const char *digest, int64_t frames, char **out)
{
    char *path = picture_path(r, "sheet", digest);
    geometry g;
    if (path && access(path, R_OK) == 0)
        *out = path;
    if (!path || *out || !choose_geometry(video, frames, &g))
        return;
    mm_status status = convert(r, video, &g, path);
    /* A file can promise more frames than it has. */
    while (status == MM_ERR_INPUT && g.frames > 1) {
        g.frames /= 2;
        status = convert(r, video, &g, path);
    }
    if (status == MM_OK)
        *out = path;
}

char *report_find_tracks(report *r, const char *key)
{
    char *path = picture_path(r, "tracks", key);
    return path && access(path, R_OK) == 0 ? path : NULL;
}

char *report_shrink_tracks(report *r, const char *picture, const char *key)
{
    mm_video_info info = {.struct_size = sizeof(info)};
    geometry g = {.frames = 1, .step = 1};
    char *path = picture_path(r, "tracks", key);
    if (!path || mm_video_probe(picture, &info) != MM_OK)
        return NULL;
    fit(&g, info.width, info.height, TRACKS_SIDE);
    return convert(r, picture, &g, path) == MM_OK ? path : NULL;
}

static void encode_three(FILE *file, const unsigned char *in, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits =
        (unsigned)in[0] << 16 | (bytes > 1 ? (unsigned)in[1] << 8 : 0) | (bytes > 2 ? in[2] : 0u);
    char out[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                   bytes > 1 ? digits[bits >> 6 & 63] : '=', bytes > 2 ? digits[bits & 63] : '='};
    fwrite(out, 1, sizeof(out), file);
}

bool report_print_base64(FILE *file, const char *path)
{
    unsigned char buffer[3 * 4096];
    size_t bytes;
    FILE *picture = fopen(path, "rb");
    if (!picture)
        return false;
    while ((bytes = fread(buffer, 1, sizeof(buffer), picture)) > 0) {
        for (size_t i = 0; i < bytes; i += 3)
            encode_three(file, buffer + i, bytes - i < 3 ? bytes - i : 3);
    }
    bool whole = !ferror(picture);
    fclose(picture);
    return whole;
}

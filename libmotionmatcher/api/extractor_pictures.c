/* SPDX-License-Identifier: BSD-2-Clause */
/* The maps as pictures (MotionMatcher, figures 3 and 4). */
#include <stdio.h>
#include <string.h>

#include "api/extractor_internal.h"
#include "api/status_internal.h"
#include "base/file.h"
#include "base/memory.h"
#include "media/canvas.h"

enum {
    cell_side = 96,     /* of one map in a strip, about */
    map_side = 384,     /* of the one frame-to-frame map */
    places_side = 1024, /* of the maps of all places together */
    gap = 2,
    letter_scale = 2,
    longest_label = 12 * MM_LETTER_PITCH,
    most_width = 16384
};

/* The maps of a strip: one a frame, side by side. */
typedef struct strip {
    int64_t frames, tokens, scale;
    int64_t columns, rows;           /* of a map */
    int64_t cell_width, cell_height; /* in pixels */
} strip;

static int64_t at_least_one(int64_t value)
{
    return value > 1 ? value : 1;
}

static strip make_strip(const mm_extractor *x)
{
    const int64_t *ca = mm_feature_pass_ca_shape(x->pass)->dim;
    strip s = {.frames = ca[0], .rows = ca[1], .columns = ca[2], .tokens = ca[3]};
    int64_t larger = s.rows > s.columns ? s.rows : s.columns;
    int64_t fits = most_width / (s.frames * s.columns);
    s.scale = at_least_one((cell_side + larger - 1) / larger);
    s.scale = s.scale > fits ? at_least_one(fits) : s.scale;
    s.cell_width = s.columns * s.scale;
    s.cell_height = s.rows * s.scale;
    return s;
}

static int64_t strip_width(const strip *s)
{
    return s->frames * (s->cell_width + gap) - gap;
}

static void widen(mm_heat_map *map, float value)
{
    map->low = value < map->low ? value : map->low;
    map->high = value > map->high ? value : map->high;
}

/* Every token has colours of its own, the same in all frames. */
static void draw_strip(const mm_extractor *x, const strip *s, int64_t token, mm_frames *canvas,
                       int64_t left, int64_t y)
{
    const float *ca = x->ca->data;
    mm_heat_map map = {
        .values = ca + token,
        .width = s->columns,
        .height = s->rows,
        .row_stride = s->columns * s->tokens,
        .column_stride = s->tokens,
        .low = ca[token],
        .high = ca[token],
    };
    for (int64_t i = 0; i < s->frames * s->rows * s->columns; i++)
        widen(&map, ca[i * s->tokens + token]);
    for (int64_t f = 0; f < s->frames; f++) {
        map.values = ca + f * s->rows * map.row_stride + token;
        mm_canvas_draw_heat(canvas, left + f * (s->cell_width + gap), y, s->scale, &map);
    }
}

static mm_status write_picture(mm_extractor *x, const char *directory, const char *name,
                               mm_frames *canvas, mm_error *error)
{
    mm_context *context = x->model->context;
    char *path = mm_path_join(directory, name);
    mm_status status = path ? mm_media_write(path, canvas, &context->logger, error)
                            : mm_fail_memory(error, "a path", strlen(directory));
    if (status == MM_OK)
        mm_context_emit_output(context, path);
    mm_free(path);
    mm_frames_free(canvas);
    return status;
}

/* The word for a token in labels and file names. */
static const char *word_of(const mm_extractor *x, int64_t token)
{
    const char *text = mm_extractor_token(x, token);
    if (token == 0 || token + 1 == x->clip.tokens)
        return token == 0 ? "start" : "end";
    return text ? text : "";
}

/* "ca-03-circle.png". Bytes that file names should not have are left out. */
static void name_strip(const mm_extractor *x, int64_t token, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "ca-%02lld-", (long long)token), begin = n;
    for (const unsigned char *c = (const unsigned char *)word_of(x, token); *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if ((letter || (*c >= '0' && *c <= '9') || *c >= 0x80) && n + 8 < size)
            out[n++] = (char)*c;
    }
    snprintf(out + (n > begin ? n : begin - 1), 5, ".png");
}

static mm_status write_strips(mm_extractor *x, const strip *s, const char *directory,
                              mm_error *error)
{
    for (int64_t i = 0; i < x->clip.tokens; i++) {
        char name[128];
        mm_frames canvas;
        MM_TRY(mm_canvas_create(&canvas, strip_width(s), s->cell_height, error));
        draw_strip(x, s, i, &canvas, 0, 0);
        name_strip(x, i, name, sizeof(name));
        MM_TRY(write_picture(x, directory, name, &canvas, error));
    }
    return MM_OK;
}

static mm_status draw_frames(const mm_extractor *x, const strip *s, mm_frames *canvas, int64_t left,
                             mm_error *error)
{
    mm_frames small;
    MM_TRY(mm_frames_scale(&small, &x->clip.frames, (int32_t)s->cell_width, (int32_t)s->cell_height,
                           MM_SCALING_BICUBIC, error));
    for (int64_t f = 0; f < s->frames; f++)
        mm_canvas_paste(canvas, left + f * (s->cell_width + gap), 0, &small, f);
    mm_frames_free(&small);
    return MM_OK;
}

/* Room for the longest word. */
static int64_t label_width(const mm_extractor *x)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < x->clip.tokens; i++) {
        int64_t width = mm_lettering_width(word_of(x, i));
        longest = width > longest ? width : longest;
    }
    longest = longest < longest_label ? longest : longest_label;
    return (longest + MM_LETTER_PITCH) * letter_scale;
}

/* In the middle of the row; a word that is too long runs under its maps. */
static void draw_label(const mm_extractor *x, const strip *s, int64_t token, mm_frames *canvas,
                       int64_t y)
{
    int64_t room = s->cell_height - MM_LETTER_HEIGHT * letter_scale;
    mm_canvas_write(canvas, letter_scale, y + (room > 0 ? room / 2 : 0), letter_scale,
                    word_of(x, token));
}

static mm_status draw_sheet(const mm_extractor *x, const strip *s, mm_frames *canvas, int64_t left,
                            mm_error *error)
{
    bool frames = x->clip.frames.data != NULL;
    int64_t y = frames ? s->cell_height + gap : 0;
    if (frames)
        MM_TRY(draw_frames(x, s, canvas, left, error));
    for (int64_t i = 0; i < x->clip.tokens; i++, y += s->cell_height + gap) {
        draw_label(x, s, i, canvas, y);
        draw_strip(x, s, i, canvas, left, y);
    }
    return MM_OK;
}

/* The frames, where there are any, above the strips of all tokens. */
static mm_status write_sheet(mm_extractor *x, const strip *s, const char *directory,
                             mm_error *error)
{
    int64_t rows = x->clip.tokens + (x->clip.frames.data ? 1 : 0), left = label_width(x);
    mm_frames canvas;
    MM_TRY(mm_canvas_create(&canvas, left + strip_width(s), rows * (s->cell_height + gap) - gap,
                            error));
    mm_status status = draw_sheet(x, s, &canvas, left, error);
    if (status == MM_OK)
        return write_picture(x, directory, "ca.png", &canvas, error);
    mm_frames_free(&canvas);
    return status;
}

static mm_heat_map frame_map(const float *values, int64_t frames, int64_t maps)
{
    mm_heat_map map = {values, frames, frames, frames, 1, values[0], values[0]};
    for (int64_t i = 0; i < maps * frames * frames; i++)
        widen(&map, values[i]);
    return map;
}

static mm_status write_mean(mm_extractor *x, const char *directory, mm_error *error)
{
    const int64_t *tsa = mm_feature_pass_tsa_shape(x->pass)->dim;
    int64_t places = tsa[0], frames = tsa[1], scale = at_least_one(map_side / frames);
    mm_frames canvas = {0};
    const float *maps = x->tsa->data;
    float *mean = mm_calloc((size_t)(frames * frames), sizeof(float));
    if (!mean)
        return mm_fail_memory(error, "a map", (size_t)(frames * frames) * sizeof(float));
    for (int64_t i = 0; i < places * frames * frames; i++)
        mean[i % (frames * frames)] += maps[i] / (float)places;
    mm_heat_map map = frame_map(mean, frames, 1);
    mm_status status = mm_canvas_create(&canvas, frames * scale, frames * scale, error);
    if (status == MM_OK) {
        mm_canvas_draw_heat(&canvas, 0, 0, scale, &map);
        status = write_picture(x, directory, "tsa.png", &canvas, error);
    }
    mm_free(mean);
    return status;
}

/* The map of each place, where the place is in the picture. */
static mm_status write_places(mm_extractor *x, const char *directory, mm_error *error)
{
    int64_t columns, rows, frames = x->shape.frames;
    mm_feature_pass_tsa_places(x->pass, &rows, &columns);
    int64_t larger = columns > rows ? columns : rows;
    int64_t scale = at_least_one(places_side / (larger * frames)), pitch = frames * scale + gap;
    const float *maps = x->tsa->data;
    mm_frames canvas;
    MM_TRY(mm_canvas_create(&canvas, columns * pitch - gap, rows * pitch - gap, error));
    mm_heat_map map = frame_map(maps, frames, columns * rows);
    for (int64_t i = 0; i < columns * rows; i++) {
        map.values = maps + i * frames * frames;
        mm_canvas_draw_heat(&canvas, i % columns * pitch, i / columns * pitch, scale, &map);
    }
    return write_picture(x, directory, "tsa-places.png", &canvas, error);
}

static mm_status write_pictures(mm_extractor *x, const char *directory, mm_error *error)
{
    strip s = make_strip(x);
    MM_TRY(mm_directory_create(directory, error));
    MM_TRY(write_sheet(x, &s, directory, error));
    MM_TRY(write_strips(x, &s, directory, error));
    MM_TRY(write_mean(x, directory, error));
    return write_places(x, directory, error);
}

mm_status mm_extractor_write_pictures(mm_extractor *extractor, const char *directory)
{
    if (!extractor || !directory)
        return mm_api_misuse(__func__, "extractor and directory must not be NULL");
    if (!extractor->ca)
        return mm_api_misuse(__func__, "there are no maps yet; mm_extractor_run() computes them");
    mm_error error = {0};
    return mm_api_return(write_pictures(extractor, directory, &error), &error);
}

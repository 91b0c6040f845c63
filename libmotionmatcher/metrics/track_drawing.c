/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>

#include "base/memory.h"
#include "metrics/tracks.h"

typedef struct colour {
    uint8_t rgb[3];
} colour;

/* One frame to draw on. */
typedef struct canvas {
    uint8_t *rgb;
    int64_t width, height;
} canvas;

/* Around the colour circle from the top row of points to the bottom one. */
static colour hue(double turn)
{
    colour c;
    for (int i = 0; i < 3; i++) {
        double wave = fabs(fmod(turn * 5.0 + (i == 0 ? 0.0 : i == 1 ? 4.0 : 2.0), 6.0) - 3.0) - 1.0;
        wave = wave < 0.0 ? 0.0 : wave > 1.0 ? 1.0 : wave;
        c.rgb[i] = (uint8_t)(255.0 * wave);
    }
    return c;
}

/* Mixes the colour in; beside the picture nothing is drawn. */
static void dot(const canvas *to, int64_t x, int64_t y, colour c, int32_t share)
{
    if (x < 0 || y < 0 || x >= to->width || y >= to->height)
        return;
    uint8_t *pixel = to->rgb + (y * to->width + x) * 3;
    for (int i = 0; i < 3; i++)
        pixel[i] = (uint8_t)((pixel[i] * (256 - share) + c.rgb[i] * share) / 256);
}

static float limit(float value, int64_t side)
{
    float low = (float)-side, high = (float)(2 * side);
    return value < low ? low : value > high ? high : value;
}

static void line(const canvas *to, const float *from, const float *end, colour c)
{
    float x = limit(from[0], to->width), y = limit(from[1], to->height);
    float dx = limit(end[0], to->width) - x, dy = limit(end[1], to->height) - y;
    int64_t steps = (int64_t)ceilf(fmaxf(fabsf(dx), fabsf(dy)));
    for (int64_t i = 0; i < steps; i++) {
        float part = (float)i / (float)steps;
        dot(to, lrintf(x + part * dx), lrintf(y + part * dy), c, 192);
    }
}

/* A square of three pixels a side; hidden points lack its middle. */
static void mark(const canvas *to, const float *place, bool visible, colour c)
{
    int64_t x = lrintf(limit(place[0], to->width)), y = lrintf(limit(place[1], to->height));
    for (int64_t i = 0; i < 9; i++) {
        if (visible || i != 4)
            dot(to, x + i % 3 - 1, y + i / 3 - 1, c, 256);
    }
}

static void draw_frame(const canvas *to, const mm_tracks *tracks, int64_t frame)
{
    for (int64_t point = 0; point < tracks->points; point++) {
        colour c = hue((double)point / (double)tracks->points);
        const float *place = tracks->place + 2 * point;
        for (int64_t f = 0; f < frame; f++)
            line(to, place + 2 * f * tracks->points, place + 2 * (f + 1) * tracks->points, c);
        mark(to, place + 2 * frame * tracks->points,
             tracks->visible[frame * tracks->points + point], c);
    }
}

mm_status mm_tracks_draw(mm_frames *out, const mm_frames *frames, const mm_tracks *tracks,
                         mm_error *error)
{
    size_t picture = (size_t)frames->width * (size_t)frames->height * 3;
    *out = *frames;
    out->data = mm_malloc(picture * (size_t)frames->count);
    if (!out->data)
        return mm_fail_memory(error, "a picture of tracks", picture * (size_t)frames->count);
    for (size_t i = 0; i < picture * (size_t)frames->count; i++)
        out->data[i] = frames->data[i] / 2;
    for (int64_t frame = 0; frame < frames->count && frame < tracks->frames; frame++) {
        canvas to = {out->data + (size_t)frame * picture, frames->width, frames->height};
        draw_frame(&to, tracks, frame);
    }
    return MM_OK;
}

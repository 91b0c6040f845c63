/* SPDX-License-Identifier: BSD-2-Clause */
/* A picture to draw on, without FFmpeg: frames and heat maps put side by side. A canvas is an
   mm_frames of one frame; what lies outside of it is not drawn. */
#ifndef MM_MEDIA_CANVAS_H
#define MM_MEDIA_CANVAS_H

#include "media/media.h"

/* White. Free with mm_frames_free. MM_ERR_USAGE: larger than a PNG picture may be here. */
mm_status mm_canvas_create(mm_frames *out, int64_t width, int64_t height, mm_error *error);
/* Copies one frame, its upper left corner at (x, y). */
void mm_canvas_paste(mm_frames *canvas, int64_t x, int64_t y, const mm_frames *frames,
                     int64_t index);

/* A square. */
void mm_canvas_fill(mm_frames *canvas, int64_t x, int64_t y, int64_t side, const uint8_t rgb[3]);

/* lettering.c: black text, its upper left corner at (x, y). Letters are small ones; what is not
   ASCII is a box. */
enum { MM_LETTER_PITCH = 6, MM_LETTER_HEIGHT = 7 }; /* in pixels, at scale 1 */
int64_t mm_lettering_width(const char *text);       /* likewise */
void mm_canvas_write(mm_frames *canvas, int64_t x, int64_t y, int64_t scale, const char *text);

/* Values with the range that the colours span. Element (row, column) is
   values[row * row_stride + column * column_stride]. */
typedef struct mm_heat_map {
    const float *values;
    int64_t width, height, row_stride, column_stride;
    float low, high;
} mm_heat_map;

/* Each value becomes a square of `scale` pixels. */
void mm_canvas_draw_heat(mm_frames *canvas, int64_t x, int64_t y, int64_t scale,
                         const mm_heat_map *map);
/* 0..1, cut there and 0 for NaN, from dark blue over green to light yellow; lightness (CIE L*)
   rises evenly. */
void mm_heat_colour(double value, uint8_t rgb[3]);

#endif

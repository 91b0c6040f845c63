/* SPDX-License-Identifier: BSD-2-Clause */
#include "media/canvas.h"

#include <string.h>

#include "base/memory.h"

#define MOST_SIDE 65535

mm_status mm_canvas_create(mm_frames *out, int64_t width, int64_t height, mm_error *error)
{
    *out = (mm_frames){0};
    if (width < 1 || height < 1 || width > MOST_SIDE || height > MOST_SIDE)
        return mm_fail(error, MM_ERR_USAGE, "a picture of %lldx%lld pixels is too large",
                       (long long)width, (long long)height);
    size_t bytes = (size_t)width * (size_t)height * 3;
    uint8_t *data = mm_malloc(bytes);
    if (!data)
        return mm_fail_memory(error, "a picture", bytes);
    memset(data, 255, bytes);
    *out =
        (mm_frames){.count = 1, .width = (int32_t)width, .height = (int32_t)height, .data = data};
    return MM_OK;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static uint8_t *pixel(const mm_frames *frames, int64_t index, int64_t x, int64_t y)
{
    return frames->data + ((index * frames->height + y) * frames->width + x) * 3;
}

void mm_canvas_paste(mm_frames *canvas, int64_t x, int64_t y, const mm_frames *frames,
                     int64_t index)
{
    int64_t columns = least(frames->width, canvas->width - x);
    int64_t rows = least(frames->height, canvas->height - y);
    for (int64_t row = 0; row < rows && columns > 0; row++)
        memcpy(pixel(canvas, 0, x, y + row), pixel(frames, index, 0, row), (size_t)columns * 3);
}

void mm_canvas_fill(mm_frames *canvas, int64_t x, int64_t y, int64_t side, const uint8_t rgb[3])
{
    int64_t right = least(x + side, canvas->width), bottom = least(y + side, canvas->height);
    for (int64_t row = y; row < bottom; row++) {
        for (int64_t column = x; column < right; column++)
            memcpy(pixel(canvas, 0, column, row), rgb, 3);
    }
}

void mm_canvas_draw_heat(mm_frames *canvas, int64_t x, int64_t y, int64_t scale,
                         const mm_heat_map *map)
{
    double range = (double)map->high - (double)map->low;
    uint8_t rgb[3];
    for (int64_t row = 0; row < map->height; row++) {
        for (int64_t column = 0; column < map->width; column++) {
            float value = map->values[row * map->row_stride + column * map->column_stride];
            mm_heat_colour(range > 0 ? ((double)value - (double)map->low) / range : 0, rgb);
            mm_canvas_fill(canvas, x + column * scale, y + row * scale, scale, rgb);
        }
    }
}

/* Steps of 10.6 in L*, from 10 to 95, hue from 305 to 100 degrees, as much chroma as sRGB has room
   for. */
static const uint8_t colours[][3] = {
    {12, 9, 97},   {0, 50, 99},    {0, 79, 113},    {0, 108, 131},   {0, 139, 145},
    {0, 172, 147}, {76, 204, 126}, {174, 226, 115}, {255, 242, 160},
};

void mm_heat_colour(double value, uint8_t rgb[3])
{
    const int last = (int)(sizeof(colours) / sizeof(*colours)) - 1;
    double place = value > 0 ? (value < 1 ? value : 1) * last : 0;
    int below = place < last ? (int)place : last - 1;
    double share = place - below;
    for (int i = 0; i < 3; i++)
        rgb[i] = (uint8_t)(colours[below][i] * (1 - share) + colours[below + 1][i] * share + 0.5);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/image_scaling.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* Weights are whole multiples of 2^-22, so that a sum of 8-bit products fits in 32 bits. */
#define FRACTION_BITS 22
#define SUPPORT 2.0 /* of the bicubic filter, in input pixels when enlarging */

/* One axis: output pixel i, counted from the crop's edge, is the sum over its taps of
   weight[i * most + t] * input[first[i] + t]. */
typedef struct axis {
    int64_t in, scaled; /* lengths before and after scaling */
    int64_t crop;       /* output pixels left out before the square */
    int64_t count;      /* output pixels wanted */
    int64_t most;       /* taps of a pixel at most */
    int64_t *first, *taps;
    int32_t *weight;
    bool copied; /* the scale is 1: pixels stay as they are */
} axis;

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static int32_t to_fixed_point(double weight)
{
    double scaled = weight * (double)(1 << FRACTION_BITS);
    return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

/* The pixels that output pixel i + crop is made of, and their weights. */
static void set_pixel(axis *a, int64_t i, double *scratch)
{
    double scale = (double)a->in / (double)a->scaled, widened = scale < 1.0 ? 1.0 : scale;
    double centre = ((double)(i + a->crop) + 0.5) * scale, reach = SUPPORT * widened;
    double narrowed = 1.0 / widened, sum = 0.0;
    int64_t from = (int64_t)(centre - reach + 0.5), to = (int64_t)(centre + reach + 0.5);
    from = from < 0 ? 0 : from;
    to = to > a->in ? a->in : to;
    for (int64_t t = 0; t < to - from; t++) {
        scratch[t] = bicubic(((double)(t + from) - centre + 0.5) * narrowed);
        sum += scratch[t];
    }
    a->first[i] = from;
    a->taps[i] = to - from;
    for (int64_t t = 0; t < to - from; t++)
        a->weight[i * a->most + t] = to_fixed_point(sum != 0.0 ? scratch[t] / sum : scratch[t]);
}

static void free_axis(axis *a)
{
    mm_free(a->first);
    mm_free(a->taps);
    mm_free(a->weight);
}

static mm_status make_axis(axis *a, int64_t in, int64_t scaled, int64_t crop, int64_t count,
                           mm_error *error)
{
    double scale = (double)in / (double)scaled;
    int64_t most = (int64_t)ceil(SUPPORT * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
    *a = (axis){.in = in, .scaled = scaled, .crop = crop, .count = count, .most = most};
    a->copied = in == scaled;
    a->first = mm_calloc((size_t)count, sizeof(*a->first));
    a->taps = mm_calloc((size_t)count, sizeof(*a->taps));
    a->weight = mm_calloc((size_t)(count * most), sizeof(*a->weight));
    double *scratch = mm_calloc((size_t)most, sizeof(*scratch));
    if (!a->first || !a->taps || !a->weight || !scratch) {
        mm_free(scratch);
        return mm_fail_memory(error, "a picture's scaling", (size_t)(count * most) * 4);
    }
    for (int64_t i = 0; i < count; i++)
        set_pixel(a, i, scratch);
    mm_free(scratch);
    return MM_OK;
}

static uint8_t to_byte(int32_t sum)
{
    int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void scale_row(const axis *a, const uint8_t *in, uint8_t *out)
{
    if (a->copied) {
        memcpy(out, in + 3 * a->crop, (size_t)(3 * a->count));
        return;
    }
    for (int64_t i = 0; i < a->count; i++) {
        const uint8_t *pixel = in + 3 * a->first[i];
        const int32_t *weight = a->weight + i * a->most;
        int32_t sum[3] = {1 << (FRACTION_BITS - 1), 1 << (FRACTION_BITS - 1),
                          1 << (FRACTION_BITS - 1)};
        for (int64_t t = 0; t < a->taps[i]; t++) {
            for (int c = 0; c < 3; c++)
                sum[c] += weight[t] * pixel[3 * t + c];
        }
        for (int c = 0; c < 3; c++)
            out[3 * i + c] = to_byte(sum[c]);
    }
}

/* Output row i. `rows` begins at input row `top`; sum has room for a row. */
static void scale_columns(const axis *a, int64_t i, const uint8_t *rows, int64_t top,
                          int64_t row_bytes, int32_t *sum, uint8_t *out)
{
    if (a->copied) {
        memcpy(out, rows + (i + a->crop - top) * row_bytes, (size_t)row_bytes);
        return;
    }
    for (int64_t x = 0; x < row_bytes; x++)
        sum[x] = 1 << (FRACTION_BITS - 1);
    for (int64_t t = 0; t < a->taps[i]; t++) {
        const uint8_t *row = rows + (a->first[i] + t - top) * row_bytes;
        int32_t weight = a->weight[i * a->most + t];
        for (int64_t x = 0; x < row_bytes; x++)
            sum[x] += weight * row[x];
    }
    for (int64_t x = 0; x < row_bytes; x++)
        out[x] = to_byte(sum[x]);
}

/* Input rows that the vertical pass reads: *top up to, without, *bottom. */
static void needed_rows(const axis *a, int64_t *top, int64_t *bottom)
{
    int64_t last = a->count - 1;
    *top = a->copied ? a->crop : a->first[0];
    *bottom = a->copied ? a->crop + a->count : a->first[last] + a->taps[last];
}

/* Between the passes a picture of the wanted rows or columns alone. */
static void scale_rows_first(const axis *horizontal, const axis *vertical,
                             const mm_picture *picture, uint8_t *between, int32_t *sum,
                             uint8_t *out)
{
    int64_t top, bottom, row_bytes = 3 * horizontal->count;
    needed_rows(vertical, &top, &bottom);
    for (int64_t y = top; y < bottom; y++)
        scale_row(horizontal, picture->rgb + y * 3 * picture->width,
                  between + (y - top) * row_bytes);
    for (int64_t y = 0; y < vertical->count; y++)
        scale_columns(vertical, y, between, top, row_bytes, sum, out + y * row_bytes);
}

static void scale_columns_first(const axis *horizontal, const axis *vertical,
                                const mm_picture *picture, uint8_t *between, int32_t *sum,
                                uint8_t *out)
{
    for (int64_t y = 0; y < vertical->count; y++) {
        scale_columns(vertical, y, picture->rgb, 0, 3 * picture->width, sum, between);
        scale_row(horizontal, between, out + y * 3 * horizontal->count);
    }
}

/* The order shows in the last bit. As in Pillow 13: columns first where the height shrinks by more
   than twice as many pixels as the width. */
static bool takes_columns_first(const axis *horizontal, const axis *vertical)
{
    int64_t lost = vertical->in - vertical->scaled;
    return lost > 0 && lost > 2 * (horizontal->in - horizontal->scaled);
}

static mm_status scale(const axis *horizontal, const axis *vertical, const mm_picture *picture,
                       uint8_t *out, mm_error *error)
{
    bool columns_first = takes_columns_first(horizontal, vertical);
    int64_t top, bottom, width = columns_first ? picture->width : horizontal->count;
    needed_rows(vertical, &top, &bottom);
    size_t bytes = (size_t)(3 * width * (columns_first ? 1 : bottom - top));
    uint8_t *between = mm_malloc(bytes);
    int32_t *sum = mm_malloc((size_t)(3 * width) * sizeof(*sum));
    mm_status status = between && sum ? MM_OK : mm_fail_memory(error, "a scaled picture", bytes);
    if (status == MM_OK && columns_first)
        scale_columns_first(horizontal, vertical, picture, between, sum, out);
    else if (status == MM_OK)
        scale_rows_first(horizontal, vertical, picture, between, sum, out);
    mm_free(between);
    mm_free(sum);
    return status;
}

static int64_t crop_edge(int64_t length, const mm_image_geometry *g)
{
    int64_t spare = length - g->side, half = spare / 2;
    return half + (g->rounding == MM_CROP_TO_EVEN && spare % 2 == 1 && half % 2 == 1);
}

mm_status mm_image_scale_and_crop(const mm_picture *picture, const mm_image_geometry *g,
                                  uint8_t *out, mm_error *error)
{
    int64_t w = picture->width, h = picture->height;
    int64_t width = w <= h ? g->short_side : g->short_side * w / h;
    int64_t height = h <= w ? g->short_side : g->short_side * h / w;
    axis horizontal, vertical = {0};
    mm_status status = make_axis(&horizontal, w, width, crop_edge(width, g), g->side, error);
    if (status == MM_OK)
        status = make_axis(&vertical, h, height, crop_edge(height, g), g->side, error);
    if (status == MM_OK)
        status = scale(&horizontal, &vertical, picture, out, error);
    free_axis(&horizontal);
    free_axis(&vertical);
    return status;
}

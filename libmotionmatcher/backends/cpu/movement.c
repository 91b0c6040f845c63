/* SPDX-License-Identifier: BSD-2-Clause */
/* Ops that copy more than they compute. */
#include <math.h>
#include <string.h>

#include "backends/cpu/kernels.h"
#include "base/convert.h"

#define PARALLEL 16384 /* elements from which threads pay */

#define RUN_KERNEL(name)                                                               \
    static mm_status run_##name(__attribute__((unused)) const mm_cpu_context *context, \
                                __attribute__((unused)) const mm_kernel *kernel,       \
                                const mm_kernel_call *call,                            \
                                __attribute__((unused)) mm_error *error);              \
    const mm_cpu_kernel mm_cpu_##name = {.run = run_##name};                           \
    static mm_status run_##name(__attribute__((unused)) const mm_cpu_context *context, \
                                __attribute__((unused)) const mm_kernel *kernel,       \
                                const mm_kernel_call *call,                            \
                                __attribute__((unused)) mm_error *error)

static int64_t last_dim(const mm_node *node)
{
    return node->shape.dim[node->shape.rank - 1];
}

static int64_t rows_of(const mm_node *node)
{
    int64_t channels = last_dim(node);
    return channels ? mm_shape_elements(&node->shape) / channels : 0;
}

/* Bytes of so many elements of the node. */
static size_t bytes_of(const mm_node *node, int64_t count)
{
    return (size_t)count * mm_dtype_bytes(node->dtype);
}

RUN_KERNEL(concat)
{
    int64_t rows = rows_of(call->node), channels = last_dim(call->node);
    int64_t first = last_dim(call->node->source[0]), second = channels - first;
    size_t left = bytes_of(call->node, first), right = bytes_of(call->node, second);
    const char *a = call->source[0], *b = call->source[1];
    char *y = call->destination;
#pragma omp parallel for schedule(static) if (rows * channels > PARALLEL)
    for (int64_t row = 0; row < rows; row++) {
        char *to = y + (size_t)row * (left + right);
        memcpy(to, a + (size_t)row * left, left);
        memcpy(to + left, b + (size_t)row * right, right);
    }
    return MM_OK;
}

RUN_KERNEL(slice)
{
    int64_t rows = rows_of(call->node), channels = last_dim(call->node);
    int64_t all = last_dim(call->node->source[0]), first = call->node->attr.slice.first;
    size_t whole = bytes_of(call->node, all), part = bytes_of(call->node, channels);
    const char *x = (const char *)call->source[0] + bytes_of(call->node, first);
    char *y = call->destination;
#pragma omp parallel for schedule(static) if (rows * channels > PARALLEL)
    for (int64_t row = 0; row < rows; row++)
        memcpy(y + (size_t)row * part, x + (size_t)row * whole, part);
    return MM_OK;
}

RUN_KERNEL(slice_grad)
{
    int64_t rows = rows_of(call->node), all = last_dim(call->node);
    int64_t channels = last_dim(call->node->source[0]), first = call->node->attr.slice.first;
    size_t whole = bytes_of(call->node, all), before = bytes_of(call->node, first),
           part = bytes_of(call->node, channels);
    const char *dy = call->source[0];
    char *dx = call->destination;
#pragma omp parallel for schedule(static) if (rows * all > PARALLEL)
    for (int64_t row = 0; row < rows; row++) {
        char *to = dx + (size_t)row * whole;
        memset(to, 0, before);
        memcpy(to + before, dy + (size_t)row * part, part);
        memset(to + before + part, 0, whole - before - part);
    }
    return MM_OK;
}

RUN_KERNEL(repeat)
{
    size_t bytes = bytes_of(call->node, mm_shape_elements(&call->node->source[0]->shape));
    for (int64_t i = 0; i < call->node->attr.repeat.times; i++)
        memcpy((char *)call->destination + (size_t)i * bytes, call->source[0], bytes);
    return MM_OK;
}

/* One side of an image, before and after. */
typedef struct axis {
    int64_t original, resized;
} axis;

/* In single precision, as PyTorch does. */
static int64_t nearest(axis a, int64_t position)
{
    float ratio = (float)a.original / (float)a.resized;
    int64_t from = (int64_t)floorf((float)position * ratio);
    return from < a.original ? from : a.original - 1;
}

/* The resized positions that come from `position` begin here; they end where the next one's begin.
 */
static int64_t first_from(axis a, int64_t position)
{
    if (position == 0)
        return 0;
    int64_t at = position * a.resized / a.original;
    while (at > 0 && nearest(a, at - 1) >= position)
        at--;
    while (at < a.resized && nearest(a, at) < position)
        at++;
    return at;
}

RUN_KERNEL(resize_nearest)
{
    const int64_t *from = call->node->source[0]->shape.dim, *to = call->node->shape.dim;
    axis vertical = {from[1], to[1]}, horizontal = {from[2], to[2]};
    int64_t channels = to[3], lines = to[0] * to[1];
    size_t pixel = bytes_of(call->node, channels);
    const char *x = call->source[0];
    char *y = call->destination;
#pragma omp parallel for schedule(static) if (lines * to[2] * channels > PARALLEL)
    for (int64_t line = 0; line < lines; line++) {
        int64_t above = line / to[1] * from[1] + nearest(vertical, line % to[1]);
        for (int64_t column = 0; column < to[2]; column++)
            memcpy(y + (size_t)(line * to[2] + column) * pixel,
                   x + (size_t)(above * from[2] + nearest(horizontal, column)) * pixel, pixel);
    }
    return MM_OK;
}

/* Pixels top .. bottom - 1, left .. right - 1 of an image with lines of `width`. */
typedef struct patch {
    int64_t top, bottom, left, right, width;
} patch;

#define PIECE 256 /* channels summed at a time */

static void add_to(float *restrict sum, const float *restrict x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        sum[i] += x[i];
}

/* Channels first .. first + count - 1 of the sum of a patch of dy. */
static void sum_patch(const mm_node *node, const char *dy, const patch *p, int64_t channels,
                      int64_t first, int64_t count, float *sum)
{
    float pixel[PIECE];
    memset(sum, 0, (size_t)count * sizeof(*sum));
    for (int64_t y = p->top; y < p->bottom; y++) {
        for (int64_t x = p->left; x < p->right; x++) {
            const char *from = dy + bytes_of(node, (y * p->width + x) * channels + first);
            mm_convert_numbers(pixel, MM_F32, from, node->dtype, (size_t)count);
            add_to(sum, pixel, count);
        }
    }
}

/* One line of dx: sums of the pixels of dy that were copied from each of its pixels. */
static void gather_line(const mm_node *node, char *dx, const char *dy, axis horizontal, patch p,
                        int64_t channels)
{
    float sum[PIECE];
    for (int64_t column = 0; column < horizontal.original; column++, p.left = p.right) {
        p.right = first_from(horizontal, column + 1);
        if (column + 1 == horizontal.original)
            p.right = horizontal.resized;
        for (int64_t first = 0; first < channels; first += PIECE) {
            int64_t count = channels - first < PIECE ? channels - first : PIECE;
            sum_patch(node, dy, &p, channels, first, count, sum);
            mm_convert_numbers(dx + bytes_of(node, column * channels + first), node->dtype, sum,
                               MM_F32, (size_t)count);
        }
    }
}

RUN_KERNEL(resize_nearest_grad)
{
    const int64_t *from = call->node->source[0]->shape.dim, *to = call->node->shape.dim;
    axis vertical = {to[1], from[1]}, horizontal = {to[2], from[2]};
    int64_t channels = to[3], lines = to[0] * to[1];
    const mm_node *node = call->node;
    const char *dy = call->source[0];
    char *dx = call->destination;
#pragma omp parallel for schedule(static) if (lines * to[2] * channels > PARALLEL)
    for (int64_t line = 0; line < lines; line++) {
        int64_t frame = line / to[1], at = line % to[1];
        patch p = {.top = first_from(vertical, at),
                   .bottom = at + 1 < to[1] ? first_from(vertical, at + 1) : from[1],
                   .width = from[2]};
        gather_line(node, dx + bytes_of(node, line * to[2] * channels),
                    dy + bytes_of(node, frame * from[1] * from[2] * channels), horizontal, p,
                    channels);
    }
    return MM_OK;
}

/* Where a resized position lies between two original ones. */
typedef struct between {
    int64_t below, above;
    float part; /* of the one above */
} between;

/* In single precision, as PyTorch does. */
static between linear(axis a, int64_t position)
{
    float step = a.resized > 1 ? (float)(a.original - 1) / (float)(a.resized - 1) : 0.0f;
    float at = step * (float)position;
    int64_t below = (int64_t)at < a.original ? (int64_t)at : a.original - 1;
    return (between){below, below + 1 < a.original ? below + 1 : below, at - (float)below};
}

static void blend(float *restrict y, const float *const restrict corner[4], const float weight[4],
                  int64_t channels)
{
    for (int64_t c = 0; c < channels; c++)
        y[c] = (corner[0][c] * weight[0] + corner[1][c] * weight[1]) +
               (corner[2][c] * weight[2] + corner[3][c] * weight[3]);
}

static void resize_line(float *y, const float *x, axis vertical, axis horizontal, int64_t line,
                        int64_t channels)
{
    between v = linear(vertical, line);
    const float *upper = x + v.below * horizontal.original * channels;
    const float *lower = x + v.above * horizontal.original * channels;
    for (int64_t column = 0; column < horizontal.resized; column++, y += channels) {
        between h = linear(horizontal, column);
        const float *corner[] = {upper + h.below * channels, upper + h.above * channels,
                                 lower + h.below * channels, lower + h.above * channels};
        float weight[] = {(1.0f - v.part) * (1.0f - h.part), (1.0f - v.part) * h.part,
                          v.part * (1.0f - h.part), v.part * h.part};
        blend(y, corner, weight, channels);
    }
}

RUN_KERNEL(resize_bilinear)
{
    const int64_t *from = call->node->source[0]->shape.dim, *to = call->node->shape.dim;
    axis vertical = {from[1], to[1]}, horizontal = {from[2], to[2]};
    int64_t channels = to[3], lines = to[0] * to[1];
    const float *x = call->source[0];
    float *y = call->destination;
#pragma omp parallel for schedule(static) if (lines * to[2] * channels > PARALLEL)
    for (int64_t line = 0; line < lines; line++)
        resize_line(y + line * to[2] * channels, x + line / to[1] * from[1] * from[2] * channels,
                    vertical, horizontal, line % to[1], channels);
    return MM_OK;
}

RUN_KERNEL(embedding)
{
    int64_t rows = call->node->source[0]->shape.dim[0], channels = last_dim(call->node);
    int64_t count = mm_shape_elements(&call->node->source[1]->shape);
    size_t row = bytes_of(call->node, channels);
    const char *table = call->source[0];
    const int64_t *ids = call->source[1];
    char *y = call->destination;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= rows)
            return mm_fail(error, MM_ERR_USAGE,
                           "%s: id %lld at position %lld is outside the table of %lld rows",
                           call->node->name ? call->node->name : "embedding", (long long)ids[i],
                           (long long)i, (long long)rows);
        memcpy(y + (size_t)i * row, table + (size_t)ids[i] * row, row);
    }
    return MM_OK;
}

/* Each step rounded to single precision, the elementary functions exact before that. */
static void embed_timestep(float *y, float timestep, int64_t channels, bool flip, float shift)
{
    int64_t half = channels / 2;
    for (int64_t i = 0; i < half; i++) {
        float exponent = (float)-9.210340371976184 * (float)i;
        exponent = exponent / ((float)half - shift);
        float angle = timestep * (float)exp((double)exponent);
        y[flip ? half + i : i] = (float)sin((double)angle);
        y[flip ? i : half + i] = (float)cos((double)angle);
    }
    if (channels % 2)
        y[channels - 1] = 0.0f;
}

RUN_KERNEL(timestep_embedding)
{
    int64_t channels = call->node->attr.timestep_embedding.channels;
    int64_t count = mm_shape_elements(&call->node->source[0]->shape);
    const float *timesteps = call->source[0];
    float *y = call->destination;
    for (int64_t i = 0; i < count; i++)
        embed_timestep(y + i * channels, timesteps[i], channels,
                       call->node->attr.timestep_embedding.flip_sin_to_cos,
                       call->node->attr.timestep_embedding.downscale_freq_shift);
    return MM_OK;
}

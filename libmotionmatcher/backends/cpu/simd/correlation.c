/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/product.h"
#include "backends/cpu/simd/vector.h"
#include "backends/cpu/simd/workspace.h"

typedef struct correlation {
    mm_correlation_layout layout;
    const float *map, *origins, *places;
    float *y, *workspace;
    int64_t frames, height, width, points, radius;
    float scale;
} correlation;

/* One coordinate of a sample: two neighbours and the second one's share. */
typedef struct between {
    int64_t below, above;
    float part;
} between;

static between locate(float position, int64_t length)
{
    float last = (float)(length - 1);
    position = position > 0.0f ? position : 0.0f; /* NaN too */
    position = position < last ? position : last;
    int64_t below = (int64_t)position;
    return (between){below, below + 1 < length ? below + 1 : below, position - (float)below};
}

static void blend(float *restrict y, const float *const corner[4], const float weight[4],
                  int64_t channels)
{
    const float *restrict a = corner[0], *restrict b = corner[1], *restrict c = corner[2],
                          *restrict d = corner[3];
#pragma omp simd
    for (int64_t i = 0; i < channels; i++)
        y[i] = (a[i] * weight[0] + b[i] * weight[1]) + (c[i] * weight[2] + d[i] * weight[3]);
}

/* The samples around a place, x outermost. */
static void read_patch(const correlation *job, int64_t frame, const float place[2], float *patch)
{
    const mm_correlation_layout *l = &job->layout;
    const float *map = job->map + frame * job->height * job->width * l->channels;
    float x = place[0] * job->scale, y = place[1] * job->scale;
    for (int64_t i = 0; i < l->patch; i++, patch += l->row) {
        between h = locate(x + (float)(i / l->side - job->radius), job->width);
        between v = locate(y + (float)(i % l->side - job->radius), job->height);
        const float *upper = map + v.below * job->width * l->channels;
        const float *lower = map + v.above * job->width * l->channels;
        const float *corner[] = {upper + h.below * l->channels, upper + h.above * l->channels,
                                 lower + h.below * l->channels, lower + h.above * l->channels};
        float weight[] = {(1.0f - v.part) * (1.0f - h.part), (1.0f - v.part) * h.part,
                          v.part * (1.0f - h.part), v.part * h.part};
        blend(patch, corner, weight, l->channels);
    }
}

static float dot(const float *restrict a, const float *restrict b, int64_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* y[patch, patch] = place origin^T: whole vectors of columns, then what is left of them. */
static void multiply(const mm_correlation_layout *l, const float *scratch, float *y)
{
    const float *place = scratch + l->place, *origin = scratch + l->origin;
    int64_t whole = l->patch / MM_LANES * MM_LANES;
    if (whole)
        mm_multiply(&(mm_small_product){
            .m = l->patch,
            .n = whole,
            .depth = l->channels,
            .a = place,
            .a_row = l->row,
            .a_column = 1,
            .b = scratch + l->transposed,
            .b_row = l->transposed_row,
            .c = y,
            .c_row = l->patch,
        });
    for (int64_t column = whole; column < l->patch; column++) {
        for (int64_t row = 0; row < l->patch; row++)
            y[row * l->patch + column] =
                dot(place + row * l->row, origin + column * l->row, l->channels);
    }
}

static void correlate_point(const correlation *job, int64_t point)
{
    const mm_correlation_layout *l = &job->layout;
    float *scratch = job->workspace + (size_t)mm_thread_number() * l->thread_floats;
    float *origin = scratch + l->origin, *transposed = scratch + l->transposed;
    read_patch(job, 0, job->origins + 2 * point, origin);
    for (int64_t i = 0; i < l->patch; i++)
        for (int64_t c = 0; c < l->channels; c++)
            transposed[c * l->transposed_row + i] = origin[i * l->row + c];
    for (int64_t frame = 0; frame < job->frames; frame++) {
        int64_t row = frame * job->points + point;
        read_patch(job, frame, job->places + 2 * row, scratch + l->place);
        multiply(l, scratch, job->y + row * l->patch * l->patch);
    }
}

MM_SIMD_KERNEL(patch_correlation)
{
    const int64_t *map = call->node->source[0]->shape.dim;
    correlation job = {
        .layout = mm_correlation_plan(call->node),
        .map = call->source[0],
        .origins = call->source[1],
        .places = call->source[2],
        .y = call->destination,
        .workspace = call->workspace,
        .frames = map[0],
        .height = map[1],
        .width = map[2],
        .points = call->node->shape.dim[1],
        .radius = call->node->attr.patch_correlation.radius,
        .scale = call->node->attr.patch_correlation.scale,
    };
#pragma omp parallel for schedule(static)
    for (int64_t point = 0; point < job.points; point++) {
        if (!mm_cpu_cancelled(call))
            correlate_point(&job, point);
    }
}

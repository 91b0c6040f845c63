/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/precise.h"
#include "backends/cpu/simd/product.h"
#include "backends/cpu/simd/vector.h"

#define ROWS MM_BLOCKED_ROWS
#define PANEL MM_BLOCKED_PANEL
#define DEPTH 16 /* products summed before they are added to the sum of others */

/* What a thread works on: columns first .. first + count of c, padded to whole vectors. */
typedef struct panel {
    const mm_precise_product *job;
    int64_t depth; /* of all taps together */
    int64_t first, count, padded;
    float *b;           /* [depth, padded] */
    float *rows;        /* [ROWS, depth]: the input under the taps, gathered */
    float *sum;         /* [ROWS, padded] */
    const float *zeros; /* of one tap */
} panel;

/* DEPTH rows of b at a time, so that both sides of the transposition stay in the cache. */
static void load_tap(const panel *p, const float *from, float *to)
{
    const mm_precise_product *job = p->job;
    for (int64_t begin = 0; begin < job->depth; begin += DEPTH) {
        int64_t end = mm_smaller(begin + DEPTH, job->depth);
        for (int64_t j = 0; j < p->count; j++)
            for (int64_t k = begin; k < end; k++)
                to[k * p->padded + j] = from[j * job->b_column + k * job->b_row];
    }
}

static void load_panel(panel *p, int64_t first)
{
    const mm_precise_product *job = p->job;
    p->first = first;
    p->count = mm_smaller(PANEL, job->columns - first);
    p->padded = mm_ceil_div(p->count, MM_LANES) * MM_LANES;
    if (p->count < p->padded)
        memset(p->b, 0, (size_t)(p->depth * p->padded) * sizeof(float));
    for (int64_t tap = 0; tap < p->depth / job->depth; tap++)
        load_tap(p, job->b + tap * job->b_tap + first * job->b_column,
                 p->b + tap * job->depth * p->padded);
}

/* Where `count` rows of the input begin, one behind the other. */
static const float *gather_rows(const panel *p, int64_t first, int64_t count)
{
    const mm_precise_product *job = p->job;
    int64_t taps = p->depth / job->depth;
    if (mm_precise_is_matrix(job))
        return job->a + first * job->a_row;
    for (int64_t i = 0; i < count; i++)
        for (int64_t tap = 0; tap < taps; tap++)
            memcpy(p->rows + (i * taps + tap) * job->depth,
                   mm_precise_row_under(job, first + i, tap, p->zeros),
                   (size_t)job->depth * sizeof(float));
    return p->rows;
}

static void write_row(const panel *p, const float *sum, int64_t row)
{
    const mm_precise_product *job = p->job;
    float *c = job->c + row * job->c_row + p->first;
    for (int64_t j = 0; j < p->count; j++) {
        double value = job->alpha * (double)sum[j];
        if (job->bias)
            value += (double)job->bias[p->first + j];
        if (job->accumulate)
            value += (double)c[j];
        c[j] = (float)value;
    }
}

static void multiply_rows(const panel *p, int64_t first, int64_t count)
{
    mm_small_product product = {
        .m = count,
        .n = p->padded,
        .a = gather_rows(p, first, count),
        .a_row = mm_precise_is_matrix(p->job) ? p->job->a_row : p->depth,
        .a_column = 1,
        .b = p->b,
        .b_row = p->padded,
        .c = p->sum,
        .c_row = p->padded,
    };
    for (int64_t begin = 0; begin < p->depth; begin += DEPTH) {
        product.depth = mm_smaller(DEPTH, p->depth - begin);
        product.accumulate = begin > 0;
        mm_multiply(&product);
        product.a += DEPTH;
        product.b += DEPTH * p->padded;
    }
    for (int64_t i = 0; i < count; i++)
        write_row(p, p->sum + i * p->padded, first + i);
}

static panel begin(const mm_precise_product *job, char *workspace)
{
    int64_t depth = job->depth * job->kernel[0] * job->kernel[1];
    float *own = (float *)(void *)(workspace + mm_thread_number() * mm_blocked_thread_bytes(job));
    panel p = {.job = job, .depth = depth, .first = -1, .b = own};
    p.sum = own + depth * PANEL;
    p.rows = p.sum + ROWS * PANEL;
    float *zeros = p.rows + (mm_precise_is_matrix(job) ? 0 : ROWS * depth);
    p.zeros = memset(zeros, 0, (size_t)job->depth * sizeof(float));
    return p;
}

void MM_AT_LEVEL(mm_simd_blocked)(const mm_precise_product *job, char *workspace)
{
    int64_t rows = job->images * job->output[0] * job->output[1];
    int64_t runs = mm_ceil_div(rows, ROWS), tasks = runs * mm_ceil_div(job->columns, PANEL);
#pragma omp parallel
    {
        panel p = begin(job, workspace);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            if (p.first != i / runs * PANEL)
                load_panel(&p, i / runs * PANEL);
            int64_t first = i % runs * ROWS;
            multiply_rows(&p, first, mm_smaller(ROWS, rows - first));
        }
    }
}

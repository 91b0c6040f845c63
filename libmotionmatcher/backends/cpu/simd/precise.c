/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/precise.h"

#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/vector.h"

#define WIDE_LANES (MM_LANES / 2)
#if MM_LANES == 16
#define VECTORS 4
#else
#define VECTORS 2
#endif
#define PANEL (VECTORS * WIDE_LANES) /* columns of a tile of c, which lives in registers */
#define ROWS 4
#define TASK_ROWS 128

typedef double wide __attribute__((vector_size(MM_VECTOR_BYTES)));
typedef double wide_in_memory __attribute__((vector_size(MM_VECTOR_BYTES), aligned(8), may_alias));

typedef struct panel {
    const mm_precise_product *job;
    double *b; /* [taps, depth, PANEL] */
    const float *zeros;
    int64_t first, count; /* columns */
} panel;

static int64_t taps_of(const mm_precise_product *job)
{
    return job->kernel[0] * job->kernel[1];
}

static void load_panel(panel *p, int64_t first)
{
    const mm_precise_product *job = p->job;
    int64_t taps = taps_of(job), depth = job->depth;
    p->first = first;
    p->count = mm_smaller(PANEL, job->columns - first);
    if (p->count < PANEL)
        memset(p->b, 0, (size_t)(taps * depth * PANEL) * sizeof(*p->b));
    for (int64_t j = 0; j < p->count; j++)
        for (int64_t tap = 0; tap < taps; tap++) {
            const float *from = job->b + tap * job->b_tap + (first + j) * job->b_column;
            double *to = p->b + tap * depth * PANEL + j;
            for (int64_t k = 0; k < depth; k++)
                to[k * PANEL] = (double)from[k * job->b_row];
        }
}

MM_INLINE void add_products(wide sum[ROWS][VECTORS], const float *const from[ROWS], const double *b,
                            int64_t depth)
{
    for (int64_t k = 0; k < depth; k++, b += PANEL) {
        wide row[VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; j++)
            row[j] = *(const wide_in_memory *)(b + j * WIDE_LANES);
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            double factor = (double)from[i][k];
#pragma GCC unroll 4
            for (int j = 0; j < VECTORS; j++)
                sum[i][j] += factor * row[j];
        }
    }
}

static void write_row(const panel *p, const double *sum, int64_t row)
{
    const mm_precise_product *job = p->job;
    float *c = job->c + row * job->c_row + p->first;
    for (int64_t j = 0; j < p->count; j++) {
        double value = job->alpha * sum[j];
        if (job->bias)
            value += (double)job->bias[p->first + j];
        if (job->accumulate)
            value += (double)c[j];
        c[j] = (float)value;
    }
}

static void multiply_rows(const panel *p, int64_t first, int64_t count)
{
    wide sum[ROWS][VECTORS] = {{{0}}};
    double result[PANEL];
    int64_t taps = taps_of(p->job), depth = p->job->depth;
    for (int64_t tap = 0; tap < taps; tap++) {
        const float *from[ROWS];
        for (int64_t i = 0; i < ROWS; i++)
            from[i] = i < count ? mm_precise_row_under(p->job, first + i, tap, p->zeros) : p->zeros;
        add_products(sum, from, p->b + tap * depth * PANEL, depth);
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(result, sum[i], sizeof(result));
        write_row(p, result, first + i);
    }
}

void MM_AT_LEVEL(mm_simd_precise)(const mm_precise_product *job, char *workspace)
{
    int64_t rows = job->images * job->output[0] * job->output[1];
    int64_t runs = mm_ceil_div(rows, TASK_ROWS), tasks = runs * mm_ceil_div(job->columns, PANEL);
    int64_t zeros = mm_precise_thread_bytes(job) - job->depth * (int64_t)sizeof(float);
#pragma omp parallel
    {
        char *own = workspace + mm_thread_number() * mm_precise_thread_bytes(job);
        panel p = {.job = job, .b = (double *)(void *)own, .first = -1};
        p.zeros = memset(own + zeros, 0, (size_t)job->depth * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            if (p.first != i / runs * PANEL)
                load_panel(&p, i / runs * PANEL);
            int64_t first = i % runs * TASK_ROWS, end = mm_smaller(first + TASK_ROWS, rows);
            for (int64_t row = first; row < end; row += ROWS)
                multiply_rows(&p, row, mm_smaller(ROWS, end - row));
        }
    }
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small products and convolutions, summed more exactly than oneDNN sums them. The loss is what is
 * left of maps that nearly cancel. The rounding in it averages out over many numbers, so that it is
 * small models that need exact sums: the smallest products are summed in double, somewhat larger
 * ones in single precision in short blocks, whose sums are added up.
 */
#ifndef MM_BACKENDS_CPU_SIMD_PRECISE_H
#define MM_BACKENDS_CPU_SIMD_PRECISE_H

#include "backends/cpu/kernels.h"

/*
 * A convolution over rows of channels; a matrix product has one image, a kernel of 1x1 and one row
 * for each pixel. c = alpha sum + bias, added to c if `accumulate`.
 */
typedef struct mm_precise_product {
    int64_t images, input[2], output[2], kernel[2], before[2], stride;
    int64_t depth, columns; /* channels */
    const float *a, *b, *bias;
    int64_t a_row;
    int64_t b_tap, b_row, b_column; /* tap by tap, [depth, columns] */
    float *c;
    int64_t c_row;
    double alpha;
    bool accumulate;
} mm_precise_product;

/* Whether a node asks for such sums and they cost little. */
bool mm_precise_is_wanted(const mm_node *node, const mm_precise_product *product);
size_t mm_precise_workspace(const mm_precise_product *product, int threads);
void mm_precise_run(const mm_cpu_context *context, const mm_precise_product *product,
                    void *workspace);

#define MM_PRECISE_PANEL 32 /* columns at a time, at most */

/* Of each thread: a panel of b in double, then a row of zeros. */
static inline int64_t mm_precise_thread_bytes(const mm_precise_product *product)
{
    int64_t taps = product->kernel[0] * product->kernel[1];
    int64_t bytes = product->depth * (taps * MM_PRECISE_PANEL * 8 + 4);
    return (bytes + 63) / 64 * 64;
}

/* A product of matrices, whose rows need not be gathered. */
static inline bool mm_precise_is_matrix(const mm_precise_product *p)
{
    return p->kernel[0] * p->kernel[1] == 1 && p->stride == 1 && p->before[0] + p->before[1] == 0;
}

/* The input's row under one tap of an output's row; `zeros` outside the image. */
static inline const float *mm_precise_row_under(const mm_precise_product *p, int64_t row,
                                                int64_t tap, const float *zeros)
{
    int64_t x = row % p->output[1], rest = row / p->output[1];
    int64_t y = rest % p->output[0], image = rest / p->output[0];
    y = y * p->stride + tap / p->kernel[1] - p->before[0];
    x = x * p->stride + tap % p->kernel[1] - p->before[1];
    if (y < 0 || x < 0 || y >= p->input[0] || x >= p->input[1])
        return zeros;
    return p->a + ((image * p->input[0] + y) * p->input[1] + x) * p->a_row;
}

#define MM_BLOCKED_ROWS 32
#define MM_BLOCKED_PANEL 128 /* columns at a time, at most */

/* Of each thread: a panel of b, sums, gathered rows, a row of zeros. */
static inline int64_t mm_blocked_thread_bytes(const mm_precise_product *product)
{
    int64_t depth = product->depth * product->kernel[0] * product->kernel[1];
    int64_t gathered = mm_precise_is_matrix(product) ? 0 : MM_BLOCKED_ROWS * depth;
    int64_t floats = (depth + MM_BLOCKED_ROWS) * MM_BLOCKED_PANEL + gathered + product->depth;
    return (floats * 4 + 63) / 64 * 64;
}

typedef void mm_precise_function(const mm_precise_product *product, char *workspace);
MM_DECLARE_LEVELS(mm_precise_function, mm_simd_precise)
MM_DECLARE_LEVELS(mm_precise_function, mm_simd_blocked)

#endif

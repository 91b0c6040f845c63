/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small products and convolutions, summed in double. The loss is what is left of maps that nearly
 * cancel. The rounding in it averages out over many numbers, so that it is small models that need
 * exact sums, and there they cost little.
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

typedef void mm_precise_function(const mm_precise_product *product, char *workspace);
extern mm_precise_function mm_simd_precise_sse4, mm_simd_precise_avx2, mm_simd_precise_avx512;

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_BACKENDS_CPU_SIMD_PRODUCT_H
#define MM_BACKENDS_CPU_SIMD_PRODUCT_H

#include "backends/cpu/kernels.h"

/* c[m, n] = sum over k of a[m, k] b[k, n], added to c if `accumulate`. Columns of a may lie apart;
   those of b and c are neighbours, and n is a multiple of MM_LANES. With `pairs`, where
   MM_HAS_PAIRS, an element of a or b is two bf16 numbers, 2k and 2k + 1 of the sum. */
typedef struct mm_small_product {
    int64_t m, n, depth;
    const float *a;
    int64_t a_row, a_column;
    const float *b;
    int64_t b_row;
    float *c;
    int64_t c_row;
    bool accumulate, pairs;
} mm_small_product;

#define mm_multiply MM_AT_LEVEL(mm_multiply)
/* One thread; operands are expected to be in or near its cache. */
void mm_multiply(const mm_small_product *product);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The ops whose kernels are compiled for each instruction set. */
#ifndef MM_BACKENDS_CPU_SIMD_KERNEL_H
#define MM_BACKENDS_CPU_SIMD_KERNEL_H

#include "backends/cpu/kernels.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* `threads`: at most as many threads in a parallel region; the workspace is made for that. */
typedef void mm_simd_run(const mm_kernel_call *call, int threads);

#ifdef MM_SIMD_LEVEL
#define MM_SIMD_KERNEL(op) \
    void MM_AT_LEVEL(mm_simd_##op)(const mm_kernel_call *call, __attribute__((unused)) int threads)
#define MM_SIMD_OP(op, prepare) MM_SIMD_KERNEL(op);
#else
#define MM_SIMD_OP(op, prepare) MM_DECLARE_LEVELS(mm_simd_run, mm_simd_##op)
#endif
#include "backends/cpu/simd/ops.def"
#undef MM_SIMD_OP

static inline int mm_thread_number(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static inline int64_t mm_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t mm_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t mm_last_dim(const mm_node *node)
{
    return node->shape.dim[node->shape.rank - 1];
}

#endif

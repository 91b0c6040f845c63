/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of ops whose kernels exist once for each instruction set. */
#include "backends/cpu/prepare.h"
#include "backends/cpu/simd/kernel.h"

#define MM_SIMD_OP(op, prepare_function)                                              \
    static mm_status run_##op(const mm_cpu_context *context, const mm_kernel *kernel, \
                              const mm_kernel_call *call, mm_error *error)            \
    {                                                                                 \
        static mm_simd_run *const level[MM_ISA_COUNT] = MM_LEVELS(mm_simd_##op);      \
        (void)kernel;                                                                 \
        (void)error;                                                                  \
        level[context->isa](call, context->threads);                                  \
        return MM_OK;                                                                 \
    }                                                                                 \
    const mm_cpu_kernel mm_cpu_##op = {.prepare = prepare_function, .run = run_##op};
#include "backends/cpu/simd/ops.def"
#undef MM_SIMD_OP

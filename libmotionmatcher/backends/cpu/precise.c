/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/precise.h"

bool mm_precise_is_cheap(const mm_cpu_context *context, const mm_precise_product *product,
                         mm_dtype dtype)
{
    double rows = (double)product->images * (double)product->output[0] * (double)product->output[1];
    double taps = (double)product->kernel[0] * (double)product->kernel[1];
    return dtype == MM_F32 && rows * taps * (double)product->depth * (double)product->columns <=
                                  context->precise_limit;
}

size_t mm_precise_workspace(const mm_precise_product *product, int threads)
{
    return (size_t)mm_precise_thread_bytes(product) * (size_t)threads;
}

void mm_precise_run(const mm_cpu_context *context, const mm_precise_product *product,
                    void *workspace)
{
    static mm_precise_function *const function[MM_ISA_COUNT] = MM_LEVELS(mm_simd_precise);
    function[context->isa](product, workspace);
}

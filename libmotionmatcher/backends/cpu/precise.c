/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/precise.h"

/* Multiplications: a few milliseconds. */
static const double most = 1 << 26;

bool mm_precise_is_wanted(const mm_node *node, const mm_precise_product *product)
{
    double rows = (double)product->images * (double)product->output[0] * (double)product->output[1];
    double taps = (double)product->kernel[0] * (double)product->kernel[1];
    return node->precise && node->dtype == MM_F32 &&
           rows * taps * (double)product->depth * (double)product->columns <= most;
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

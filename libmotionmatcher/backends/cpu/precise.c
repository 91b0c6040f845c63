/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/precise.h"

/* Multiplications: up to a fraction of a millisecond in double, up to some milliseconds in blocks.
 */
static const double most_in_double = 1 << 22, most = 1 << 28;

static double multiplications(const mm_precise_product *p)
{
    double rows = (double)p->images * (double)p->output[0] * (double)p->output[1];
    double taps = (double)p->kernel[0] * (double)p->kernel[1];
    return rows * taps * (double)p->depth * (double)p->columns;
}

bool mm_precise_is_wanted(const mm_node *node, const mm_precise_product *product)
{
    return node->precise && node->dtype == MM_F32 && node->source[1]->dtype == MM_F32 &&
           multiplications(product) <= most;
}

size_t mm_precise_workspace(const mm_precise_product *product, int threads)
{
    int64_t bytes = multiplications(product) <= most_in_double ? mm_precise_thread_bytes(product)
                                                               : mm_blocked_thread_bytes(product);
    return (size_t)bytes * (size_t)threads;
}

void mm_precise_run(const mm_cpu_context *context, const mm_precise_product *product,
                    void *workspace)
{
    static mm_precise_function *const in_double[MM_ISA_COUNT] = MM_LEVELS(mm_simd_precise);
    static mm_precise_function *const blocked[MM_ISA_COUNT] = MM_LEVELS(mm_simd_blocked);
    if (multiplications(product) <= most_in_double)
        in_double[context->isa](product, workspace);
    else
        blocked[context->isa](product, workspace);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/rounding.h"

mm_rounding mm_rounding_plan(const mm_node *node, size_t *workspace)
{
    mm_rounding rounding = {.needed = mm_node_rounds(node),
                            .count = mm_node_elements(node->source[0])};
    if (!rounding.needed)
        return rounding;
    rounding.offset = (*workspace + 63) / 64 * 64;
    *workspace = rounding.offset + (size_t)rounding.count * mm_dtype_bytes(MM_BF16);
    return rounding;
}

const void *mm_rounding_apply(const mm_cpu_context *context, const mm_rounding *rounding,
                              const void *from, void *workspace)
{
    static mm_round_function *const round[MM_ISA_COUNT] = MM_LEVELS(mm_simd_round);
    if (!rounding->needed)
        return from;
    void *to = (char *)workspace + rounding->offset;
    round[context->isa](to, from, rounding->count);
    return to;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/halves.h"

static size_t append(size_t *workspace, int64_t elements)
{
    size_t offset = (*workspace + 63) / 64 * 64;
    *workspace = offset + (size_t)elements * mm_dtype_bytes(MM_BF16);
    return offset;
}

static bool are_needed(const mm_node *node)
{
    return node->source[0]->dtype == MM_F32 && mm_product_type(node) == MM_BF16;
}

bool mm_halves_are_two(const mm_node *node)
{
    return are_needed(node) && !node->backward;
}

mm_halves mm_halves_plan(const mm_node *node, size_t *workspace)
{
    mm_halves halves = {.count = mm_node_elements(node->source[0])};
    halves.high = are_needed(node);
    halves.low = mm_halves_are_two(node);
    if (halves.high)
        halves.high_offset = append(workspace, halves.count);
    if (halves.low)
        halves.low_offset = append(workspace, halves.count);
    return halves;
}

void mm_halves_cut(const mm_cpu_context *context, const mm_halves *halves, const float *from,
                   void *workspace)
{
    static mm_cut_function *const cut[MM_ISA_COUNT] = MM_LEVELS(mm_simd_cut);
    if (!halves->high)
        return;
    void *high = (char *)workspace + halves->high_offset;
    void *low = (char *)workspace + halves->low_offset;
    cut[context->isa](high, halves->low ? low : NULL, from, halves->count);
}

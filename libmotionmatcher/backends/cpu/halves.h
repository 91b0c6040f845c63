/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Products of f32 activations with bf16 weights, by bf16 instructions: the activations are cut into
 * a bf16 half and a bf16 half of what that leaves, and both products are added up in f32. That
 * keeps 16 bits of every activation. In gradients, of which no small difference is taken, the first
 * half is enough.
 */
#ifndef MM_BACKENDS_CPU_HALVES_H
#define MM_BACKENDS_CPU_HALVES_H

#include "backends/cpu/kernels.h"

typedef struct mm_halves {
    bool high, low;                 /* which ones are made */
    int64_t count;                  /* elements */
    size_t high_offset, low_offset; /* in the workspace */
} mm_halves;

/* Whether the node's activations are needed to more bits than bf16 has. */
bool mm_halves_are_two(const mm_node *node);
/* Of the node's first source; adds to the workspace's bytes. */
mm_halves mm_halves_plan(const mm_node *node, size_t *workspace);
void mm_halves_cut(const mm_cpu_context *context, const mm_halves *halves, const float *from,
                   void *workspace);

/* What a product reads: the activations as they are, or their halves. */
static inline const void *mm_halves_first(const mm_halves *halves, const void *from,
                                          const void *workspace)
{
    return halves->high ? (const char *)workspace + halves->high_offset : from;
}

/* The type that products of the node run in: that of the weight. */
static inline mm_dtype mm_product_type(const mm_node *node)
{
    return node->source[1]->dtype;
}

typedef void mm_cut_function(uint16_t *high, uint16_t *low, const float *from, int64_t count);
MM_DECLARE_LEVELS(mm_cut_function, mm_simd_cut)

#endif

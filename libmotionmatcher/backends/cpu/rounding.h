/* SPDX-License-Identifier: BSD-2-Clause */
/* Products of f32 activations with bf16 weights: the activations are rounded to bf16 first. */
#ifndef MM_BACKENDS_CPU_ROUNDING_H
#define MM_BACKENDS_CPU_ROUNDING_H

#include "backends/cpu/kernels.h"

typedef struct mm_rounding {
    bool needed;
    int64_t count; /* elements */
    size_t offset; /* in the workspace */
} mm_rounding;

/* Of the node's first source; adds to the workspace's bytes. */
mm_rounding mm_rounding_plan(const mm_node *node, size_t *workspace);
/* What a product reads: the activations as they are, or rounded. */
const void *mm_rounding_apply(const mm_cpu_context *context, const mm_rounding *rounding,
                              const void *from, void *workspace);

/* The type that products of the node run in: that of the weight. */
static inline mm_dtype mm_product_type(const mm_node *node)
{
    return node->source[1]->dtype;
}

typedef void mm_round_function(uint16_t *to, const float *from, int64_t count);
MM_DECLARE_LEVELS(mm_round_function, mm_simd_round)

#endif

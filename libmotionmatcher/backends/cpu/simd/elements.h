/* SPDX-License-Identifier: BSD-2-Clause */
/* Activations are f32 or bf16; kernels compute in f32 on pieces that they read and write here. */
#ifndef MM_BACKENDS_CPU_SIMD_ELEMENTS_H
#define MM_BACKENDS_CPU_SIMD_ELEMENTS_H

#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/vector.h"

#define MM_PIECE 2048 /* elements of a task: a few pieces fit into a first-level cache */

typedef struct mm_elements {
    void *data;  /* NULL where a source is not there */
    bool narrow; /* bf16 */
} mm_elements;

static inline mm_elements mm_source(const mm_kernel_call *call, int i)
{
    const mm_node *node = call->node->source[i];
    return (mm_elements){(void *)(uintptr_t)call->source[i], node && node->dtype == MM_BF16};
}

static inline mm_elements mm_destination(const mm_kernel_call *call)
{
    return (mm_elements){call->destination, call->node->dtype == MM_BF16};
}

#define mm_widen MM_AT_LEVEL(mm_widen)
#define mm_narrow MM_AT_LEVEL(mm_narrow)
void mm_widen(float *restrict to, const uint16_t *restrict from, int64_t count);
/* Rounds to nearest even; NaN stays NaN. */
void mm_narrow(uint16_t *restrict to, const float *restrict from, int64_t count);

/* Elements first .. first + count - 1: as they lie, or widened into `scratch`. */
static inline const float *mm_read(mm_elements x, int64_t first, int64_t count, float *scratch)
{
    if (!x.narrow)
        return (const float *)x.data + first;
    mm_widen(scratch, (const uint16_t *)x.data + first, count);
    return scratch;
}

/* Where elements from `first` on are to be computed, before mm_write(). */
static inline float *mm_place(mm_elements y, int64_t first, float *scratch)
{
    return y.narrow ? scratch : (float *)y.data + first;
}

/* Ends what was computed at mm_place(). */
static inline void mm_write(mm_elements y, int64_t first, int64_t count, const float *from)
{
    if (y.narrow)
        mm_narrow((uint16_t *)y.data + first, from, count);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/rounding.h"
#include "backends/cpu/simd/elements.h"

typedef uint32_t wide_lanes __attribute__((vector_size(4 * MM_LANES)));
typedef uint16_t narrow_lanes __attribute__((vector_size(2 * MM_LANES)));
typedef uint16_t narrow_in_memory __attribute__((vector_size(2 * MM_LANES), aligned(2), may_alias));

static float widen_one(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof(wide));
    return wide;
}

void mm_widen(float *restrict to, const uint16_t *restrict from, int64_t count)
{
    int64_t i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES) {
        narrow_lanes narrow = *(const narrow_in_memory *)(from + i);
        mm_store(to + i, (mm_vec)(__builtin_convertvector(narrow, wide_lanes) << 16));
    }
    for (; i < count; i++)
        to[i] = widen_one(from[i]);
}

MM_INLINE narrow_lanes narrow(mm_vec value)
{
    wide_lanes bits = (wide_lanes)value;
    wide_lanes rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    wide_lanes kept =
        (wide_lanes)mm_select(value == value, (mm_vec)rounded, (mm_vec)(bits | 0x400000u));
    return __builtin_convertvector(kept >> 16, narrow_lanes);
}

void mm_narrow(uint16_t *restrict to, const float *restrict from, int64_t count)
{
    int64_t i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES)
        *(narrow_in_memory *)(to + i) = narrow(mm_load(from + i));
    if (i == count)
        return;
    narrow_lanes rest = narrow(mm_load_part(from + i, count - i));
    memcpy(to + i, &rest, (size_t)(count - i) * sizeof(*to));
}

MM_SIMD_KERNEL(convert)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    mm_elements x = mm_source(call, 0), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > 4 * MM_PIECE)
    for (int64_t first = 0; first < count; first += MM_PIECE) {
        float scratch[MM_PIECE];
        int64_t n = mm_smaller(MM_PIECE, count - first);
        const float *from = mm_read(x, first, n, scratch);
        if (y.narrow)
            mm_write(y, first, n, from);
        else
            memcpy((float *)y.data + first, from, (size_t)n * sizeof(*from));
    }
}

void MM_AT_LEVEL(mm_simd_round)(uint16_t *to, const float *from, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > 4 * MM_PIECE)
    for (int64_t first = 0; first < count; first += MM_PIECE)
        mm_narrow(to + first, from + first, mm_smaller(MM_PIECE, count - first));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Loops without branches, which compilers turn into vectors. */
#include "base/convert.h"

#include <string.h>

#define PIECE 1024 /* numbers that pass through f32 at a time */

static float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t as_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint16_t half_at(const unsigned char *from, size_t i)
{
    uint16_t half;
    memcpy(&half, from + 2 * i, sizeof(half));
    return half;
}

static void widen_bf16(float *restrict to, const unsigned char *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = as_float((uint32_t)half_at(from, i) << 16);
}

/* The product puts the exponent right, that of subnormals too; infinity and NaN get theirs after.
 */
static void widen_f16(float *restrict to, const unsigned char *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t half = half_at(from, i), magnitude = (half & 0x7fffu) << 13;
        uint32_t special = magnitude >= 0x7c00u << 13 ? 0x7f800000u : 0;
        uint32_t value = as_bits(as_float(magnitude) * 0x1p112f);
        to[i] = as_float(value | special | (half & 0x8000u) << 16);
    }
}

static void narrow_f64(float *restrict to, const unsigned char *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double wide;
        memcpy(&wide, from + 8 * i, sizeof(wide));
        to[i] = (float)wide;
    }
}

static void narrow_bf16(uint16_t *restrict to, const unsigned char *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits, quiet, rounded;
        memcpy(&bits, from + 4 * i, sizeof(bits));
        quiet = bits >> 16 | 0x40u;
        rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
        to[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }
}

static void narrow_f16(uint16_t *restrict to, const unsigned char *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, from + 4 * i, sizeof(value));
        to[i] = mm_f32_to_f16(value);
    }
}

static void to_f32(float *to, const unsigned char *from, mm_dtype type, size_t count)
{
    if (type == MM_BF16)
        widen_bf16(to, from, count);
    else if (type == MM_F16)
        widen_f16(to, from, count);
    else
        narrow_f64(to, from, count);
}

static void from_f32(uint16_t *to, mm_dtype type, const unsigned char *from, size_t count)
{
    if (type == MM_BF16)
        narrow_bf16(to, from, count);
    else
        narrow_f16(to, from, count);
}

static void through_f32(uint16_t *to, mm_dtype to_type, const unsigned char *from,
                        mm_dtype from_type, size_t count)
{
    float piece[PIECE];
    size_t size = mm_dtype_bytes(from_type);
    for (size_t first = 0; first < count; first += PIECE) {
        size_t n = count - first < PIECE ? count - first : PIECE;
        to_f32(piece, from + first * size, from_type, n);
        from_f32(to + first, to_type, (const unsigned char *)piece, n);
    }
}

void mm_convert_numbers(void *to, mm_dtype to_type, const void *from, mm_dtype from_type,
                        size_t count)
{
    if (to_type == from_type)
        memmove(to, from, count * mm_dtype_bytes(to_type));
    else if (to_type == MM_F32)
        to_f32(to, from, from_type, count);
    else if (from_type == MM_F32)
        from_f32(to, to_type, from, count);
    else
        through_f32(to, to_type, from, from_type, count);
}

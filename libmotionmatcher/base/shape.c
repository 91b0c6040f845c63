/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/shape.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[MM_DTYPE_COUNT] = {
    [MM_F32] = {"f32", 4}, [MM_F16] = {"f16", 2}, [MM_BF16] = {"bf16", 2}, [MM_F64] = {"f64", 8},
    [MM_I32] = {"i32", 4}, [MM_I64] = {"i64", 8}, [MM_U8] = {"u8", 1},
};

size_t mm_dtype_bytes(mm_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *mm_dtype_name(mm_dtype dtype)
{
    return dtypes[dtype].name;
}

bool mm_shape_elements_checked(const mm_shape *shape, int64_t *out)
{
    int64_t product = 1;
    for (int32_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 0 || !mm_mul_i64(product, shape->dim[i], &product))
            return false;
    }
    *out = product;
    return true;
}

int64_t mm_shape_elements(const mm_shape *shape)
{
    int64_t product = 1;
    for (int32_t i = 0; i < shape->rank; i++)
        product *= shape->dim[i];
    return product;
}

bool mm_shape_equal(const mm_shape *a, const mm_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof(a->dim[0])) == 0;
}

const char *mm_shape_text(const mm_shape *shape, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (int32_t i = 0; i < shape->rank && n < size; i++)
        n +=
            (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "[", (long long)shape->dim[i]);
    if (n < size)
        snprintf(out + n, size - n, shape->rank ? "]" : "[]");
    return out;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

float mm_bf16_to_f32(uint16_t brain)
{
    return float_of_bits((uint32_t)brain << 16);
}

float mm_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u)
        return float_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x400u)
        return float_of_bits(sign | ((rest << 13) + (112u << 23)));
    float magnitude = (float)rest * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

uint16_t mm_f32_to_bf16(float value)
{
    uint32_t bits = bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

uint16_t mm_f32_to_f16(float value)
{
    uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (rest >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (rest < 0x38800000u) /* adding 2^-1 aligns the wanted bits to the end of the mantissa */
        return (uint16_t)(sign | (bits_of_float(float_of_bits(rest) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13);
}

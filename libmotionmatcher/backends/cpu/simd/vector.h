/* SPDX-License-Identifier: BSD-2-Clause */
/* Vectors as wide as the level's registers, and elementary functions on them. */
#ifndef MM_BACKENDS_CPU_SIMD_VECTOR_H
#define MM_BACKENDS_CPU_SIMD_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define MM_LANES 16
#elif defined(__AVX2__)
#define MM_LANES 8
#else
#define MM_LANES 4
#endif
/* Whether products take pairs of bf16 numbers in the place of one float each. */
#if defined(__AVX512BF16__)
#define MM_HAS_PAIRS 1
#else
#define MM_HAS_PAIRS 0
#endif
#define MM_VECTOR_BYTES (4 * MM_LANES)
#define MM_INLINE static inline __attribute__((always_inline))

typedef float mm_vec __attribute__((vector_size(MM_VECTOR_BYTES)));
typedef int32_t mm_ivec __attribute__((vector_size(MM_VECTOR_BYTES)));
typedef float mm_vec_in_memory __attribute__((vector_size(MM_VECTOR_BYTES), aligned(4), may_alias));

MM_INLINE mm_vec mm_load(const float *from)
{
    return *(const mm_vec_in_memory *)from;
}

MM_INLINE void mm_store(float *to, mm_vec value)
{
    *(mm_vec_in_memory *)to = value;
}

/* The first `count` lanes; the others are zero. */
MM_INLINE mm_vec mm_load_part(const float *from, int64_t count)
{
    mm_vec value = {0};
    memcpy(&value, from, (size_t)count * sizeof(float));
    return value;
}

MM_INLINE void mm_store_part(float *to, mm_vec value, int64_t count)
{
    memcpy(to, &value, (size_t)count * sizeof(float));
}

MM_INLINE mm_vec mm_splat(float value)
{
    return value - (mm_vec){0};
}

MM_INLINE mm_vec mm_select(mm_ivec mask, mm_vec yes, mm_vec no)
{
    return (mm_vec)((mask & (mm_ivec)yes) | (~mask & (mm_ivec)no));
}

MM_INLINE mm_vec mm_max(mm_vec a, mm_vec b)
{
    return mm_select(a > b, a, b);
}

MM_INLINE mm_vec mm_abs(mm_vec x)
{
    return (mm_vec)((mm_ivec)x & 0x7fffffff);
}

/* Sum of the lanes, in double, always in the same order. */
MM_INLINE double mm_sum_lanes(mm_vec x)
{
    double sum = 0.0;
    for (int i = 0; i < MM_LANES; i++)
        sum += (double)x[i];
    return sum;
}

/* e^x = 2^n e^r with |r| <= ln 2 / 2; returns e^r and sets n (a whole number, also as *integer). */
MM_INLINE mm_vec mm_exp_reduced(mm_vec x, mm_ivec *integer)
{
    const float shifter = 0x1.8p23f; /* adding it leaves the nearest whole number in the low bits */
    mm_vec shifted = x * 1.44269504f + shifter;
    mm_vec n = shifted - shifter;
    *integer = (mm_ivec)shifted - 0x4b400000;
    mm_vec r = x - n * 0.693359375f; /* ln 2 in two parts; the first product is exact */
    r = r + n * 2.12194440e-4f;
    mm_vec p = r * 0.00138145383f + 0.00836874545f;
    p = p * r + 0.041668389f;
    p = p * r + 0.166665211f;
    p = p * r + 0.49999994f;
    return (p * r) * r + r + 1.0f;
}

/* e^x for every x: overflows to infinity, underflows through the subnormals to 0, keeps NaN. */
MM_INLINE mm_vec mm_exp(mm_vec x)
{
    x = mm_select(x < -104.0f, mm_splat(-104.0f), x);
    x = mm_select(x > 89.0f, mm_splat(89.0f), x);
    mm_ivec n;
    mm_vec p = mm_exp_reduced(x, &n);
    mm_ivec half = n >> 1;
    return p * (mm_vec)((half + 127) << 23) * (mm_vec)((n - half + 127) << 23);
}

/* e^x for x <= 0, with 0 in place of subnormals, which slow down the products that follow. */
MM_INLINE mm_vec mm_exp_nonpositive(mm_vec x)
{
    mm_ivec n;
    mm_vec p = mm_exp_reduced(x, &n);
    mm_vec value = p * (mm_vec)((n + 127) << 23);
    return mm_select(x < -87.0f, mm_splat(0.0f), value);
}

/* 1 / (1 + e^-x), and s (1 - s), its slope, without the cancellation. */
MM_INLINE mm_vec mm_sigmoid(mm_vec x, mm_vec *slope)
{
    x = mm_select(x < -87.0f, mm_splat(-87.0f), x);
    mm_vec e = mm_exp(-x), s = 1.0f / (1.0f + e);
    *slope = (e * s) * s;
    return s;
}

/* The standard normal distribution Phi(x), with a small relative error in the lower tail too, and
   its density. For z = |x|: 1 - Phi(z) = e^(-z^2/2) t P(t) with t = 1 / (1 + 0.3 z). */
MM_INLINE mm_vec mm_normal(mm_vec x, mm_vec *density)
{
    mm_vec bell = mm_exp(x * x * -0.5f);
    mm_vec t = 1.0f / (1.0f + 0.3f * mm_abs(x));
    mm_vec p = t * -0.0206235517f + 0.112436064f;
    p = p * t - 0.228214651f;
    p = p * t + 0.191785932f;
    p = p * t - 0.0794246346f;
    p = p * t + 0.0961574391f;
    p = p * t + 0.0783894435f;
    p = p * t + 0.110235468f;
    p = p * t + 0.119571812f;
    p = p * t + 0.119686693f;
    mm_vec tail = bell * (p * t);
    *density = bell * 0.398942280f;
    return mm_select(x < 0.0f, tail, 1.0f - tail);
}

#endif

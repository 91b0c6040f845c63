/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/vector.h"

#define CHUNK 8192 /* elements of a task */

MM_SIMD_KERNEL(add)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    float *y = call->destination;
    const float *a = call->source[0], *b = call->source[1];
#pragma omp parallel for simd schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < count; i++)
        y[i] = a[i] + b[i];
}

MM_SIMD_KERNEL(scale)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    float factor = call->node->attr.scale.factor, *y = call->destination;
    const float *x = call->source[0];
#pragma omp parallel for simd schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < count; i++)
        y[i] = factor * x[i];
}

MM_SIMD_KERNEL(combine)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    const float *coefficient = call->source[0], *a = call->source[1], *b = call->source[2];
    float first = coefficient[call->node->attr.combine.first], *y = call->destination;
    if (!b) {
#pragma omp parallel for simd schedule(static) if (count > CHUNK)
        for (int64_t i = 0; i < count; i++)
            y[i] = first * a[i];
        return;
    }
    float second = coefficient[call->node->attr.combine.second];
#pragma omp parallel for simd schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < count; i++)
        y[i] = first * a[i] + second * b[i];
}

MM_SIMD_KERNEL(clamp)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    float low = call->node->attr.clamp.low, high = call->node->attr.clamp.high;
    float *y = call->destination;
    const float *x = call->source[0];
#pragma omp parallel for simd schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < count; i++) {
        float value = x[i] < low ? low : x[i];
        y[i] = value > high ? high : value;
    }
}

MM_SIMD_KERNEL(clamp_grad)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    float low = call->node->attr.clamp.low, high = call->node->attr.clamp.high;
    float *dx = call->destination;
    const float *x = call->source[0], *dy = call->source[1];
#pragma omp parallel for simd schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < count; i++)
        dx[i] = x[i] >= low && x[i] <= high ? dy[i] : 0.0f;
}

MM_SIMD_KERNEL(add_rows)
{
    int64_t channels = mm_last_dim(call->node), count = mm_shape_elements(&call->node->shape);
    if (count == 0)
        return;
    int64_t rows = count / channels;
    int64_t run = rows / (mm_shape_elements(&call->node->source[1]->shape) / channels);
    float *y = call->destination;
    const float *x = call->source[0], *added = call->source[1];
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t row = 0; row < rows; row++) {
        const float *from = x + row * channels, *with = added + row / run * channels;
        float *to = y + row * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            to[c] = from[c] + with[c];
    }
}

#define PHILOX_BLOCKS 64 /* of four numbers each */

/* base/rng.h's generator on many blocks at once: the same bits. */
static void uniforms(const int32_t key[3], uint32_t stream, uint64_t first_block,
                     float out[4 * PHILOX_BLOCKS])
{
#pragma omp simd
    for (int lane = 0; lane < PHILOX_BLOCKS; lane++) {
        uint64_t block = first_block + (uint64_t)lane;
        uint32_t key0 = (uint32_t)key[0], key1 = (uint32_t)key[1];
        uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
        uint32_t c2 = (uint32_t)key[2], c3 = stream;
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
            c0 = (uint32_t)(b >> 32) ^ c1 ^ key0;
            c2 = (uint32_t)(a >> 32) ^ c3 ^ key1;
            c1 = (uint32_t)b;
            c3 = (uint32_t)a;
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        out[4 * lane] = (float)(int32_t)(c0 >> 8) * 0x1p-24f;
        out[4 * lane + 1] = (float)(int32_t)(c1 >> 8) * 0x1p-24f;
        out[4 * lane + 2] = (float)(int32_t)(c2 >> 8) * 0x1p-24f;
        out[4 * lane + 3] = (float)(int32_t)(c3 >> 8) * 0x1p-24f;
    }
}

MM_SIMD_KERNEL(dropout)
{
    const int64_t run = 4 * PHILOX_BLOCKS;
    int64_t count = mm_shape_elements(&call->node->shape);
    float probability = call->node->attr.dropout.probability, keep = 1.0f - probability;
    uint32_t stream = call->node->attr.dropout.stream;
    float *y = call->destination;
    const float *x = call->source[0];
    const int32_t *key = call->source[1];
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += run) {
        float uniform[4 * PHILOX_BLOCKS];
        uniforms(key, stream, (uint64_t)first / 4, uniform);
        int64_t n = mm_smaller(run, count - first);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[first + i] = uniform[i] < probability ? 0.0f : x[first + i] / keep;
    }
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

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

/* Products of the lanes' low halves; what the high halves hold does not matter. */
typedef uint64_t wide __attribute__((vector_size(MM_VECTOR_BYTES)));
#if MM_LANES == 16
#define MULTIPLY_LOW(a, b) ((wide)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif MM_LANES == 8
#define MULTIPLY_LOW(a, b) ((wide)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define MULTIPLY_LOW(a, b) ((wide)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif
#define WIDE_LANES (MM_LANES / 2)

/* base/rng.h's generator, a block to a lane: the same bits, 4 WIDE_LANES words in order. */
MM_INLINE void philox(const int32_t key[3], uint32_t stream, uint64_t first_block, wide words[2])
{
    uint32_t key0 = (uint32_t)key[0], key1 = (uint32_t)key[1];
    wide zero = {0}, block = zero + first_block;
    for (int lane = 0; lane < WIDE_LANES; lane++)
        block[lane] += (uint64_t)lane;
    wide c0 = block, c1 = block >> 32, c2 = zero + (uint32_t)key[2], c3 = zero + stream;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        wide a = MULTIPLY_LOW(c0, zero + 0xD2511F53u), b = MULTIPLY_LOW(c2, zero + 0xCD9E8D57u);
        c0 = (b >> 32) ^ c1 ^ (uint64_t)key0;
        c2 = (a >> 32) ^ c3 ^ (uint64_t)key1;
        c1 = b;
        c3 = a;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    wide first = (c0 & 0xffffffffu) | c1 << 32, second = (c2 & 0xffffffffu) | c3 << 32;
    words[0] = ZIP_LOW(first, second);
    words[1] = ZIP_HIGH(first, second);
}

typedef struct dropout_job {
    const int32_t *key;
    uint32_t stream;
    float probability;
} dropout_job;

MM_INLINE mm_vec drop(mm_vec x, wide words, float probability)
{
    typedef uint32_t unsigned_lanes __attribute__((vector_size(MM_VECTOR_BYTES)));
    mm_ivec bits = (mm_ivec)((unsigned_lanes)words >> 8);
    mm_vec uniform = __builtin_convertvector(bits, mm_vec) * 0x1p-24f;
    return mm_select(uniform < probability, mm_splat(0.0f), x / (1.0f - probability));
}

/* Elements first .. first + count of the whole; `first` begins a block. */
static void drop_run(const dropout_job *job, float *y, const float *x, int64_t first, int64_t count)
{
    wide words[2];
    int64_t i = 0;
    for (; i + 2 * MM_LANES <= count; i += 2 * MM_LANES) {
        philox(job->key, job->stream, (uint64_t)(first + i) / 4, words);
        mm_store(y + i, drop(mm_load(x + i), words[0], job->probability));
        mm_store(y + i + MM_LANES, drop(mm_load(x + i + MM_LANES), words[1], job->probability));
    }
    philox(job->key, job->stream, (uint64_t)(first + i) / 4, words);
    for (int part = 0; part < 2 && i < count; part++, i += MM_LANES) {
        int64_t rest = mm_smaller(MM_LANES, count - i);
        mm_store_part(y + i, drop(mm_load_part(x + i, rest), words[part], job->probability), rest);
    }
}

MM_SIMD_KERNEL(dropout)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    dropout_job job = {call->source[1], call->node->attr.dropout.stream,
                       call->node->attr.dropout.probability};
    float *y = call->destination;
    const float *x = call->source[0];
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += CHUNK)
        drop_run(&job, y + first, x + first, first, mm_smaller(CHUNK, count - first));
}

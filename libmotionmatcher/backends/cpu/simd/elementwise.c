/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>

#include "backends/cpu/simd/elements.h"

#define CHUNK 8192 /* elements of a task */

/* a + sign b; the sign is a constant wherever this is inlined. */
MM_INLINE void add_pair(const mm_kernel_call *call, float sign)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    mm_elements a = mm_source(call, 0), b = mm_source(call, 1), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += MM_PIECE) {
        float scratch[3][MM_PIECE];
        int64_t n = mm_smaller(MM_PIECE, count - first);
        const float *left = mm_read(a, first, n, scratch[0]);
        const float *right = mm_read(b, first, n, scratch[1]);
        float *to = mm_place(y, first, scratch[2]);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            to[i] = left[i] + sign * right[i];
        mm_write(y, first, n, to);
    }
}

MM_SIMD_KERNEL(add)
{
    add_pair(call, 1.0f);
}

MM_SIMD_KERNEL(difference)
{
    add_pair(call, -1.0f);
}

MM_SIMD_KERNEL(scale)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    float factor = call->node->attr.scale.factor;
    mm_elements x = mm_source(call, 0), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += MM_PIECE) {
        float scratch[2][MM_PIECE];
        int64_t n = mm_smaller(MM_PIECE, count - first);
        const float *from = mm_read(x, first, n, scratch[0]);
        float *to = mm_place(y, first, scratch[1]);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            to[i] = factor * from[i];
        mm_write(y, first, n, to);
    }
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
    int64_t pieces = mm_ceil_div(channels, MM_PIECE);
    mm_elements x = mm_source(call, 0), added = mm_source(call, 1), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t i = 0; i < rows * pieces; i++) {
        float scratch[3][MM_PIECE];
        int64_t row = i / pieces, first = i % pieces * MM_PIECE;
        int64_t n = mm_smaller(MM_PIECE, channels - first);
        const float *from = mm_read(x, row * channels + first, n, scratch[0]);
        const float *with = mm_read(added, row / run * channels + first, n, scratch[1]);
        float *to = mm_place(y, row * channels + first, scratch[2]);
#pragma omp simd
        for (int64_t c = 0; c < n; c++)
            to[c] = from[c] + with[c];
        mm_write(y, row * channels + first, n, to);
    }
}

/* Products of the lanes' low halves; what the high halves hold does not matter. */
typedef uint64_t wide __attribute__((vector_size(MM_VECTOR_BYTES)));
#if MM_LANES == 16
#define MULTIPLY_LOW(a, b) ((wide)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LANE_NUMBERS           \
    {                          \
        0, 1, 2, 3, 4, 5, 6, 7 \
    }
#elif MM_LANES == 8
#define MULTIPLY_LOW(a, b) ((wide)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LANE_NUMBERS \
    {                \
        0, 1, 2, 3   \
    }
#else
#define MULTIPLY_LOW(a, b) ((wide)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#define LANE_NUMBERS \
    {                \
        0, 1         \
    }
#endif
#define WIDE_LANES (MM_LANES / 2)
#define RUN (2 * PARTS * MM_LANES) /* numbers drawn at a time */

#define PARTS 2 /* independent chains of rounds */

typedef struct philox_words {
    wide of[2 * PARTS];
} philox_words;

typedef struct philox_key {
    uint64_t round[10][2];
    uint32_t stream, step;
} philox_key;

static philox_key philox_key_of(const int32_t seed_and_step[3], uint32_t stream)
{
    uint32_t key0 = (uint32_t)seed_and_step[0], key1 = (uint32_t)seed_and_step[1];
    philox_key key = {.stream = stream, .step = (uint32_t)seed_and_step[2]};
    for (int i = 0; i < 10; i++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
        key.round[i][0] = key0;
        key.round[i][1] = key1;
    }
    return key;
}

/* base/rng.h's generator, a block to a lane: the same bits, 4 PARTS WIDE_LANES words in order. */
MM_INLINE philox_words philox(const philox_key *key, uint64_t first_block)
{
    static const wide lane_numbers = LANE_NUMBERS;
    wide zero = {0}, c0[PARTS], c1[PARTS], c2[PARTS], c3[PARTS];
    for (int i = 0; i < PARTS; i++) {
        c0[i] = lane_numbers + (first_block + (uint64_t)(i * WIDE_LANES));
        c1[i] = c0[i] >> 32;
        c2[i] = zero + key->step;
        c3[i] = zero + key->stream;
    }
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
#pragma GCC unroll 2
        for (int i = 0; i < PARTS; i++) {
            wide a = MULTIPLY_LOW(c0[i], zero + 0xD2511F53u);
            wide b = MULTIPLY_LOW(c2[i], zero + 0xCD9E8D57u);
            c0[i] = (b >> 32) ^ c1[i] ^ key->round[round][0];
            c2[i] = (a >> 32) ^ c3[i] ^ key->round[round][1];
            c1[i] = b;
            c3[i] = a;
        }
    }
    philox_words words;
    for (int i = 0; i < PARTS; i++) {
        wide first = (c0[i] & 0xffffffffu) | c1[i] << 32;
        wide second = (c2[i] & 0xffffffffu) | c3[i] << 32;
        words.of[2 * i] = ZIP_LOW(first, second);
        words.of[2 * i + 1] = ZIP_HIGH(first, second);
    }
    return words;
}

typedef struct dropout_job {
    philox_key key;
    float probability, kept;
} dropout_job;

MM_INLINE mm_vec drop(const dropout_job *job, mm_vec x, wide words)
{
    typedef uint32_t unsigned_lanes __attribute__((vector_size(MM_VECTOR_BYTES)));
    mm_ivec bits = (mm_ivec)((unsigned_lanes)words >> 8);
    mm_vec uniform = __builtin_convertvector(bits, mm_vec) * 0x1p-24f;
    return mm_select(uniform < job->probability, mm_splat(0.0f), x / job->kept);
}

/* Elements first .. first + count of the whole; `first` begins a block. */
static void drop_run(const dropout_job *job, float *y, const float *x, int64_t first, int64_t count)
{
    int64_t i = 0;
    for (; i + RUN <= count; i += RUN) {
        philox_words words = philox(&job->key, (uint64_t)(first + i) / 4);
#pragma GCC unroll 4
        for (int part = 0; part < 2 * PARTS; part++) {
            int64_t at = i + part * MM_LANES;
            mm_store(y + at, drop(job, mm_load(x + at), words.of[part]));
        }
    }
    if (i == count)
        return;
    philox_words words = philox(&job->key, (uint64_t)(first + i) / 4);
    for (int part = 0; i < count; part++, i += MM_LANES) {
        int64_t rest = mm_smaller(MM_LANES, count - i);
        mm_vec kept = drop(job, mm_load_part(x + i, rest), words.of[part]);
        mm_store_part(y + i, kept, rest);
    }
}

MM_SIMD_KERNEL(dropout)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    float probability = call->node->attr.dropout.probability;
    dropout_job job = {philox_key_of(call->source[1], call->node->attr.dropout.stream), probability,
                       1.0f - probability};
    mm_elements x = mm_source(call, 0), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += MM_PIECE) {
        float scratch[MM_PIECE];
        int64_t n = mm_smaller(MM_PIECE, count - first);
        const float *from = mm_read(x, first, n, scratch);
        float *to = mm_place(y, first, scratch);
        drop_run(&job, to, from, first, n);
        mm_write(y, first, n, to);
    }
}

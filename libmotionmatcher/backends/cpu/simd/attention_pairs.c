/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/attention_pairs.h"

#if MM_HAS_PAIRS
#include <math.h>

#include "backends/cpu/simd/product.h"

/* Rows of one sequence and head inside a larger matrix. */
typedef struct narrow_rows {
    const mm_half *data;
    int64_t stride, count, width;
} narrow_rows;

static narrow_rows rows_at(const mm_attention_layout *l, mm_elements from, int64_t at, int64_t row,
                           int64_t count)
{
    return (narrow_rows){(const mm_half *)from.data + at, l->inner * row, count, l->width};
}

/* to[count, half], zero beyond the width */
static void copy_rows(narrow_rows from, mm_word *to, int64_t half)
{
    size_t bytes = (size_t)from.width * sizeof(mm_half), whole = (size_t)half * sizeof(mm_word);
    for (int64_t i = 0; i < from.count; i++, from.data += from.stride, to += half) {
        memcpy(to, from.data, bytes);
        memset((char *)to + bytes, 0, whole - bytes);
    }
}

MM_INLINE mm_words load_halves(const mm_half *from)
{
    return (mm_words)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

/* to[count / 2, padded]: (from[2k, d], from[2k + 1, d]); nothing is kept for a row beyond the last.
 */
static void pair_rows(narrow_rows from, mm_word *to, int64_t padded)
{
    for (int64_t i = 0; i < from.count; i += 2, to += padded) {
        const mm_half *low = from.data + i * from.stride, *high = low + from.stride;
        bool both = i + 1 < from.count;
        int64_t d = 0;
        for (; d + MM_LANES <= from.width; d += MM_LANES) {
            mm_words pair = load_halves(low + d);
            if (both)
                pair |= load_halves(high + d) << 16;
            memcpy(to + d, &pair, sizeof(pair));
        }
        for (; d < from.width; d++)
            to[d] = low[d] | (both ? (mm_word)high[d] << 16 : 0);
        for (; d < padded; d++)
            to[d] = 0;
    }
}

typedef mm_word quad __attribute__((vector_size(16)));

/* 4 x 4 words: to[j, i] = from[i, j] */
MM_INLINE void transpose_block(const mm_word *from, int64_t from_row, mm_word *to, int64_t to_row)
{
    quad a, b, c, d;
    memcpy(&a, from, sizeof(a));
    memcpy(&b, from + from_row, sizeof(b));
    memcpy(&c, from + 2 * from_row, sizeof(c));
    memcpy(&d, from + 3 * from_row, sizeof(d));
    quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    memcpy(to, &a, sizeof(a));
    memcpy(to + to_row, &b, sizeof(b));
    memcpy(to + 2 * to_row, &c, sizeof(c));
    memcpy(to + 3 * to_row, &d, sizeof(d));
}

static mm_word *words(const mm_attention_tile *tile, size_t offset)
{
    return (mm_word *)(tile->scratch + offset);
}

void mm_pairs_load(const mm_attention_tile *tile, mm_elements from, int64_t row, float *transposed,
                   float *pairs)
{
    const mm_attention_layout *l = &tile->job->layout;
    int64_t at = mm_attention_row(l, l->queries, tile->sequence, tile->first) * row;
    mm_word *rows = words(tile, l->widened);
    copy_rows(rows_at(l, from, at + tile->head * l->width, row, tile->count), rows, l->half);
    memset(rows + tile->count * l->half, 0,
           (size_t)((l->lanes - tile->count) * l->half) * sizeof(*rows));
    for (int64_t i = 0; i < l->lanes; i += 4)
        for (int64_t j = 0; j < l->half; j += 4)
            transpose_block(rows + i * l->half + j, l->half,
                            (mm_word *)transposed + j * l->lanes + i, l->lanes);
    if (pairs)
        pair_rows((narrow_rows){(const mm_half *)rows, 2 * l->half, l->lanes, l->width},
                  (mm_word *)pairs, l->padded);
}

static void load_keys(const mm_attention_tile *tile)
{
    const mm_attention *job = tile->job;
    const mm_attention_layout *l = &job->layout;
    int64_t at = mm_attention_row(l, l->keys, tile->sequence, 0) * l->key_row;
    at += tile->head * l->width;
    narrow_rows key = rows_at(l, job->key, at + l->key_column, l->key_row, l->keys);
    narrow_rows value = rows_at(l, job->key, at + l->value_column, l->key_row, l->keys);
    copy_rows(key, words(tile, l->key), l->half);
    if (l->key_pairs)
        pair_rows(key, words(tile, l->key_pairs), l->padded);
    if (l->value)
        copy_rows(value, words(tile, l->value), l->half);
    if (l->value_pairs)
        pair_rows(value, words(tile, l->value_pairs), l->padded);
}

void mm_pairs_seek(mm_attention_tile *tile, int64_t sequence, int64_t head, int64_t first)
{
    const mm_attention_layout *l = &tile->job->layout;
    int64_t wanted = sequence * l->heads + head;
    tile->sequence = sequence;
    tile->head = head;
    tile->first = first;
    tile->count = mm_smaller(l->lanes, l->queries - first);
    tile->keys = tile->job->causal ? mm_smaller(l->keys, first + tile->count) : l->keys;
    if (tile->held != wanted)
        load_keys(tile);
    tile->held = wanted;
}

static void multiply_keys(const mm_attention_tile *tile, mm_key_block block)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = block.count,
        .n = l->lanes,
        .depth = l->half,
        .a = tile->scratch + l->key + block.first * l->half,
        .a_row = l->half,
        .a_column = 1,
        .b = tile->scratch + l->query_transposed,
        .b_row = l->lanes,
        .c = tile->scratch + l->score,
        .c_row = l->lanes,
        .pairs = true,
    });
}

/* Pairs of e^(scale (score - maximum)); returns their sum. */
static mm_vec pack_exponentials(const float *column, int64_t rows, int64_t stride, mm_vec maximum,
                                float scale, mm_word *packed)
{
    mm_vec even = {0}, odd = {0};
    for (int64_t k = 0; k < rows; k += 2, column += 2 * stride, packed += stride) {
        mm_vec low = mm_exp_nonpositive((mm_load(column) - maximum) * scale), high = {0};
        if (k + 1 < rows)
            high = mm_exp_nonpositive((mm_load(column + stride) - maximum) * scale);
        mm_words pair = mm_round_words(low) | mm_round_words(high) << 16;
        memcpy(packed, &pair, sizeof(pair));
        even += low;
        odd += high;
    }
    return even + odd;
}

/* The scores become weights relative to the largest score so far; what was summed up under an
   earlier maximum is to be multiplied by `correction`. */
static void weigh(const mm_attention_tile *tile, mm_key_block block)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *scratch = tile->scratch, scale = tile->job->scale;
    for (int64_t lane = 0; lane < l->lanes; lane += MM_LANES) {
        const float *column = scratch + l->score + lane;
        mm_vec before = block.first ? mm_load(scratch + l->maximum + lane) : mm_splat(-INFINITY);
        mm_vec maximum = mm_column_maximum(column, block.count, l->lanes, before);
        mm_vec sum = pack_exponentials(column, block.count, l->lanes, maximum, scale,
                                       words(tile, l->packed) + lane);
        if (block.first) {
            mm_vec correction = mm_exp_nonpositive((before - maximum) * scale);
            mm_store(scratch + l->correction + lane, correction);
            sum += mm_load(scratch + l->sum + lane) * correction;
        }
        mm_store(scratch + l->maximum + lane, maximum);
        mm_store(scratch + l->sum + lane, sum);
    }
}

static void correct_output(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *output = tile->scratch + l->output;
    const float *correction = tile->scratch + l->correction;
    for (int64_t q = 0; q < tile->count; q++, output += l->padded) {
        if (correction[q] == 1.0f)
            continue;
#pragma omp simd
        for (int64_t d = 0; d < l->padded; d++)
            output[d] *= correction[q];
    }
}

void mm_pairs_accumulate(const mm_attention_tile *tile, mm_key_block block, size_t rows)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = tile->count,
        .n = l->padded,
        .depth = (block.count + 1) / 2,
        .a = tile->scratch + l->packed,
        .a_row = 1,
        .a_column = l->lanes,
        .b = tile->scratch + rows + block.first / 2 * l->padded,
        .b_row = l->padded,
        .c = tile->scratch + l->output,
        .c_row = l->padded,
        .accumulate = block.first > 0,
        .pairs = true,
    });
}

static void attend_tile(const mm_attention_tile *tile)
{
    const mm_attention *job = tile->job;
    mm_key_block block = {0, 0};
    mm_pairs_load(tile, job->query, job->layout.query_row,
                  tile->scratch + job->layout.query_transposed, NULL);
    for (; block.first < tile->keys; block.first += block.count) {
        block.count = mm_smaller(MM_PAIRS_BLOCK, tile->keys - block.first);
        multiply_keys(tile, block);
        if (job->causal)
            mm_pairs_hide(tile, block, tile->scratch + job->layout.score);
        weigh(tile, block);
        if (block.first)
            correct_output(tile);
        mm_pairs_accumulate(tile, block, job->layout.value_pairs);
    }
}

void mm_attention_pairs(const mm_kernel_call *call)
{
    mm_attention job = mm_attention_job(call);
    const mm_attention_layout *l = &job.layout;
    int64_t tiles = mm_attention_tiles(l), tasks = l->sequences * l->heads * tiles;
#pragma omp parallel
    {
        mm_attention_tile tile = mm_attention_begin(&job);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            if (mm_cpu_cancelled(call))
                continue;
            int64_t group = i / tiles;
            mm_pairs_seek(&tile, group / l->heads, group % l->heads, i % tiles * l->lanes);
            attend_tile(&tile);
            mm_attention_write(&tile, mm_destination(call));
        }
    }
}
#endif

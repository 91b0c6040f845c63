/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/attention_tile.h"

#include <math.h>

#include "backends/cpu/simd/product.h"

#define UNROLL 4 /* independent chains of maxima and sums */

mm_attention mm_attention_job(const mm_kernel_call *call)
{
    const mm_node *node = call->node;
    mm_attention job = {.layout = mm_attention_plan(node, MM_HAS_PAIRS),
                        .workspace = call->workspace};
    bool cross = node->op == MM_OP_cross_attention || node->op == MM_OP_cross_attention_grad ||
                 node->op == MM_OP_cross_attention_map ||
                 node->op == MM_OP_cross_attention_map_grad;
    job.query = mm_source(call, 0);
    job.key = mm_source(call, cross ? 1 : 0);
    job.causal = !cross && node->attr.attention.causal;
    job.scale = (float)(1.0 / sqrt((double)job.layout.width));
    return job;
}

mm_attention_tile mm_attention_begin(const mm_attention *job)
{
    size_t offset = (size_t)mm_thread_number() * job->layout.thread_floats;
    return (mm_attention_tile){.job = job, .scratch = job->workspace + offset, .held = -1};
}

typedef float quad __attribute__((vector_size(16)));
typedef float quad_in_memory __attribute__((vector_size(16), aligned(4), may_alias));

/* 4 x 4 numbers: to[j, i] = factor from[i, j] */
MM_INLINE void transpose_block(const float *from, int64_t from_row, float factor, float *to,
                               int64_t to_row)
{
    quad a = *(const quad_in_memory *)from * factor;
    quad b = *(const quad_in_memory *)(from + from_row) * factor;
    quad c = *(const quad_in_memory *)(from + 2 * from_row) * factor;
    quad d = *(const quad_in_memory *)(from + 3 * from_row) * factor;
    quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(quad_in_memory *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(quad_in_memory *)(to + to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(quad_in_memory *)(to + 2 * to_row) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    *(quad_in_memory *)(to + 3 * to_row) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

static void transpose(mm_rows from, int64_t rows, int64_t columns, float factor, float *to,
                      int64_t to_row)
{
    int64_t whole_rows = rows & ~3, whole_columns = columns & ~3;
    for (int64_t i = 0; i < whole_rows; i += 4)
        for (int64_t j = 0; j < whole_columns; j += 4)
            transpose_block(from.data + i * from.stride + j, from.stride, factor,
                            to + j * to_row + i, to_row);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; j++)
            to[j * to_row + i] = from.data[i * from.stride + j] * factor;
}

static void copy_scaled(mm_rows from, int64_t rows, int64_t columns, float factor, float *to,
                        int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *row = from.data + i * from.stride;
        float *out = to + i * to_row;
#pragma omp simd
        for (int64_t j = 0; j < columns; j++)
            out[j] = row[j] * factor;
        for (int64_t j = columns; j < to_row; j++)
            out[j] = 0.0f;
    }
}

static void widen_rows(const uint16_t *from, int64_t stride, int64_t rows, int64_t columns,
                       float *to, int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++, from += stride, to += to_row) {
        mm_widen(to, from, columns);
        for (int64_t j = columns; j < to_row; j++)
            to[j] = 0.0f;
    }
}

/* Copies a sequence's keys or values from `offset` of the matrix close together. */
static void gather(const mm_attention *job, int64_t offset, float *to)
{
    const mm_attention_layout *l = &job->layout;
    int64_t stride = l->inner * l->key_row;
    if (job->key.narrow)
        widen_rows((const uint16_t *)job->key.data + offset, stride, l->keys, l->width, to,
                   l->padded);
    else
        copy_scaled((mm_rows){(const float *)job->key.data + offset, stride}, l->keys, l->width,
                    1.0f, to, l->padded);
}

/* Keys and values of a sequence and head, as they lie or copied close together. */
static void find_keys(mm_attention_tile *tile)
{
    const mm_attention *job = tile->job;
    const mm_attention_layout *l = &job->layout;
    int64_t row = mm_attention_row(l, l->keys, tile->sequence, 0);
    int64_t offset = row * l->key_row + tile->head * l->width, stride = l->inner * l->key_row;
    int64_t key = offset + l->key_column, value = offset + l->value_column;
    if (!l->gather) {
        tile->key = (mm_rows){(const float *)job->key.data + key, stride};
        tile->value = (mm_rows){(const float *)job->key.data + value, stride};
        return;
    }
    tile->key = (mm_rows){tile->scratch + l->key, l->padded};
    tile->value = (mm_rows){tile->scratch + l->value, l->padded};
    gather(job, key, tile->scratch + l->key);
    if (l->value)
        gather(job, value, tile->scratch + l->value);
}

void mm_attention_seek(mm_attention_tile *tile, int64_t sequence, int64_t head, int64_t first)
{
    const mm_attention_layout *l = &tile->job->layout;
    tile->sequence = sequence;
    tile->head = head;
    tile->first = first;
    tile->count = mm_smaller(l->lanes, l->queries - first);
    tile->keys = tile->job->causal ? mm_smaller(l->keys, first + tile->count) : l->keys;
    int64_t wanted = sequence * l->heads + head;
    if (tile->held != wanted)
        find_keys(tile);
    tile->held = wanted;
}

/* The tile's rows of a matrix like the queries'. */
static mm_rows rows_of(const mm_attention_tile *tile, mm_elements from, int64_t row)
{
    const mm_attention_layout *l = &tile->job->layout;
    int64_t first = mm_attention_row(l, l->queries, tile->sequence, tile->first);
    int64_t offset = first * row + tile->head * l->width, stride = l->inner * row;
    if (!from.narrow)
        return (mm_rows){(const float *)from.data + offset, stride};
    float *widened = tile->scratch + l->widened;
    widen_rows((const uint16_t *)from.data + offset, stride, tile->count, l->width, widened,
               l->padded);
    return (mm_rows){widened, l->padded};
}

void mm_attention_load(const mm_attention_tile *tile, mm_elements from, int64_t row, float factor,
                       float *transposed, float *straight)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_rows rows = rows_of(tile, from, row);
    transpose(rows, tile->count, l->width, factor, transposed, l->lanes);
    if (tile->count < l->lanes)
        for (int64_t d = 0; d < l->width; d++)
            for (int64_t q = tile->count; q < l->lanes; q++)
                transposed[d * l->lanes + q] = 0.0f;
    if (straight)
        copy_scaled(rows, tile->count, l->width, factor, straight, l->padded);
}

/* A query sees no key after itself. */
static void hide_later_keys(const mm_attention_tile *tile, float *score)
{
    int64_t lanes = tile->job->layout.lanes;
    for (int64_t k = tile->first + 1; k < tile->keys; k++)
        for (int64_t q = 0; q < mm_smaller(k - tile->first, lanes); q++)
            score[k * lanes + q] = -INFINITY;
}

static mm_vec column_maximum(const float *column, int64_t rows, int64_t stride)
{
    mm_vec maximum[UNROLL];
    int64_t k = 0;
    for (int i = 0; i < UNROLL; i++)
        maximum[i] = mm_load(column);
    for (; k + UNROLL <= rows; k += UNROLL, column += UNROLL * stride)
#pragma GCC unroll 4
        for (int i = 0; i < UNROLL; i++)
            maximum[i] = mm_max(mm_load(column + i * stride), maximum[i]);
    for (; k < rows; k++, column += stride)
        maximum[0] = mm_max(mm_load(column), maximum[0]);
    return mm_max(mm_max(maximum[0], maximum[1]), mm_max(maximum[2], maximum[3]));
}

/* The column becomes e^(s - maximum); returns the sum. */
static mm_vec column_exponentials(float *column, int64_t rows, int64_t stride, mm_vec maximum)
{
    mm_vec sum[UNROLL] = {{0}};
    int64_t k = 0;
    for (; k + UNROLL <= rows; k += UNROLL, column += UNROLL * stride) {
#pragma GCC unroll 4
        for (int i = 0; i < UNROLL; i++) {
            mm_vec value = mm_exp_nonpositive(mm_load(column + i * stride) - maximum);
            mm_store(column + i * stride, value);
            sum[i] += value;
        }
    }
    for (; k < rows; k++, column += stride) {
        mm_vec value = mm_exp_nonpositive(mm_load(column) - maximum);
        mm_store(column, value);
        sum[0] += value;
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void mm_attention_score(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *score = tile->scratch + l->score, *sum = tile->scratch + l->sum;
    mm_multiply(&(mm_small_product){
        .m = tile->keys,
        .n = l->lanes,
        .depth = l->width,
        .a = tile->key.data,
        .a_row = tile->key.stride,
        .a_column = 1,
        .b = tile->scratch + l->query_transposed,
        .b_row = l->lanes,
        .c = score,
        .c_row = l->lanes,
    });
    if (tile->job->causal)
        hide_later_keys(tile, score);
    for (int64_t lane = 0; lane < l->lanes; lane += MM_LANES) {
        mm_vec maximum = column_maximum(score + lane, tile->keys, l->lanes);
        mm_store(sum + lane, column_exponentials(score + lane, tile->keys, l->lanes, maximum));
    }
}

void mm_attention_normalise(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *sum = tile->scratch + l->sum;
    for (int64_t lane = 0; lane < l->lanes; lane += MM_LANES) {
        mm_vec reciprocal = 1.0f / mm_load(sum + lane);
        mm_store(sum + lane, reciprocal);
        float *column = tile->scratch + l->score + lane;
        for (int64_t k = 0; k < tile->keys; k++, column += l->lanes)
            mm_store(column, mm_load(column) * reciprocal);
    }
}

static mm_vec column_product(const float *a, const float *b, int64_t rows, int64_t stride)
{
    mm_vec sum[UNROLL] = {{0}};
    int64_t k = 0;
    for (; k + UNROLL <= rows; k += UNROLL, a += UNROLL * stride, b += UNROLL * stride)
#pragma GCC unroll 4
        for (int i = 0; i < UNROLL; i++)
            sum[i] += mm_load(a + i * stride) * mm_load(b + i * stride);
    for (; k < rows; k++, a += stride, b += stride)
        sum[0] += mm_load(a) * mm_load(b);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void mm_attention_slopes(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    for (int64_t lane = 0; lane < l->lanes; lane += MM_LANES) {
        const float *score = tile->scratch + l->score + lane;
        float *slope = tile->scratch + l->slope + lane;
        mm_vec mean = column_product(score, slope, tile->keys, l->lanes);
        for (int64_t k = 0; k < tile->keys; k++) {
            mm_vec difference = mm_load(slope + k * l->lanes) - mean;
            mm_store(slope + k * l->lanes, difference * mm_load(score + k * l->lanes));
        }
    }
}

void mm_attention_write(const mm_attention_tile *tile, mm_elements y)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *output = tile->scratch + l->output;
    const float *sum = tile->scratch + l->sum;
    int64_t row = l->heads * l->width;
    int64_t at = mm_attention_row(l, l->queries, tile->sequence, tile->first) * row;
    at += tile->head * l->width;
    for (int64_t q = 0; q < tile->count; q++, at += l->inner * row, output += l->padded) {
        float reciprocal = 1.0f / sum[q], *to = mm_place(y, at, output);
#pragma omp simd
        for (int64_t d = 0; d < l->width; d++)
            to[d] = output[d] * reciprocal;
        mm_write(y, at, l->width, to);
    }
}

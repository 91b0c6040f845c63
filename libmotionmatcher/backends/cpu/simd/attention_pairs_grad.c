/* SPDX-License-Identifier: BSD-2-Clause */
/* Scores and their gradients are kept of all keys; what the products take is packed by the block.
 */
#include "backends/cpu/simd/attention_pairs.h"

#if MM_HAS_PAIRS
#include <math.h>

#include "backends/cpu/simd/product.h"

typedef struct gradient_job {
    mm_attention attention;
    mm_elements dy, dx;
} gradient_job;

/* to[keys, lanes] = rows transposed, of one block of keys */
static void multiply_rows(const mm_attention_tile *tile, mm_key_block block, size_t rows,
                          size_t transposed, size_t to)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = block.count,
        .n = l->lanes,
        .depth = l->half,
        .a = tile->scratch + rows + block.first * l->half,
        .a_row = l->half,
        .a_column = 1,
        .b = tile->scratch + transposed,
        .b_row = l->lanes,
        .c = tile->scratch + to + block.first * l->lanes,
        .c_row = l->lanes,
        .pairs = true,
    });
}

/* What a column of scores and one of slopes add up to. */
typedef struct column_sums {
    mm_vec weight, product; /* sum of e^.., sum of e^.. slope */
} column_sums;

/* The column becomes e^(scale (score - maximum)). */
static void weigh_column(float *score, const float *slope, int64_t rows, int64_t stride,
                         mm_vec maximum, float scale, column_sums *sums)
{
    mm_vec even = {0}, odd = {0}, even_product = {0}, odd_product = {0};
    int64_t k = 0;
    for (; k + 2 <= rows; k += 2, score += 2 * stride, slope += 2 * stride) {
        mm_vec low = mm_exp_nonpositive((mm_load(score) - maximum) * scale);
        mm_vec high = mm_exp_nonpositive((mm_load(score + stride) - maximum) * scale);
        mm_store(score, low);
        mm_store(score + stride, high);
        even += low;
        odd += high;
        even_product += low * mm_load(slope);
        odd_product += high * mm_load(slope + stride);
    }
    if (k < rows) {
        mm_vec last = mm_exp_nonpositive((mm_load(score) - maximum) * scale);
        mm_store(score, last);
        even += last;
        even_product += last * mm_load(slope);
    }
    sums->weight += even + odd;
    sums->product += even_product + odd_product;
}

static mm_key_block block_at(const mm_attention_tile *tile, int64_t first)
{
    return (mm_key_block){first, mm_smaller(MM_PAIRS_BLOCK, tile->keys - first)};
}

/* Leaves in `score` the probabilities times their sums, in `slope` their gradients, in `sum` the
   reciprocal sums, in `correction` the gradients' weighted means. */
static void weigh(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *scratch = tile->scratch;
    column_sums sums[4] = {0}; /* lanes / MM_LANES is at most 3 */
    mm_vec maximum[4];
    for (int64_t i = 0; i * MM_LANES < l->lanes; i++)
        maximum[i] = mm_column_maximum(scratch + l->score + i * MM_LANES, tile->keys, l->lanes,
                                       mm_splat(-INFINITY));
    for (int64_t first = 0; first < tile->keys; first += MM_PAIRS_BLOCK) {
        mm_key_block block = block_at(tile, first);
        multiply_rows(tile, block, l->value, l->dy_transposed, l->slope);
        for (int64_t i = 0; i * MM_LANES < l->lanes; i++) {
            int64_t at = first * l->lanes + i * MM_LANES;
            weigh_column(scratch + l->score + at, scratch + l->slope + at, block.count, l->lanes,
                         maximum[i], tile->job->scale, &sums[i]);
        }
    }
    for (int64_t i = 0; i * MM_LANES < l->lanes; i++) {
        mm_vec reciprocal = 1.0f / sums[i].weight;
        mm_store(scratch + l->sum + i * MM_LANES, reciprocal);
        mm_store(scratch + l->correction + i * MM_LANES, sums[i].product * reciprocal);
    }
}

static mm_word *words(const mm_attention_tile *tile, size_t offset)
{
    return (mm_word *)(tile->scratch + offset);
}

/* 16 words' low halves as neighbours. */
MM_INLINE void store_halves(mm_half *to, mm_words x)
{
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtepi32_epi16((__m512i)x));
}

/* One key's probabilities and score gradients of 16 queries. */
typedef struct packed_lanes {
    mm_words probability, slope;
} packed_lanes;

MM_INLINE packed_lanes pack_lanes(const float *score, const float *slope, mm_vec reciprocal,
                                  mm_vec mean)
{
    mm_vec probability = mm_load(score) * reciprocal;
    mm_vec difference = mm_load(slope) - mean;
    return (packed_lanes){mm_round_words(probability), mm_round_words(probability * difference)};
}

static void pack_columns(const mm_attention_tile *tile, mm_key_block block, int64_t lane)
{
    const mm_attention_layout *l = &tile->job->layout;
    bool rows = l->score_rows != 0;
    mm_vec reciprocal = mm_load(tile->scratch + l->sum + lane);
    mm_vec mean = mm_load(tile->scratch + l->correction + lane);
    const float *score = tile->scratch + l->score + block.first * l->lanes + lane;
    const float *slope = tile->scratch + l->slope + block.first * l->lanes + lane;
    mm_half *score_row = (mm_half *)words(tile, l->score_rows) + lane;
    mm_half *slope_row = (mm_half *)words(tile, l->slope_rows) + lane;
    mm_word *packed = words(tile, l->packed) + lane;
    packed_lanes even = {0};
    for (int64_t k = 0; k < block.count; k++, score += l->lanes, slope += l->lanes) {
        packed_lanes key = pack_lanes(score, slope, reciprocal, mean);
        if (rows) {
            store_halves(score_row + k * l->lanes, key.probability);
            store_halves(slope_row + k * l->lanes, key.slope);
        }
        if (k % 2) {
            mm_words pair = even.slope | key.slope << 16;
            memcpy(packed + k / 2 * l->lanes, &pair, sizeof(pair));
        } else if (k + 1 == block.count) {
            memcpy(packed + k / 2 * l->lanes, &key.slope, sizeof(key.slope));
        }
        even = key;
    }
}

/* to[keys, padded] += weights[keys, lanes] rows[lanes, padded] */
static void add_to_keys(const mm_attention_tile *tile, mm_key_block block, size_t weights,
                        size_t rows, size_t to)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = block.count,
        .n = l->padded,
        .depth = l->lanes / 2,
        .a = tile->scratch + weights,
        .a_row = l->lanes / 2,
        .a_column = 1,
        .b = tile->scratch + rows,
        .b_row = l->padded,
        .c = tile->scratch + to + block.first * l->padded,
        .c_row = l->padded,
        .accumulate = true,
        .pairs = true,
    });
}

static void write_rows(mm_elements to, int64_t at, int64_t step, int64_t count, int64_t width,
                       float *from, int64_t stride, float factor)
{
    for (int64_t i = 0; i < count; i++, at += step, from += stride) {
#pragma omp simd
        for (int64_t d = 0; d < width; d++)
            from[d] *= factor;
        mm_narrow((uint16_t *)to.data + at, from, width);
    }
}

static void differentiate_tile(const gradient_job *job, const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *scratch = tile->scratch;
    mm_pairs_load(tile, job->attention.query, l->query_row, scratch + l->query_transposed,
                  l->query_pairs ? scratch + l->query_pairs : NULL);
    mm_pairs_load(tile, job->dy, l->heads * l->width, scratch + l->dy_transposed,
                  l->dy_pairs ? scratch + l->dy_pairs : NULL);
    multiply_rows(tile, (mm_key_block){0, tile->keys}, l->key, l->query_transposed, l->score);
    if (tile->job->causal)
        mm_pairs_hide(tile, (mm_key_block){0, tile->keys}, scratch + l->score);
    weigh(tile);
    for (int64_t first = 0; first < tile->keys; first += MM_PAIRS_BLOCK) {
        mm_key_block block = block_at(tile, first);
        for (int64_t lane = 0; lane < l->lanes; lane += MM_LANES)
            pack_columns(tile, block, lane);
        mm_pairs_accumulate(tile, block, l->key_pairs);
        if (!l->key_slope)
            continue;
        add_to_keys(tile, block, l->slope_rows, l->query_pairs, l->key_slope);
        add_to_keys(tile, block, l->score_rows, l->dy_pairs, l->value_slope);
    }
    int64_t at = mm_attention_row(l, l->queries, tile->sequence, tile->first) * l->query_row;
    write_rows(job->dx, at + tile->head * l->width, l->inner * l->query_row, tile->count, l->width,
               scratch + l->output, l->padded, tile->job->scale);
}

/* All gradients of one sequence and head, its query tiles in order. */
static void differentiate_head(const gradient_job *job, mm_attention_tile *tile, int64_t sequence,
                               int64_t head)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *key_slope = tile->scratch + l->key_slope, *value_slope = tile->scratch + l->value_slope;
    size_t bytes = (size_t)(l->keys * l->padded) * sizeof(float);
    memset(key_slope, 0, bytes);
    memset(value_slope, 0, bytes);
    for (int64_t first = 0; first < l->queries; first += l->lanes) {
        mm_pairs_seek(tile, sequence, head, first);
        differentiate_tile(job, tile);
    }
    int64_t at = mm_attention_row(l, l->keys, sequence, 0) * l->key_row + head * l->width;
    int64_t step = l->inner * l->key_row;
    write_rows(job->dx, at + l->key_column, step, l->keys, l->width, key_slope, l->padded,
               tile->job->scale);
    write_rows(job->dx, at + l->value_column, step, l->keys, l->width, value_slope, l->padded,
               1.0f);
}

void mm_attention_pairs_grad(const mm_kernel_call *call, int dy)
{
    gradient_job job = {mm_attention_job(call), mm_source(call, dy), mm_destination(call)};
    const mm_attention_layout *l = &job.attention.layout;
    bool keys_too = l->key_slope != 0;
    int64_t tiles = keys_too ? 1 : mm_attention_tiles(l);
#pragma omp parallel
    {
        mm_attention_tile tile = mm_attention_begin(&job.attention);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < l->sequences * l->heads * tiles; i++) {
            int64_t group = i / tiles;
            if (mm_cpu_cancelled(call))
                continue;
            if (keys_too) {
                differentiate_head(&job, &tile, group / l->heads, group % l->heads);
                continue;
            }
            mm_pairs_seek(&tile, group / l->heads, group % l->heads, i % tiles * l->lanes);
            differentiate_tile(&job, &tile);
        }
    }
}
#endif

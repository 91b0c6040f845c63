/* SPDX-License-Identifier: BSD-2-Clause */
/* Probabilities are computed again, a tile at a time; nothing was kept from the forward pass. */
#include "backends/cpu/simd/attention_pairs.h"
#include "backends/cpu/simd/product.h"

typedef struct gradient_job {
    mm_attention attention;
    mm_elements dy, dx;
    bool of_map; /* dy is the gradient of the averaged probabilities */
} gradient_job;

static gradient_job gradient_job_of(const mm_kernel_call *call, int dy, bool of_map)
{
    return (gradient_job){mm_attention_job(call), mm_source(call, dy), mm_destination(call),
                          of_map};
}

/* slope[keys, lanes] = value dy^T: the probabilities' gradients */
static void multiply_values(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = tile->keys,
        .n = l->lanes,
        .depth = l->width,
        .a = tile->value.data,
        .a_row = tile->value.stride,
        .a_column = 1,
        .b = tile->scratch + l->dy_transposed,
        .b_row = l->lanes,
        .c = tile->scratch + l->slope,
        .c_row = l->lanes,
    });
}

/* slope[keys, lanes] = the map's gradient, shared out to the heads */
static void load_map(const mm_attention_tile *tile, const float *map)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *slope = tile->scratch + l->slope, factor = 1.0f / (float)l->heads;
    map += (tile->sequence * l->queries + tile->first) * l->keys;
    for (int64_t k = 0; k < l->keys; k++, slope += l->lanes) {
        for (int64_t q = 0; q < tile->count; q++)
            slope[q] = map[q * l->keys + k] * factor;
        for (int64_t q = tile->count; q < l->lanes; q++)
            slope[q] = 0.0f;
    }
}

/* Leaves the gradients of the tile's scores in `slope`. */
static void differentiate_scores(const gradient_job *job, const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *scratch = tile->scratch;
    bool keys_too = l->key_slope != 0;
    mm_attention_load(tile, job->attention.query, l->query_row, job->attention.scale,
                      scratch + l->query_transposed, keys_too ? scratch + l->query : NULL);
    mm_attention_score(tile);
    mm_attention_normalise(tile);
    if (job->of_map) {
        load_map(tile, job->dy.data);
    } else {
        mm_attention_load(tile, job->dy, l->heads * l->width, 1.0f, scratch + l->dy_transposed,
                          keys_too ? scratch + l->dy : NULL);
        multiply_values(tile);
    }
    mm_attention_slopes(tile);
}

/* dq = scale slope^T key */
static void write_query_gradient(const gradient_job *job, const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *output = tile->scratch + l->output;
    mm_multiply(&(mm_small_product){
        .m = tile->count,
        .n = l->padded,
        .depth = tile->keys,
        .a = tile->scratch + l->slope,
        .a_row = 1,
        .a_column = l->lanes,
        .b = tile->key.data,
        .b_row = tile->key.stride,
        .c = output,
        .c_row = l->padded,
    });
    int64_t row = mm_attention_row(l, l->queries, tile->sequence, tile->first);
    int64_t at = row * l->query_row + tile->head * l->width;
    for (int64_t q = 0; q < tile->count; q++, at += l->inner * l->query_row, output += l->padded) {
        float *dq = mm_place(job->dx, at, output);
#pragma omp simd
        for (int64_t d = 0; d < l->width; d++)
            dq[d] = output[d] * job->attention.scale;
        mm_write(job->dx, at, l->width, dq);
    }
}

/* to[keys, padded] += weights[keys, lanes] rows[lanes, padded] */
static void add_to_keys(const mm_attention_tile *tile, size_t weights, size_t rows, size_t to)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = tile->keys,
        .n = l->padded,
        .depth = tile->count,
        .a = tile->scratch + weights,
        .a_row = l->lanes,
        .a_column = 1,
        .b = tile->scratch + rows,
        .b_row = l->padded,
        .c = tile->scratch + to,
        .c_row = l->padded,
        .accumulate = true,
    });
}

/* The sums of a sequence and head go where its keys or values lie; `from` NULL: zeros. */
static void write_key_rows(const mm_attention_tile *tile, mm_elements dx, int64_t column,
                           const float *from)
{
    const mm_attention_layout *l = &tile->job->layout;
    size_t element = dx.narrow ? sizeof(uint16_t) : sizeof(float);
    int64_t at = mm_attention_row(l, l->keys, tile->sequence, 0) * l->key_row;
    at += tile->head * l->width + column;
    for (int64_t k = 0; k < l->keys; k++, at += l->inner * l->key_row) {
        if (!from)
            memset((char *)dx.data + (size_t)at * element, 0, (size_t)l->width * element);
        else if (dx.narrow)
            mm_write(dx, at, l->width, from + k * l->padded);
        else
            memcpy((float *)dx.data + at, from + k * l->padded, (size_t)l->width * element);
    }
}

/* All gradients of one sequence and head, its query tiles in order. */
static void differentiate_head(const gradient_job *job, mm_attention_tile *tile, int64_t sequence,
                               int64_t head)
{
    const mm_attention_layout *l = &tile->job->layout;
    float *key_slope = tile->scratch + l->key_slope, *value_slope = tile->scratch + l->value_slope;
    size_t bytes = (size_t)(l->keys * l->padded) * sizeof(float);
    memset(key_slope, 0, bytes);
    if (!job->of_map)
        memset(value_slope, 0, bytes);
    for (int64_t first = 0; first < l->queries; first += l->lanes) {
        mm_attention_seek(tile, sequence, head, first);
        differentiate_scores(job, tile);
        write_query_gradient(job, tile);
        add_to_keys(tile, l->slope, l->query, l->key_slope);
        if (!job->of_map)
            add_to_keys(tile, l->score, l->dy, l->value_slope);
    }
    write_key_rows(tile, job->dx, l->key_column, key_slope);
    write_key_rows(tile, job->dx, l->value_column, job->of_map ? NULL : value_slope);
}

static void differentiate_self(const mm_kernel_call *call, bool of_map)
{
    gradient_job job = gradient_job_of(call, 1, of_map);
    const mm_attention_layout *l = &job.attention.layout;
#if MM_HAS_PAIRS
    if (l->pairs) {
        mm_attention_pairs_grad(call, 1);
        return;
    }
#endif
#pragma omp parallel
    {
        mm_attention_tile tile = mm_attention_begin(&job.attention);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < l->sequences * l->heads; i++)
            if (!mm_cpu_cancelled(call))
                differentiate_head(&job, &tile, i / l->heads, i % l->heads);
    }
}

static void differentiate_cross(const mm_kernel_call *call, bool of_map)
{
    gradient_job job = gradient_job_of(call, 2, of_map);
    const mm_attention_layout *l = &job.attention.layout;
#if MM_HAS_PAIRS
    if (l->pairs) {
        mm_attention_pairs_grad(call, 2);
        return;
    }
#endif
    int64_t tiles = mm_attention_tiles(l), tasks = l->sequences * l->heads * tiles;
#pragma omp parallel
    {
        mm_attention_tile tile = mm_attention_begin(&job.attention);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            if (mm_cpu_cancelled(call))
                continue;
            int64_t group = i / tiles;
            mm_attention_seek(&tile, group / l->heads, group % l->heads, i % tiles * l->lanes);
            differentiate_scores(&job, &tile);
            write_query_gradient(&job, &tile);
        }
    }
}

MM_SIMD_KERNEL(attention_grad)
{
    differentiate_self(call, false);
}

MM_SIMD_KERNEL(attention_map_grad)
{
    differentiate_self(call, true);
}

MM_SIMD_KERNEL(cross_attention_grad)
{
    differentiate_cross(call, false);
}

MM_SIMD_KERNEL(cross_attention_map_grad)
{
    differentiate_cross(call, true);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/attention_pairs.h"
#include "backends/cpu/simd/product.h"

/* output[count, padded] = score^T value, not yet divided by the sums */
static void weigh_values(const mm_attention_tile *tile)
{
    const mm_attention_layout *l = &tile->job->layout;
    mm_multiply(&(mm_small_product){
        .m = tile->count,
        .n = l->padded,
        .depth = tile->keys,
        .a = tile->scratch + l->score,
        .a_row = 1,
        .a_column = l->lanes,
        .b = tile->value.data,
        .b_row = tile->value.stride,
        .c = tile->scratch + l->output,
        .c_row = l->padded,
    });
}

static void attend(const mm_kernel_call *call)
{
    mm_attention job = mm_attention_job(call);
    const mm_attention_layout *l = &job.layout;
#if MM_HAS_PAIRS
    if (l->pairs) {
        mm_attention_pairs(call);
        return;
    }
#endif
    int64_t tiles = mm_attention_tiles(l), tasks = l->sequences * l->heads * tiles;
#pragma omp parallel
    {
        mm_attention_tile tile = mm_attention_begin(&job);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            if (mm_cpu_cancelled(call))
                continue;
            int64_t group = i / tiles;
            mm_attention_seek(&tile, group / l->heads, group % l->heads, i % tiles * l->lanes);
            mm_attention_load(&tile, job.query, l->query_row, job.scale,
                              tile.scratch + l->query_transposed, NULL);
            mm_attention_score(&tile);
            weigh_values(&tile);
            mm_attention_write(&tile, mm_destination(call));
        }
    }
}

MM_SIMD_KERNEL(attention)
{
    attend(call);
}

MM_SIMD_KERNEL(cross_attention)
{
    attend(call);
}

/* sum[k, q] of the heads' probabilities (in `slope`, which maps do not use otherwise) */
static void add_probabilities(const mm_attention_tile *tile, float factor)
{
    const mm_attention_layout *l = &tile->job->layout;
    const float *score = tile->scratch + l->score;
    float *total = tile->scratch + l->slope;
    int64_t count = tile->keys * l->lanes;
    if (tile->head == 0)
        memset(total, 0, (size_t)count * sizeof(*total));
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        total[i] += score[i] * factor;
}

static void write_map(const mm_attention_tile *tile, float *map)
{
    const mm_attention_layout *l = &tile->job->layout;
    const float *total = tile->scratch + l->slope;
    map += (tile->sequence * l->queries + tile->first) * l->keys;
    for (int64_t q = 0; q < tile->count; q++, map += l->keys)
        for (int64_t k = 0; k < l->keys; k++)
            map[k] = total[k * l->lanes + q];
}

static void attend_map(const mm_kernel_call *call)
{
    mm_attention job = mm_attention_job(call);
    const mm_attention_layout *l = &job.layout;
    int64_t tiles = mm_attention_tiles(l), tasks = l->sequences * tiles;
#pragma omp parallel
    {
        mm_attention_tile tile = mm_attention_begin(&job);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) {
            if (mm_cpu_cancelled(call))
                continue;
            for (int64_t head = 0; head < l->heads; head++) {
                mm_attention_seek(&tile, i / tiles, head, i % tiles * l->lanes);
                mm_attention_load(&tile, job.query, l->query_row, job.scale,
                                  tile.scratch + l->query_transposed, NULL);
                mm_attention_score(&tile);
                mm_attention_normalise(&tile);
                add_probabilities(&tile, 1.0f / (float)l->heads);
            }
            write_map(&tile, call->destination);
        }
    }
}

MM_SIMD_KERNEL(attention_map)
{
    attend_map(call);
}

MM_SIMD_KERNEL(cross_attention_map)
{
    attend_map(call);
}

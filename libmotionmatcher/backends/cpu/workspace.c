/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/workspace.h"

#include "backends/cpu/prepare.h"
#include "base/memory.h"

#define LINE 16                 /* floats of a cache line */
#define MOST_LANES 48           /* queries of a tile */
#define MOST_GATHERED (1 << 20) /* floats of a sequence's keys that a thread may copy */
#define BLOCK_FLOATS 32768      /* of group_norm: most of a second-level cache's share */
#define BLOCK_ROWS 64           /* of group_norm: as many as single precision should add up */

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static int64_t between(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int64_t last_dim(const mm_node *node)
{
    return node->shape.dim[node->shape.rank - 1];
}

mm_group_norm_layout mm_group_norm_plan(const mm_node *node, int threads)
{
    mm_group_norm_layout l = {
        .channels = last_dim(node),
        .groups = node->attr.group_norm.groups,
        .instances = node->attr.group_norm.instances,
    };
    if (l.channels == 0 || mm_shape_elements(&node->shape) == 0) {
        l.instances = 0;
        return l;
    }
    l.rows = mm_shape_elements(&node->shape) / l.channels / l.instances;
    l.block_rows = between(BLOCK_FLOATS / l.channels, 4, BLOCK_ROWS);
    l.blocks = (l.rows + l.block_rows - 1) / l.block_rows;
    l.padded = round_up(l.channels, LINE);
    size_t moments = (size_t)(l.instances * l.blocks * l.groups) * 2 * sizeof(double);
    size_t row = (size_t)l.padded * sizeof(float);
    l.channel = (size_t)round_up((int64_t)moments, 64);
    l.scratch = l.channel + (size_t)l.instances * MM_NORM_ROWS * row;
    l.bytes = l.scratch + (size_t)(threads * (MM_NORM_SCRATCH_ROWS + l.block_rows)) * row;
    return l;
}

static void describe_self(mm_attention_layout *l, const mm_node *node)
{
    mm_sequences s = node->attr.attention.sequences;
    int64_t channels = node->attr.attention.heads * node->attr.attention.head_width;
    l->sequences = s.outer * s.inner;
    l->inner = s.inner;
    l->queries = l->keys = s.length;
    l->heads = node->attr.attention.heads;
    l->width = node->attr.attention.head_width;
    l->query_row = l->key_row = 3 * channels;
    l->key_column = channels;
    l->value_column = 2 * channels;
}

static void describe_cross(mm_attention_layout *l, const mm_node *node)
{
    const mm_shape *query = &node->source[0]->shape, *key = &node->source[1]->shape;
    int64_t tokens = key->dim[key->rank - 2], row = key->dim[key->rank - 1];
    int64_t channels = node->attr.cross_attention.heads * node->attr.cross_attention.head_width;
    int64_t rows = channels > 0 ? mm_shape_elements(query) / channels : 0;
    l->sequences = tokens > 0 && row > 0 ? mm_shape_elements(key) / (tokens * row) : 0;
    l->inner = 1;
    l->queries = l->sequences > 0 ? rows / l->sequences : 0;
    l->keys = tokens;
    l->heads = node->attr.cross_attention.heads;
    l->width = node->attr.cross_attention.head_width;
    l->query_row = channels;
    l->key_row = 2 * channels;
    l->value_column = channels;
}

static bool is_self_attention(mm_op op)
{
    return op == MM_OP_attention || op == MM_OP_attention_grad || op == MM_OP_attention_map ||
           op == MM_OP_attention_map_grad;
}

static bool is_map(mm_op op)
{
    return op == MM_OP_attention_map || op == MM_OP_attention_map_grad ||
           op == MM_OP_cross_attention_map || op == MM_OP_cross_attention_map_grad;
}

static bool is_gradient(mm_op op)
{
    return op == MM_OP_attention_grad || op == MM_OP_attention_map_grad ||
           op == MM_OP_cross_attention_grad || op == MM_OP_cross_attention_map_grad;
}

/* The next piece of a thread's scratch, or 0 when it is not needed. */
static size_t take(mm_attention_layout *l, bool needed, int64_t rows, int64_t columns)
{
    size_t offset = l->thread_floats;
    if (!needed)
        return 0;
    l->thread_floats += (size_t)round_up(rows * columns, LINE);
    return offset;
}

static void place_floats(mm_attention_layout *l, const mm_node *node)
{
    bool map = is_map(node->op), gradient = is_gradient(node->op);
    bool key_gradient = gradient && is_self_attention(node->op);
    l->gather = l->narrow || l->padded != l->width || l->keys * l->padded <= MOST_GATHERED;
    l->key = take(l, l->gather, l->keys, l->padded);
    l->value = take(l, l->gather && !map, l->keys, l->padded);
    l->widened = take(l, l->narrow, l->lanes, l->padded);
    l->query = take(l, key_gradient, l->lanes, l->padded);
    l->query_transposed = take(l, true, l->width, l->lanes);
    l->dy = take(l, key_gradient && !map, l->lanes, l->padded);
    l->dy_transposed = take(l, gradient && !map, l->width, l->lanes);
    l->score = take(l, true, l->keys, l->lanes);
    l->slope = take(l, gradient || map, l->keys, l->lanes);
    l->output = take(l, gradient || !map, l->lanes, l->padded);
    l->key_slope = take(l, key_gradient, l->keys, l->padded);
    l->value_slope = take(l, key_gradient && !map, l->keys, l->padded);
    l->sum = take(l, true, 1, l->lanes);
}

static void place_pairs(mm_attention_layout *l, const mm_node *node)
{
    bool gradient = is_gradient(node->op), key_gradient = gradient && is_self_attention(node->op);
    int64_t block = between(round_up(l->keys, 2), 2, MM_PAIRS_BLOCK);
    int64_t key_pairs = (l->keys + 1) / 2, lane_pairs = l->lanes / 2;
    l->half = l->padded / 2;
    l->key = take(l, true, l->keys, l->half);
    l->key_pairs = take(l, gradient, key_pairs, l->padded);
    l->value = take(l, gradient, l->keys, l->half);
    l->value_pairs = take(l, !gradient, key_pairs, l->padded);
    l->widened = take(l, true, l->lanes, l->half);
    l->query_transposed = take(l, true, l->half, l->lanes);
    l->query_pairs = take(l, key_gradient, lane_pairs, l->padded);
    l->dy_transposed = take(l, gradient, l->half, l->lanes);
    l->dy_pairs = take(l, key_gradient, lane_pairs, l->padded);
    l->score = take(l, true, gradient ? l->keys : block, l->lanes);
    l->slope = take(l, gradient, l->keys, l->lanes);
    l->packed = take(l, true, block / 2, l->lanes);
    l->score_rows = take(l, key_gradient, block, lane_pairs);
    l->slope_rows = take(l, key_gradient, block, lane_pairs);
    l->output = take(l, true, l->lanes, l->padded);
    l->key_slope = take(l, key_gradient, l->keys, l->padded);
    l->value_slope = take(l, key_gradient, l->keys, l->padded);
    l->sum = take(l, true, 1, l->lanes);
    l->maximum = take(l, !gradient, 1, l->lanes);
    l->correction = take(l, true, 1, l->lanes);
}

mm_attention_layout mm_attention_plan(const mm_node *node, bool has_pairs)
{
    mm_attention_layout l = {.thread_floats = LINE}; /* so that 0 is no offset */
    if (is_self_attention(node->op))
        describe_self(&l, node);
    else
        describe_cross(&l, node);
    l.lanes = between(round_up(l.queries, LINE), LINE, MOST_LANES);
    l.padded = round_up(l.width, LINE);
    l.narrow = node->source[0]->dtype == MM_BF16;
    l.pairs = l.narrow && has_pairs && !is_map(node->op);
    if (l.pairs)
        place_pairs(&l, node);
    else
        place_floats(&l, node);
    return l;
}

mm_status mm_prepare_group_norm(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                                mm_error *error)
{
    (void)error;
    out->workspace_bytes = mm_group_norm_plan(node, context->threads).bytes;
    return MM_OK;
}

mm_status mm_prepare_layer_norm(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                                mm_error *error)
{
    (void)error;
    size_t row = (size_t)last_dim(node) * sizeof(float);
    if (node->dtype != MM_F32 || node->source[0]->dtype != MM_F32)
        out->workspace_bytes = (size_t)context->threads * MM_LAYER_NORM_ROWS * row;
    return MM_OK;
}

mm_status mm_prepare_attention(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                               mm_error *error)
{
    mm_attention_layout layout = mm_attention_plan(node, context->isa >= MM_ISA_AVX512_BF16);
    size_t floats;
    if (!mm_mul_size(layout.thread_floats, (size_t)context->threads, &floats) ||
        !mm_mul_size(floats, sizeof(float), &out->workspace_bytes))
        return mm_fail(error, MM_ERR_MEMORY,
                       "attention over %lld tokens: its workspace is too large",
                       (long long)layout.keys);
    return MM_OK;
}

mm_correlation_layout mm_correlation_plan(const mm_node *node)
{
    mm_correlation_layout l = {.side = 2 * node->attr.patch_correlation.radius + 1,
                               .channels = last_dim(node->source[0])};
    l.patch = l.side * l.side;
    l.row = round_up(l.channels, LINE);
    l.transposed_row = round_up(l.patch, LINE);
    size_t samples = (size_t)(l.patch * l.row);
    l.place = samples;
    l.transposed = 2 * samples;
    l.thread_floats = l.transposed + (size_t)(l.channels * l.transposed_row);
    return l;
}

mm_status mm_prepare_patch_correlation(const mm_cpu_context *context, const mm_node *node,
                                       mm_kernel *out, mm_error *error)
{
    (void)error;
    size_t floats = mm_correlation_plan(node).thread_floats * (size_t)context->threads;
    out->workspace_bytes = floats * sizeof(float);
    return MM_OK;
}

mm_status mm_prepare_mean_squared_error(const mm_cpu_context *context, const mm_node *node,
                                        mm_kernel *out, mm_error *error)
{
    (void)context;
    (void)error;
    int64_t count = mm_shape_elements(&node->source[0]->shape);
    out->workspace_bytes = (size_t)((count + MM_LOSS_BLOCK - 1) / MM_LOSS_BLOCK) * sizeof(double);
    return MM_OK;
}

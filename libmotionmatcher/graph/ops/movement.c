/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

mm_node *mm_concat(mm_graph *g, mm_node *a, mm_node *b)
{
    return mm_graph_add(g, MM_OP_concat, 2, (mm_node *[]){a, b}, NULL);
}

bool mm_infer_concat(mm_graph *g, mm_node *node)
{
    const mm_node *a = node->source[0], *b = node->source[1];
    mm_shape like_a = b->shape;
    char left[128], right[128];
    if (b->shape.rank)
        like_a.dim[b->shape.rank - 1] = mm_node_columns(a);
    if (!mm_shape_equal(&like_a, &a->shape) || !a->shape.rank || a->dtype != b->dtype)
        return mm_shape_fail(g, node, "%s and %s differ in more than their channels",
                             mm_shape_text(&a->shape, left, sizeof(left)),
                             mm_shape_text(&b->shape, right, sizeof(right)));
    mm_infer_like_first(g, node);
    node->shape.dim[node->shape.rank - 1] += mm_node_columns(b);
    return true;
}

bool mm_gradient_concat(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    int64_t first = 0;
    for (int32_t i = 0; i < 2; i++) {
        int64_t count = mm_node_columns(node->source[i]);
        if (mm_wants_gradient(node, i) && !(gradient[i] = mm_slice(g, dy, first, count)))
            return false;
        first += count;
    }
    return true;
}

mm_node *mm_slice(mm_graph *g, mm_node *x, int64_t first, int64_t count)
{
    return mm_graph_add(g, MM_OP_slice, 1, &x, &(mm_attributes){.slice = {first, count}});
}

/* Whether channels first .. first + count - 1 lie within `channels`. */
static bool check_range(mm_graph *g, const mm_node *node, int64_t first, int64_t count,
                        int64_t channels)
{
    if (first >= 0 && count > 0 && count <= channels && first <= channels - count)
        return true;
    return mm_shape_fail(g, node, "%lld channels from %lld on of %lld", (long long)count,
                         (long long)first, (long long)channels);
}

bool mm_infer_slice(mm_graph *g, mm_node *node)
{
    int64_t first = node->attr.slice.first, count = node->attr.slice.count;
    if (!check_range(g, node, first, count, mm_node_columns(node->source[0])) ||
        !node->source[0]->shape.rank)
        return mm_shape_fail(g, node, "a scalar has no channels");
    mm_infer_like_first(g, node);
    node->shape.dim[node->shape.rank - 1] = count;
    return true;
}

bool mm_infer_slice_grad(mm_graph *g, mm_node *node)
{
    int64_t first = node->attr.slice.first, channels = node->attr.slice.count;
    if (!check_range(g, node, first, mm_node_columns(node->source[0]), channels) ||
        !node->source[0]->shape.rank)
        return mm_shape_fail(g, node, "a scalar has no channels");
    mm_infer_like_first(g, node);
    node->shape.dim[node->shape.rank - 1] = channels;
    return true;
}

bool mm_gradient_slice(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    mm_attributes attributes = {
        .slice = {node->attr.slice.first, mm_node_columns(node->source[0])}};
    gradient[0] = mm_graph_add(g, MM_OP_slice_grad, 1, &dy, &attributes);
    return gradient[0] != NULL;
}

mm_node *mm_repeat(mm_graph *g, mm_node *x, int64_t times)
{
    return mm_graph_add(g, MM_OP_repeat, 1, &x, &(mm_attributes){.repeat = {times}});
}

bool mm_infer_repeat(mm_graph *g, mm_node *node)
{
    int64_t times = node->attr.repeat.times;
    if (times < 1 || !node->source[0]->shape.rank ||
        node->source[0]->shape.dim[0] > INT64_MAX / times)
        return mm_shape_fail(g, node, "%lld times is no number to repeat by", (long long)times);
    mm_infer_like_first(g, node);
    node->shape.dim[0] *= times;
    return true;
}

mm_node *mm_resize_nearest(mm_graph *g, mm_node *x, int64_t height, int64_t width)
{
    return mm_graph_add(g, MM_OP_resize_nearest, 1, &x,
                        &(mm_attributes){.resize = {height, width}});
}

mm_node *mm_resize_bilinear(mm_graph *g, mm_node *x, int64_t height, int64_t width)
{
    return mm_graph_add(g, MM_OP_resize_bilinear, 1, &x,
                        &(mm_attributes){.resize = {height, width}});
}

bool mm_infer_resize(mm_graph *g, mm_node *node)
{
    const mm_node *x = node->source[0];
    if (x->shape.rank != 4)
        return mm_shape_fail(g, node, "pictures have four dimensions, not %d", x->shape.rank);
    mm_infer_like_first(g, node);
    node->shape.dim[1] = node->attr.resize.height;
    node->shape.dim[2] = node->attr.resize.width;
    return true;
}

bool mm_gradient_resize(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    const int64_t *dim = node->source[0]->shape.dim;
    gradient[0] = mm_graph_add(g, MM_OP_resize_nearest_grad, 1, &dy,
                               &(mm_attributes){.resize = {dim[1], dim[2]}});
    return gradient[0] != NULL;
}

mm_node *mm_embedding(mm_graph *g, mm_node *table, mm_node *ids)
{
    return mm_graph_add(g, MM_OP_embedding, 2, (mm_node *[]){table, ids}, NULL);
}

bool mm_infer_embedding(mm_graph *g, mm_node *node)
{
    const mm_node *table = node->source[0], *ids = node->source[1];
    if (table->shape.rank != 2 || ids->dtype != MM_I64 || ids->shape.rank >= MM_MAX_RANK)
        return mm_shape_fail(g, node, "needs a table of rows and ids of type i64");
    node->shape = ids->shape;
    node->shape.dim[node->shape.rank++] = table->shape.dim[1];
    node->dtype = table->dtype;
    return true;
}

mm_node *mm_timestep_embedding(mm_graph *g, mm_node *timesteps, int64_t channels,
                               bool flip_sin_to_cos, float downscale_freq_shift)
{
    mm_attributes attributes = {
        .timestep_embedding = {channels, flip_sin_to_cos, downscale_freq_shift}};
    return mm_graph_add(g, MM_OP_timestep_embedding, 1, &timesteps, &attributes);
}

bool mm_infer_timestep_embedding(mm_graph *g, mm_node *node)
{
    const mm_node *timesteps = node->source[0];
    int64_t channels = node->attr.timestep_embedding.channels;
    if (timesteps->shape.rank != 1 || timesteps->dtype != MM_F32)
        return mm_shape_fail(g, node, "timesteps are a row of f32");
    if (channels < 2 ||
        (double)(channels / 2) <= (double)node->attr.timestep_embedding.downscale_freq_shift)
        return mm_shape_fail(g, node, "%lld channels are too few", (long long)channels);
    node->shape = MM_SHAPE(timesteps->shape.dim[0], channels);
    node->dtype = MM_F32;
    return true;
}

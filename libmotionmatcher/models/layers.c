/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/layers.h"

#include <stdarg.h>
#include <stdio.h>

#define LONGEST_PATH 256

static const char *descend(mm_builder *b, const char *format, va_list arguments)
{
    const char *outer = b->path;
    char leaf[LONGEST_PATH];
    vsnprintf(leaf, sizeof(leaf), format, arguments);
    const char *inner = mm_path(b, leaf, "");
    b->path = inner ? inner : outer;
    mm_graph_set_scope(b->graph, b->path);
    return outer;
}

const char *mm_enter(mm_builder *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *outer = descend(b, format, arguments);
    va_end(arguments);
    return outer;
}

void mm_leave(mm_builder *b, const char *outer)
{
    b->path = outer;
    mm_graph_set_scope(b->graph, outer);
}

const char *mm_enter_segment(mm_builder *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *outer = descend(b, format, arguments);
    va_end(arguments);
    mm_graph_begin_segment(b->graph);
    return outer;
}

void mm_leave_segment(mm_builder *b, const char *outer)
{
    mm_graph_end_segment(b->graph);
    mm_leave(b, outer);
}

const char *mm_path(mm_builder *b, const char *leaf, const char *suffix)
{
    const char *path =
        mm_arena_format(&b->graph->arena, "%s%s%s%s%s", b->path, *b->path && *leaf ? "." : "", leaf,
                        *suffix ? "." : "", suffix);
    if (!path)
        mm_graph_fail(b->graph, MM_ERR_MEMORY, "not enough memory for the name of a layer");
    return path;
}

static int64_t channels_of(const mm_node *x)
{
    return x->shape.dim[x->shape.rank - 1];
}

/* One weight made of `count` tensors of the same shape. */
static mm_node *stacked(mm_builder *b, int32_t count, const char *const *leaf, const char *suffix,
                        const mm_shape *stored, const mm_shape *shape, mm_dtype dtype,
                        mm_weight_order order)
{
    mm_weight_part part[3];
    for (int32_t i = 0; i < count; i++) {
        part[i] = (mm_weight_part){mm_path(b, leaf[i], suffix), *stored};
        if (!part[i].name)
            return NULL;
    }
    mm_weight *weight = mm_weight_declare(b->weights, part, count, shape, dtype, order);
    if (weight)
        return mm_weight_node(b->graph, weight);
    if (mm_weight_find(b->weights, part[0].name))
        return mm_graph_fail(b->graph, MM_ERR_INPUT, "%s: two shapes for one weight", part[0].name);
    return mm_graph_fail(b->graph, MM_ERR_MEMORY, "not enough memory to declare the weights");
}

mm_node *mm_layer_tensor(mm_builder *b, const char *leaf, const char *suffix, const mm_shape *shape,
                         mm_dtype dtype)
{
    return stacked(b, 1, &leaf, suffix, shape, shape, dtype, MM_WEIGHT_AS_STORED);
}

static mm_node *vector(mm_builder *b, const char *leaf, const char *suffix, int64_t size)
{
    return mm_layer_tensor(b, leaf, suffix, &MM_SHAPE(size), MM_F32);
}

/* Of matrices and convolutions. */
static mm_dtype kernel_type(const mm_builder *b)
{
    return b->exact ? MM_F32 : b->weights->dtype;
}

mm_node *mm_layer_linears(mm_builder *b, int32_t count, const char *const *leaf, mm_node *x,
                          int64_t out, bool bias, mm_node *addend)
{
    if (!x)
        return NULL;
    int64_t in = channels_of(x);
    mm_node *weight = stacked(b, count, leaf, "weight", &MM_SHAPE(out, in),
                              &MM_SHAPE(count * out, in), kernel_type(b), MM_WEIGHT_AS_STORED);
    mm_node *offset = bias ? stacked(b, count, leaf, "bias", &MM_SHAPE(out), &MM_SHAPE(count * out),
                                     MM_F32, MM_WEIGHT_AS_STORED)
                           : NULL;
    return mm_linear(b->graph, x, weight, offset, addend);
}

mm_node *mm_layer_linear(mm_builder *b, const char *leaf, mm_node *x, int64_t out, bool bias,
                         mm_node *addend)
{
    return mm_layer_linears(b, 1, &leaf, x, out, bias, addend);
}

mm_node *mm_layer_conv(mm_builder *b, const char *leaf, mm_node *x, int64_t out, int32_t stride,
                       const int32_t padding[4], mm_node *addend)
{
    if (!x)
        return NULL;
    mm_node *weight =
        mm_layer_tensor(b, leaf, "weight", &MM_SHAPE(out, channels_of(x), 3, 3), kernel_type(b));
    return mm_conv2d(b->graph, x, weight, vector(b, leaf, "bias", out), addend, stride, padding);
}

mm_node *mm_layer_conv_same(mm_builder *b, const char *leaf, mm_node *x, int64_t out,
                            mm_node *addend)
{
    return mm_layer_conv(b, leaf, x, out, 1, (const int32_t[]){1, 1, 1, 1}, addend);
}

mm_node *mm_layer_conv_1x1(mm_builder *b, const char *leaf, mm_node *x, int64_t out)
{
    if (!x)
        return NULL;
    int64_t in = channels_of(x);
    mm_node *weight = stacked(b, 1, &leaf, "weight", &MM_SHAPE(out, in, 1, 1), &MM_SHAPE(out, in),
                              kernel_type(b), MM_WEIGHT_AS_STORED);
    return mm_linear(b->graph, x, weight, vector(b, leaf, "bias", out), NULL);
}

mm_node *mm_layer_patches(mm_builder *b, const char *leaf, mm_node *x, int64_t size, int64_t out,
                          bool bias)
{
    if (!x)
        return NULL;
    mm_node *weight = stacked(b, 1, &leaf, "weight", &MM_SHAPE(out, 3, size, size),
                              &MM_SHAPE(out, 3 * size * size), kernel_type(b), MM_WEIGHT_AS_STORED);
    return mm_linear(b->graph, x, weight, bias ? vector(b, leaf, "bias", out) : NULL, NULL);
}

mm_node *mm_layer_positions(mm_builder *b, const char *leaf, const char *suffix, mm_node *x,
                            const mm_shape *stored)
{
    if (!x)
        return NULL;
    int64_t batch = x->shape.dim[0], row = mm_node_elements(x) / batch;
    mm_node *table = mm_layer_tensor(b, leaf, suffix, stored, MM_F32);
    mm_node *rows = mm_view(b->graph, table, &MM_SHAPE(1, mm_shape_elements(stored)));
    if (row < mm_shape_elements(stored))
        rows = mm_slice(b->graph, rows, 0, row);
    mm_shape shape = x->shape;
    x = mm_add_rows(b->graph, mm_view(b->graph, x, &MM_SHAPE(batch, row)), rows);
    return mm_view(b->graph, x, &shape);
}

mm_node *mm_layer_token(mm_builder *b, mm_node *x, int64_t index)
{
    if (!x)
        return NULL;
    int64_t batch = x->shape.dim[0], tokens = x->shape.dim[1], channels = x->shape.dim[2];
    x = mm_view(b->graph, x, &MM_SHAPE(batch, tokens * channels));
    return mm_slice(b->graph, x, index * channels, channels);
}

mm_node *mm_layer_group_norm(mm_builder *b, const char *leaf, mm_node *x, int64_t groups,
                             double eps, int64_t instances, mm_activation_kind activation)
{
    if (!x)
        return NULL;
    int64_t channels = channels_of(x);
    return mm_group_norm(b->graph, x, vector(b, leaf, "weight", channels),
                         vector(b, leaf, "bias", channels), groups, (float)eps, instances,
                         activation);
}

mm_node *mm_layer_norm_last(mm_builder *b, const char *leaf, mm_node *x, double eps)
{
    if (!x)
        return NULL;
    int64_t channels = channels_of(x);
    return mm_layer_norm(b->graph, x, vector(b, leaf, "weight", channels),
                         vector(b, leaf, "bias", channels), (float)eps);
}

mm_node *mm_layer_resnet(mm_builder *b, const mm_resnet *r, mm_node *x, int64_t out)
{
    if (!x)
        return NULL;
    int64_t frames = x->shape.dim[0];
    mm_node *h = mm_layer_group_norm(b, "norm1", x, r->groups, r->eps, frames, r->activation);
    h = mm_layer_conv_same(b, "conv1", h, out, NULL);
    if (r->time)
        h = mm_add_rows(b->graph, h, mm_layer_linear(b, "time_emb_proj", r->time, out, true, NULL));
    h = mm_layer_group_norm(b, "norm2", h, r->groups, r->eps, frames, r->activation);
    mm_node *shortcut = channels_of(x) == out ? x : mm_layer_conv_1x1(b, "conv_shortcut", x, out);
    h = mm_layer_conv_same(b, "conv2", h, out, shortcut);
    return r->scale == 1.0 ? h : mm_scale(b->graph, h, (float)(1.0 / r->scale));
}

/* The tensor in the file is [out, in, 3, 1, 1]. */
static mm_node *taps(mm_builder *b, const char *leaf, mm_node *x, mm_node *addend)
{
    if (!x)
        return NULL;
    int64_t c = channels_of(x);
    mm_node *weight = stacked(b, 1, &leaf, "weight", &MM_SHAPE(c, c, 3, 1, 1), &MM_SHAPE(3, c, c),
                              kernel_type(b), MM_WEIGHT_TAPS_FIRST);
    return mm_temporal_conv(b->graph, x, weight, vector(b, leaf, "bias", c), addend, b->frames);
}

mm_node *mm_layer_temporal_conv(mm_builder *b, mm_node *x, int64_t groups)
{
    static const char *const norm[] = {"conv1.0", "conv2.0", "conv3.0", "conv4.0"};
    static const char *const conv[] = {"conv1.2", "conv2.3", "conv3.3", "conv4.3"};
    if (!x)
        return NULL;
    mm_node *h = x;
    for (int32_t i = 0; i < 4; i++) {
        h = mm_layer_group_norm(b, norm[i], h, groups, 1e-5, x->shape.dim[0] / b->frames,
                                MM_ACTIVATION_SILU);
        if (i > 0 && b->dropout_key && b->conv_dropout > 0)
            h = mm_dropout(b->graph, h, b->dropout_key, b->conv_dropout, b->dropout_layers++);
        h = taps(b, conv[i], h, i == 3 ? x : NULL);
    }
    return h;
}

mm_node *mm_layer_for_contexts(mm_builder *b, mm_node *x, const mm_node *context)
{
    if (!x)
        return NULL;
    int64_t times = context->shape.dim[0] * b->frames / x->shape.dim[0];
    return times > 1 ? mm_repeat(b->graph, x, times) : x;
}

mm_node *mm_layer_upsample(mm_builder *b, const char *leaf, mm_node *x, int64_t height,
                           int64_t width)
{
    if (!x)
        return NULL;
    int64_t channels = channels_of(x);
    return mm_layer_conv_same(b, leaf, mm_resize_nearest(b->graph, x, height, width), channels,
                              NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

static bool check_rank(mm_graph *g, const mm_node *node, const mm_node *x, int32_t rank,
                       const char *what)
{
    char text[128];
    if (x->shape.rank == rank)
        return true;
    return mm_shape_fail(g, node, "%s is %s, not of %d dimensions", what,
                         mm_shape_text(&x->shape, text, sizeof(text)), rank);
}

static bool check_channels(mm_graph *g, const mm_node *node, int64_t have, int64_t want)
{
    return have == want || mm_shape_fail(g, node, "%lld channels where the weight has %lld",
                                         (long long)have, (long long)want);
}

static bool check_addend(mm_graph *g, const mm_node *node)
{
    const mm_node *addend = mm_node_addend(node);
    if (!addend || (mm_shape_equal(&addend->shape, &node->shape) && addend->dtype == node->dtype))
        return true;
    return mm_shape_fail(g, node, "the addend's shape or type is not the result's");
}

/* Places where a kernel of `taps` fits, or 0. */
static int64_t places(int64_t length, int32_t before, int32_t after, int64_t taps, int32_t stride)
{
    int64_t room = length + before + after - taps;
    return room < 0 ? 0 : room / stride + 1;
}

bool mm_infer_conv2d(mm_graph *g, mm_node *node)
{
    const mm_node *x = node->source[0], *weight = node->source[1];
    if (!check_rank(g, node, x, 4, "the input") || !check_rank(g, node, weight, 4, "the weight"))
        return false;
    const int64_t *in = x->shape.dim, *kernel = weight->shape.dim;
    int32_t stride = node->attr.conv2d.stride, top = node->attr.conv2d.pad_top,
            bottom = node->attr.conv2d.pad_bottom, left = node->attr.conv2d.pad_left,
            right = node->attr.conv2d.pad_right;
    if (stride < 1 || top < 0 || bottom < 0 || left < 0 || right < 0)
        return mm_shape_fail(g, node, "stride %d or padding out of range", stride);
    node->attr.conv2d.input_height = in[1];
    node->attr.conv2d.input_width = in[2];
    node->shape = MM_SHAPE(in[0], places(in[1], top, bottom, kernel[2], stride),
                           places(in[2], left, right, kernel[3], stride), kernel[0]);
    node->dtype = mm_product_result(node);
    return check_channels(g, node, in[3], kernel[1]) &&
           mm_check_vector(g, node, node->source_count > 2 ? node->source[2] : NULL, kernel[0],
                           "the bias") &&
           check_addend(g, node);
}

bool mm_infer_conv2d_grad(mm_graph *g, mm_node *node)
{
    const mm_node *dy = node->source[0], *weight = node->source[1];
    if (!check_rank(g, node, dy, 4, "the gradient") ||
        !check_rank(g, node, weight, 4, "the weight"))
        return false;
    node->shape = MM_SHAPE(dy->shape.dim[0], node->attr.conv2d.input_height,
                           node->attr.conv2d.input_width, weight->shape.dim[1]);
    node->dtype = node->source[0]->dtype;
    return check_channels(g, node, dy->shape.dim[3], weight->shape.dim[0]);
}

static double conv2d_flops(const mm_node *result, const mm_node *weight)
{
    const int64_t *kernel = weight->shape.dim;
    return 2.0 * (double)mm_node_elements(result) * (double)kernel[1] * (double)kernel[2] *
           (double)kernel[3];
}

double mm_flops_conv2d(const mm_node *node)
{
    return conv2d_flops(node, node->source[1]);
}

double mm_flops_conv2d_grad(const mm_node *node)
{
    return conv2d_flops(node->source[0], node->source[1]);
}

bool mm_gradient_conv2d(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    if (mm_wants_gradient(node, 1) || mm_wants_gradient(node, 2))
        return mm_refuse_gradients(g, node, 1);
    if (mm_wants_gradient(node, 0) &&
        !(gradient[0] = mm_graph_add(g, MM_OP_conv2d_grad, 2, (mm_node *[]){dy, node->source[1]},
                                     &node->attr)))
        return false;
    if (mm_wants_gradient(node, 3))
        gradient[3] = dy;
    return true;
}

mm_node *mm_conv2d(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, mm_node *addend,
                   int32_t stride, const int32_t padding[4])
{
    mm_attributes attributes = {.conv2d = {.stride = stride,
                                           .pad_top = padding[0],
                                           .pad_left = padding[1],
                                           .pad_bottom = padding[2],
                                           .pad_right = padding[3]}};
    return mm_graph_add(g, MM_OP_conv2d, 4, (mm_node *[]){x, weight, bias, addend}, &attributes);
}

static bool check_temporal(mm_graph *g, const mm_node *node)
{
    const mm_node *x = node->source[0], *weight = node->source[1];
    if (!check_rank(g, node, weight, 3, "the weight"))
        return false;
    if (weight->shape.dim[0] != 3)
        return mm_shape_fail(g, node, "%lld taps instead of 3", (long long)weight->shape.dim[0]);
    if (x->shape.rank < 2 || node->attr.temporal_conv.frames < 1 ||
        x->shape.dim[0] % node->attr.temporal_conv.frames != 0)
        return mm_shape_fail(g, node, "the input does not split into clips of %lld frames",
                             (long long)node->attr.temporal_conv.frames);
    return true;
}

bool mm_infer_temporal_conv(mm_graph *g, mm_node *node)
{
    const mm_node *x = node->source[0], *weight = node->source[1];
    if (!check_temporal(g, node))
        return false;
    node->shape = x->shape;
    node->shape.dim[x->shape.rank - 1] = weight->shape.dim[1];
    node->dtype = mm_product_result(node);
    return check_channels(g, node, mm_node_columns(x), weight->shape.dim[2]) &&
           mm_check_vector(g, node, node->source_count > 2 ? node->source[2] : NULL,
                           weight->shape.dim[1], "the bias") &&
           check_addend(g, node);
}

bool mm_infer_temporal_conv_grad(mm_graph *g, mm_node *node)
{
    const mm_node *dy = node->source[0], *weight = node->source[1];
    if (!check_temporal(g, node))
        return false;
    node->shape = dy->shape;
    node->shape.dim[dy->shape.rank - 1] = weight->shape.dim[2];
    node->dtype = node->source[0]->dtype;
    return check_channels(g, node, mm_node_columns(dy), weight->shape.dim[1]);
}

double mm_flops_temporal_conv(const mm_node *node)
{
    return 2.0 * 3.0 * (double)mm_node_elements(node) * (double)node->source[1]->shape.dim[2];
}

double mm_flops_temporal_conv_grad(const mm_node *node)
{
    return 2.0 * 3.0 * (double)mm_node_elements(node) * (double)node->source[1]->shape.dim[1];
}

bool mm_gradient_temporal_conv(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    if (mm_wants_gradient(node, 1) || mm_wants_gradient(node, 2))
        return mm_refuse_gradients(g, node, 1);
    if (mm_wants_gradient(node, 0) &&
        !(gradient[0] = mm_graph_add(g, MM_OP_temporal_conv_grad, 2,
                                     (mm_node *[]){dy, node->source[1]}, &node->attr)))
        return false;
    if (mm_wants_gradient(node, 3))
        gradient[3] = dy;
    return true;
}

mm_node *mm_temporal_conv(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, mm_node *addend,
                          int64_t frames)
{
    mm_attributes attributes = {.temporal_conv = {.frames = frames}};
    return mm_graph_add(g, MM_OP_temporal_conv, 4, (mm_node *[]){x, weight, bias, addend},
                        &attributes);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

#include "base/memory.h"

/* heads * head_width, checked. */
static bool inner_channels(mm_graph *g, const mm_node *node, int64_t heads, int64_t head_width,
                           int64_t *out)
{
    if (heads > 0 && head_width > 0 && mm_mul_i64(heads, head_width, out) && *out <= INT64_MAX / 4)
        return true;
    return mm_shape_fail(g, node, "%lld heads of width %lld", (long long)heads,
                         (long long)head_width);
}

static bool check_channels(mm_graph *g, const mm_node *node, const mm_node *x, int64_t want)
{
    return mm_node_columns(x) == want ||
           mm_shape_fail(g, node, "%lld channels instead of %lld", (long long)mm_node_columns(x),
                         (long long)want);
}

static bool check_self(mm_graph *g, const mm_node *node, int64_t *inner)
{
    const mm_node *qkv = node->source[0];
    mm_sequences s = node->attr.attention.sequences;
    int64_t rows;
    if (!inner_channels(g, node, node->attr.attention.heads, node->attr.attention.head_width,
                        inner) ||
        !check_channels(g, node, qkv, 3 * *inner))
        return false;
    if (s.outer < 1 || s.length < 1 || s.inner < 1 || !mm_mul_i64(s.outer, s.length, &rows) ||
        !mm_mul_i64(rows, s.inner, &rows) || rows != mm_node_rows(qkv))
        return mm_shape_fail(g, node, "%lld rows are not %lld x %lld x %lld",
                             (long long)mm_node_rows(qkv), (long long)s.outer, (long long)s.length,
                             (long long)s.inner);
    return true;
}

bool mm_infer_attention(mm_graph *g, mm_node *node)
{
    int64_t inner = 0;
    if (!check_self(g, node, &inner))
        return false;
    node->shape = node->source[0]->shape;
    node->shape.dim[node->shape.rank - 1] = inner;
    node->dtype = node->source[0]->dtype;
    return true;
}

bool mm_infer_attention_map(mm_graph *g, mm_node *node)
{
    int64_t inner = 0;
    if (!check_self(g, node, &inner))
        return false;
    mm_sequences s = node->attr.attention.sequences;
    node->shape = MM_SHAPE(s.outer * s.inner, s.length, s.length);
    node->dtype = MM_F32;
    return true;
}

static bool check_cross(mm_graph *g, const mm_node *node)
{
    const mm_node *q = node->source[0], *kv = node->source[1];
    int64_t inner = 0;
    if (!inner_channels(g, node, node->attr.cross_attention.heads,
                        node->attr.cross_attention.head_width, &inner) ||
        !check_channels(g, node, q, inner) || !check_channels(g, node, kv, 2 * inner))
        return false;
    if (kv->shape.rank != 3 || mm_node_rows(q) % kv->shape.dim[0] != 0)
        return mm_shape_fail(g, node, "%lld rows of queries for keys of %d dimensions",
                             (long long)mm_node_rows(q), kv->shape.rank);
    return true;
}

bool mm_infer_cross_attention(mm_graph *g, mm_node *node)
{
    return check_cross(g, node) && mm_infer_like_first(g, node);
}

bool mm_infer_cross_attention_map(mm_graph *g, mm_node *node)
{
    if (!check_cross(g, node))
        return false;
    node->shape = MM_SHAPE(mm_node_rows(node->source[0]), node->source[1]->shape.dim[1]);
    node->dtype = MM_F32;
    return true;
}

/* One product of queries and keys over all heads. */
static double self_scores(const mm_node *node)
{
    mm_sequences s = node->attr.attention.sequences;
    double inner = (double)node->attr.attention.heads * (double)node->attr.attention.head_width;
    return 2.0 * (double)s.outer * (double)s.inner * (double)s.length * (double)s.length * inner;
}

static double cross_scores(const mm_node *node)
{
    return 2.0 * (double)mm_node_elements(node->source[0]) * (double)node->source[1]->shape.dim[1];
}

double mm_flops_attention(const mm_node *node)
{
    return 2.0 * self_scores(node);
}

double mm_flops_attention_grad(const mm_node *node)
{
    return 5.0 * self_scores(node);
}

double mm_flops_attention_map(const mm_node *node)
{
    return self_scores(node);
}

double mm_flops_attention_map_grad(const mm_node *node)
{
    return 3.0 * self_scores(node);
}

double mm_flops_cross_attention(const mm_node *node)
{
    return 2.0 * cross_scores(node);
}

double mm_flops_cross_attention_grad(const mm_node *node)
{
    return 3.0 * cross_scores(node);
}

double mm_flops_cross_attention_map(const mm_node *node)
{
    return cross_scores(node);
}

double mm_flops_cross_attention_map_grad(const mm_node *node)
{
    return 2.0 * cross_scores(node);
}

static bool self_gradient(mm_graph *g, mm_node *node, mm_op op, mm_node *dy, mm_node **gradient)
{
    gradient[0] = mm_graph_add(g, op, 2, (mm_node *[]){node->source[0], dy}, &node->attr);
    return gradient[0] != NULL;
}

bool mm_gradient_attention(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return self_gradient(g, node, MM_OP_attention_grad, dy, gradient);
}

bool mm_gradient_attention_map(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return self_gradient(g, node, MM_OP_attention_map_grad, dy, gradient);
}

static bool cross_gradient(mm_graph *g, mm_node *node, mm_op op, mm_node *dy, mm_node **gradient)
{
    if (!mm_refuse_gradients(g, node, 1))
        return false;
    gradient[0] =
        mm_graph_add(g, op, 3, (mm_node *[]){node->source[0], node->source[1], dy}, &node->attr);
    return gradient[0] != NULL;
}

bool mm_gradient_cross_attention(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return cross_gradient(g, node, MM_OP_cross_attention_grad, dy, gradient);
}

bool mm_gradient_cross_attention_map(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return cross_gradient(g, node, MM_OP_cross_attention_map_grad, dy, gradient);
}

mm_node *mm_attention(mm_graph *g, mm_node *qkv, mm_sequences sequences, int64_t heads,
                      int64_t head_width, bool causal)
{
    mm_attributes attributes = {.attention = {sequences, heads, head_width, causal}};
    return mm_graph_add(g, MM_OP_attention, 1, &qkv, &attributes);
}

mm_node *mm_attention_map(mm_graph *g, mm_node *qkv, mm_sequences sequences, int64_t heads,
                          int64_t head_width)
{
    mm_attributes attributes = {.attention = {sequences, heads, head_width, false}};
    return mm_graph_add(g, MM_OP_attention_map, 1, &qkv, &attributes);
}

mm_node *mm_cross_attention(mm_graph *g, mm_node *q, mm_node *kv, int64_t heads, int64_t head_width)
{
    return mm_graph_add(g, MM_OP_cross_attention, 2, (mm_node *[]){q, kv},
                        &(mm_attributes){.cross_attention = {heads, head_width}});
}

mm_node *mm_cross_attention_map(mm_graph *g, mm_node *q, mm_node *kv, int64_t heads,
                                int64_t head_width)
{
    return mm_graph_add(g, MM_OP_cross_attention_map, 2, (mm_node *[]){q, kv},
                        &(mm_attributes){.cross_attention = {heads, head_width}});
}

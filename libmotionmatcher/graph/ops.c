/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops.h"

#include <stdarg.h>
#include <stdio.h>

#include "graph/ops/rows.h"

static const mm_op_row rows[MM_OP_COUNT] = {
#define MM_OP(name, least, most, infer, gradient, flops, reuse) \
    [MM_OP_##name] = {#name, least, most, infer, gradient, flops, reuse},
#include "graph/ops.def"
#undef MM_OP
};

const mm_op_row *mm_op_describe(mm_op op)
{
    return &rows[op];
}

bool mm_op_differentiable(mm_op op)
{
    return rows[op].gradient != mm_no_gradient;
}

bool mm_shape_fail(mm_graph *g, const mm_node *node, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    mm_graph_fail(g, MM_ERR_INPUT, "%s: %s: %s", node->name, rows[node->op].name, text);
    return false;
}

bool mm_wants_gradient(const mm_node *node, int32_t i)
{
    return i < node->source_count && node->source[i] && node->source[i]->needs_gradient;
}

bool mm_refuse_gradients(mm_graph *g, const mm_node *node, int32_t first)
{
    for (int32_t i = first; i < node->source_count; i++) {
        if (mm_wants_gradient(node, i)) {
            mm_graph_fail(g, MM_ERR_UNSUPPORTED,
                          "%s: %s has no gradient with respect to its source %d", node->name,
                          rows[node->op].name, i + 1);
            return false;
        }
    }
    return true;
}

bool mm_no_gradient(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    (void)dy;
    (void)gradient;
    mm_graph_fail(g, MM_ERR_UNSUPPORTED, "%s: %s has no gradient", node->name, rows[node->op].name);
    return false;
}

mm_node *mm_view_like(mm_graph *g, mm_node *x, const mm_node *like)
{
    if (!x || mm_shape_equal(&x->shape, &like->shape))
        return x;
    return mm_view(g, x, &like->shape);
}

mm_dtype mm_product_result(const mm_node *node)
{
    const mm_node *addend = mm_node_addend(node);
    return addend && addend->dtype == MM_F32 ? MM_F32 : node->source[0]->dtype;
}

bool mm_check_vector(mm_graph *g, const mm_node *node, const mm_node *vector, int64_t length,
                     const char *what)
{
    char text[128];
    if (!vector || (vector->shape.rank == 1 && vector->shape.dim[0] == length))
        return true;
    return mm_shape_fail(g, node, "%s is %s instead of [%lld]", what,
                         mm_shape_text(&vector->shape, text, sizeof(text)), (long long)length);
}

bool mm_infer_given(mm_graph *g, mm_node *node)
{
    (void)g;
    (void)node;
    return true;
}

bool mm_infer_like_first(mm_graph *g, mm_node *node)
{
    (void)g;
    node->shape = node->source[0]->shape;
    node->dtype = node->source[0]->dtype;
    return true;
}

bool mm_infer_same_pair(mm_graph *g, mm_node *node)
{
    const mm_node *a = node->source[0], *b = node->source[1];
    char left[128], right[128];
    if (!mm_shape_equal(&a->shape, &b->shape) || a->dtype != b->dtype)
        return mm_shape_fail(g, node, "%s %s and %s %s differ", mm_dtype_name(a->dtype),
                             mm_shape_text(&a->shape, left, sizeof(left)), mm_dtype_name(b->dtype),
                             mm_shape_text(&b->shape, right, sizeof(right)));
    return mm_infer_like_first(g, node);
}

double mm_flops_none(const mm_node *node)
{
    (void)node;
    return 0.0;
}

double mm_flops_elementwise(const mm_node *node)
{
    double most = (double)mm_node_elements(node);
    for (int32_t i = 0; i < node->source_count; i++) {
        if (node->source[i] && (double)mm_node_elements(node->source[i]) > most)
            most = (double)mm_node_elements(node->source[i]);
    }
    return most;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

mm_node *mm_input(mm_graph *g, const char *name, mm_dtype dtype, const mm_shape *shape)
{
    const char *copy = mm_arena_strdup(&g->arena, name);
    if (!copy)
        return mm_graph_fail(g, MM_ERR_MEMORY, "not enough memory for the name of an input");
    return mm_graph_append(
        g, &(mm_node){.op = MM_OP_input, .name = copy, .dtype = dtype, .shape = *shape});
}

static mm_node *add_weight(mm_graph *g, mm_op op, mm_weight *weight)
{
    if (!weight)
        return mm_graph_fail(g, MM_ERR_INPUT, "%s: a weight could not be declared", g->scope);
    return mm_graph_append(g, &(mm_node){.op = op,
                                         .name = weight->name,
                                         .dtype = weight->dtype,
                                         .shape = weight->shape,
                                         .weight = weight});
}

mm_node *mm_weight_node(mm_graph *g, mm_weight *weight)
{
    return add_weight(g, MM_OP_weight, weight);
}

mm_node *mm_parameter_node(mm_graph *g, mm_weight *weight)
{
    if (weight && weight->dtype != MM_F32)
        return mm_graph_fail(g, MM_ERR_USAGE, "%s: a parameter must be f32", weight->name);
    for (int32_t i = 0; i < g->count; i++) {
        if (g->node[i]->op == MM_OP_parameter && g->node[i]->weight == weight)
            return g->error.status == MM_OK ? g->node[i] : NULL;
    }
    return add_weight(g, MM_OP_parameter, weight);
}

mm_node *mm_view(mm_graph *g, mm_node *x, const mm_shape *shape)
{
    return mm_graph_append(
        g, &(mm_node){.op = MM_OP_view, .source_count = 1, .source = {x}, .shape = *shape});
}

mm_node *mm_detach(mm_graph *g, mm_node *x)
{
    mm_node *y = x ? mm_view(g, x, &x->shape) : NULL;
    if (y)
        y->needs_gradient = false;
    return y;
}

bool mm_infer_view(mm_graph *g, mm_node *node)
{
    const mm_node *x = node->source[0];
    char from[128], to[128];
    int64_t elements;
    if (!mm_shape_elements_checked(&node->shape, &elements) || elements != mm_node_elements(x))
        return mm_shape_fail(g, node, "%s cannot be seen as %s",
                             mm_shape_text(&x->shape, from, sizeof(from)),
                             mm_shape_text(&node->shape, to, sizeof(to)));
    node->dtype = x->dtype;
    return true;
}

bool mm_gradient_view(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    gradient[0] = mm_view_like(g, dy, node->source[0]);
    return gradient[0] != NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* One network on two inputs that differ little, built at once. */
#include "graph/ops/rows.h"

static mm_node *twin_or_same(mm_node *source)
{
    return source && source->twin ? source->twin : source;
}

static bool has_twin(const mm_node *source)
{
    return source && source->twin;
}

static bool is_linear(const mm_node *node)
{
    return node->op == MM_OP_matmul || node->op == MM_OP_conv2d || node->op == MM_OP_temporal_conv;
}

static bool is_rounded(const mm_node *node)
{
    return is_linear(node) && mm_node_rounds(node) && node->source[1]->op == MM_OP_weight;
}

/* W x' + b + r' = (W x + b + r) + (r' - r) + W (x' - x). */
static mm_node *append_by_difference(mm_graph *g, mm_node *node)
{
    mm_node *x = node->source[0], *addend = mm_node_addend(node);
    mm_node *base = node;
    if (has_twin(addend))
        base = mm_add(g, base, mm_difference(g, addend->twin, addend, addend->dtype));
    if (!has_twin(x))
        return base;
    mm_node *change = mm_difference(g, x->twin, x, node->source[1]->dtype);
    return mm_graph_add(g, node->op, 4, (mm_node *[]){change, node->source[1], NULL, base},
                        &node->attr);
}

static mm_node *append_alike(mm_graph *g, const mm_node *node)
{
    mm_node twin = *node;
    for (int32_t i = 0; i < node->source_count; i++)
        twin.source[i] = twin_or_same(node->source[i]);
    return mm_graph_append(g, &twin);
}

static bool depends_on_twin(const mm_node *node)
{
    for (int32_t i = 0; i < node->source_count; i++)
        if (has_twin(node->source[i]))
            return true;
    return false;
}

void mm_graph_append_twin(mm_graph *g)
{
    mm_node *node = g->untwinned;
    g->untwinned = NULL;
    if (!node || !depends_on_twin(node))
        return;
    const char *scope = g->scope;
    g->scope = node->name;
    g->twins = false;
    node->twin = is_rounded(node) ? append_by_difference(g, node) : append_alike(g, node);
    g->twins = true;
    g->scope = scope;
}

void mm_graph_begin_twins(mm_graph *g, mm_node *x, mm_node *other)
{
    if (g->error.status != MM_OK)
        return;
    if (!mm_shape_equal(&x->shape, &other->shape) || x->dtype != other->dtype)
        mm_graph_fail(g, MM_ERR_USAGE, "%s: twins differ in shape or type", g->scope);
    x->twin = other;
    g->twins = true;
}

void mm_graph_end_twins(mm_graph *g)
{
    mm_graph_append_twin(g);
    g->twins = false;
}

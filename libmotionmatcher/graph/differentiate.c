/* SPDX-License-Identifier: BSD-2-Clause */
/* Reverse-mode differentiation: one sweep from the loss back to the parameters. */
#include "base/memory.h"
#include "graph/ops/rows.h"

/* Adds `term` to what has arrived at a source so far. */
static bool accumulate(mm_graph *g, mm_node **sum, const mm_node *source, mm_node *term)
{
    if (!mm_shape_equal(&term->shape, &source->shape))
        return mm_shape_fail(g, source, "its gradient has another shape");
    *sum = *sum ? mm_add(g, *sum, term) : term;
    return *sum != NULL;
}

static bool visit(mm_graph *g, mm_node *node, mm_node **gradient)
{
    mm_node *of_source[MM_MAX_SOURCES] = {NULL};
    g->scope = node->name;
    if (!mm_op_describe(node->op)->gradient(g, node, gradient[node->id], of_source))
        return false;
    for (int32_t i = 0; i < node->source_count; i++) {
        if (of_source[i] && mm_wants_gradient(node, i) &&
            !accumulate(g, &gradient[node->source[i]->id], node->source[i], of_source[i]))
            return false;
    }
    return true;
}

static void sweep(mm_graph *g, mm_node *loss, mm_node **gradient)
{
    g->scope = loss->name;
    /* A one that no backend needs a constant for. */
    gradient[loss->id] = mm_clamp(g, loss, 1.0f, 1.0f);
    for (int32_t id = loss->id; id >= 0 && g->error.status == MM_OK; id--) {
        mm_node *node = g->node[id];
        if (gradient[id] && node->op != MM_OP_parameter && node->needs_gradient &&
            !visit(g, node, gradient))
            return;
    }
}

static mm_status check(const mm_graph *g, const mm_node *loss, mm_node *const *parameters,
                       int32_t count, mm_error *error)
{
    MM_TRY(mm_graph_status(g, error));
    if (!loss || mm_node_elements(loss) != 1)
        return mm_fail(error, MM_ERR_USAGE, "only a scalar can be differentiated");
    for (int32_t i = 0; i < count; i++) {
        if (!parameters[i] || parameters[i]->op != MM_OP_parameter)
            return mm_fail(error, MM_ERR_USAGE, "number %d to differentiate for is no parameter",
                           i);
    }
    return MM_OK;
}

mm_status mm_graph_differentiate(mm_graph *graph, mm_node *loss, mm_node *const *parameters,
                                 int32_t count, mm_node **gradients, mm_error *error)
{
    MM_TRY(check(graph, loss, parameters, count, error));
    mm_node **gradient = mm_calloc((size_t)graph->count, sizeof(mm_node *));
    if (!gradient)
        return mm_fail_memory(error, "gradients", (size_t)graph->count * sizeof(mm_node *));
    int32_t forward_count = graph->count;
    const char *scope = graph->scope;
    graph->differentiating = true;
    if (loss->needs_gradient)
        sweep(graph, loss, gradient);
    graph->differentiating = false;
    graph->scope = scope;
    for (int32_t i = 0; i < count; i++)
        gradients[i] = parameters[i]->id < forward_count ? gradient[parameters[i]->id] : NULL;
    mm_free(gradient);
    return mm_graph_status(graph, error);
}

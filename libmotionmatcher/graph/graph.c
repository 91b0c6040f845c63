/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/ops/rows.h"

mm_status mm_graph_create(mm_graph **out, mm_dtype compute, mm_error *error)
{
    *out = NULL;
    mm_graph *graph = mm_calloc(1, sizeof(*graph));
    if (!graph)
        return mm_fail_memory(error, "a graph", sizeof(*graph));
    graph->compute = compute;
    graph->scope = "graph";
    *out = graph;
    return MM_OK;
}

void mm_graph_free(mm_graph **graph)
{
    if (!*graph)
        return;
    mm_arena_free(&(*graph)->arena);
    mm_free((*graph)->node);
    mm_free(*graph);
    *graph = NULL;
}

mm_status mm_graph_status(const mm_graph *graph, mm_error *error)
{
    if (graph->error.status != MM_OK && error)
        *error = graph->error;
    return graph->error.status;
}

mm_node *mm_graph_fail(mm_graph *graph, mm_status status, const char *format, ...)
{
    if (graph->error.status != MM_OK)
        return NULL;
    char text[MM_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    mm_fail(&graph->error, status, "%s", text);
    return NULL;
}

static bool reserve(mm_graph *g)
{
    if (g->count < g->capacity)
        return true;
    if (g->capacity > INT32_MAX / 2)
        return false;
    int32_t capacity = g->capacity ? 2 * g->capacity : 256;
    mm_node **node = mm_realloc(g->node, (size_t)capacity * sizeof(*node));
    if (!node)
        return false;
    g->node = node;
    g->capacity = capacity;
    return true;
}

static bool check_sources(mm_graph *g, const mm_node *node)
{
    const mm_op_row *row = mm_op_describe(node->op);
    bool good = node->source_count >= row->least_sources && node->source_count <= row->most_sources;
    for (int32_t i = 0; good && i < node->source_count; i++) {
        const mm_node *source = node->source[i];
        if (source)
            good = source->id < g->count && g->node[source->id] == source;
        else
            good = i >= row->least_sources;
    }
    if (!good)
        mm_graph_fail(g, MM_ERR_USAGE, "%s: %s takes %d to %d sources of the same graph",
                      node->name, row->name, row->least_sources, row->most_sources);
    return good;
}

/* A 64th of the range is kept free so that bytes, paddings and rounding never overflow. */
static bool check_shape(mm_graph *g, const mm_node *node)
{
    int64_t elements;
    char text[160];
    if (node->shape.rank >= 0 && node->shape.rank <= MM_MAX_RANK &&
        mm_shape_elements_checked(&node->shape, &elements) && elements > 0 &&
        elements <= INT64_MAX / 64)
        return true;
    if (node->shape.rank < 0 || node->shape.rank > MM_MAX_RANK)
        return mm_shape_fail(g, node, "%d dimensions are too many", node->shape.rank);
    return mm_shape_fail(g, node, "a result of shape %s is empty or too large",
                         mm_shape_text(&node->shape, text, sizeof(text)));
}

static void inherit(mm_graph *g, mm_node *node)
{
    node->needs_gradient = node->op == MM_OP_parameter;
    for (int32_t i = 0; i < node->source_count; i++)
        node->needs_gradient |= node->source[i] && node->source[i]->needs_gradient;
    node->backward = g->differentiating;
    node->segment = g->differentiating ? 0 : g->segment;
    node->precise = g->precise && !g->differentiating;
}

static mm_node *append(mm_graph *g, const mm_node *prototype)
{
    if (g->error.status != MM_OK)
        return NULL;
    mm_node draft = *prototype;
    if (!draft.name)
        draft.name = g->scope;
    if (!check_sources(g, &draft) || !mm_op_describe(draft.op)->infer(g, &draft) ||
        !check_shape(g, &draft))
        return NULL;
    inherit(g, &draft);
    draft.id = g->count;
    draft.twin = NULL;
    mm_node *node = mm_arena_alloc(&g->arena, sizeof(*node));
    if (!node || !reserve(g))
        return mm_graph_fail(g, MM_ERR_MEMORY, "not enough memory for a graph of %d nodes",
                             g->count + 1);
    *node = draft;
    g->node[g->count++] = node;
    return node;
}

mm_node *mm_graph_append(mm_graph *g, const mm_node *prototype)
{
    mm_node *node = append(g, prototype);
    if (!node || !g->twins)
        return node;
    mm_graph_append_twin(g);
    g->untwinned = node;
    return g->error.status == MM_OK ? node : NULL;
}

mm_node *mm_graph_add(mm_graph *graph, mm_op op, int32_t source_count, mm_node *const *source,
                      const mm_attributes *attributes)
{
    if (graph->error.status != MM_OK)
        return NULL;
    if (op <= MM_OP_view || op >= MM_OP_COUNT || source_count < 0 || source_count > MM_MAX_SOURCES)
        return mm_graph_fail(graph, MM_ERR_USAGE, "%s: no such op, or too many sources",
                             graph->scope);
    mm_node draft = {.op = op, .source_count = source_count};
    for (int32_t i = 0; i < source_count; i++)
        draft.source[i] = source[i];
    if (attributes)
        draft.attr = *attributes;
    return mm_graph_append(graph, &draft);
}

void mm_graph_set_scope(mm_graph *graph, const char *scope)
{
    const char *copy = mm_arena_strdup(&graph->arena, scope);
    if (copy)
        graph->scope = copy;
    else
        mm_graph_fail(graph, MM_ERR_MEMORY, "not enough memory for the name of a scope");
}

void mm_graph_set_precise(mm_graph *graph, bool precise)
{
    mm_graph_append_twin(graph);
    graph->precise = precise;
}

mm_dtype mm_graph_activations(const mm_graph *graph)
{
    return graph->precise ? MM_F32 : graph->compute;
}

void mm_graph_begin_segment(mm_graph *graph)
{
    mm_graph_append_twin(graph);
    graph->segment = ++graph->segment_count;
}

void mm_graph_end_segment(mm_graph *graph)
{
    mm_graph_append_twin(graph);
    graph->segment = 0;
}

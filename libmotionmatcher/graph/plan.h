/* SPDX-License-Identifier: BSD-2-Clause */
/* From a graph to a list of steps, each with its place in one arena. */
#ifndef MM_GRAPH_PLAN_H
#define MM_GRAPH_PLAN_H

#include "graph/graph.h"

/* What the backward pass finds of a segment's forward values. Values that leave the segment are
   always kept. */
typedef enum mm_recompute {
    MM_KEEP_ALL = 0,
    MM_RECOMPUTE_CHEAP, /* products, convolutions and attention are kept */
    MM_RECOMPUTE_ALL
} mm_recompute;

typedef struct mm_step {
    mm_node *node;                  /* a step that computes a value again has the same node */
    int32_t source[MM_MAX_SOURCES]; /* steps; -1: none */
    bool again;                     /* computes for the second time */
    int32_t value;                  /* step whose value this is a view of, or the step itself */
    int32_t last;                   /* of values: the last step that reads them */
    int32_t buffer;                 /* step whose buffer holds the value; -1: a weight's data */
    size_t offset;                  /* of the value in the arena */
    size_t workspace_offset;
} mm_step;

/* What is the same for every plan of one executable. All arrays go by node id. */
typedef struct mm_plan_request {
    const mm_graph *graph;
    const bool *live; /* an output depends on it */
    const bool *output;
    const bool *kept;        /* read outside its segment: never computed again */
    const size_t *workspace; /* bytes of the node's kernel */
    size_t alignment;
} mm_plan_request;

typedef struct mm_plan {
    mm_arena memory;
    mm_step *step;
    int32_t count;
    int32_t *of_node; /* the step that computes a node for the first time; -1: none */
    size_t arena_bytes, workspace_bytes, kept_bytes;
    double flops, again_flops;
    int32_t again_count;
} mm_plan;

/* Marks what the outputs depend on and what must be kept; arrays of one element per node. */
void mm_plan_mark(const mm_graph *graph, bool *live, const bool *output, bool *kept);

/* Lists the steps, with `mode` for every segment (NULL: all are kept). */
mm_status mm_plan_build(mm_plan *out, const mm_plan_request *request, const uint8_t *mode,
                        mm_error *error);
/* Gives every value and workspace its place. A plan that needs more than `limit` whatever the
   places (0: no limit) is left without them: arena_bytes is then what it needs at least. */
mm_status mm_plan_place(mm_plan *plan, const mm_plan_request *request, size_t limit,
                        mm_error *error);
void mm_plan_free(mm_plan *plan);

/* A built and placed plan of at most `budget` bytes (0: no limit) that computes as little as
   possible again; MM_ERR_MEMORY when there is none, unless `allow_over_budget`. */
mm_status mm_plan_choose(mm_plan *out, const mm_plan_request *request, size_t budget,
                         bool allow_over_budget, mm_error *error);

/* One block of memory that is needed from step `begin` to step `end`. */
typedef struct mm_block {
    int32_t begin, end;
    size_t bytes;
    size_t *offset; /* receives its place */
} mm_block;

/* Places blocks so that no two that are needed at one time overlap; reorders them. Writes the bytes
   that they take together. */
mm_status mm_layout(mm_block *block, int32_t count, size_t alignment, size_t *out, mm_error *error);

static inline bool mm_is_leaf(const mm_node *node)
{
    return node->op == MM_OP_input || node->op == MM_OP_weight || node->op == MM_OP_parameter;
}
/* Whether a kernel runs for the node. */
static inline bool mm_is_computed(const mm_node *node)
{
    return !mm_is_leaf(node) && node->op != MM_OP_view;
}

#endif

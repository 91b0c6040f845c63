/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A planned graph: dead nodes dropped, recomputation chosen for a memory budget, every buffer given
 * an offset in one arena, every kernel prepared. The peak is known before anything large is
 * allocated.
 */
#ifndef MM_GRAPH_EXECUTABLE_H
#define MM_GRAPH_EXECUTABLE_H

#include "graph/backend.h"

typedef struct mm_executable mm_executable;

typedef struct mm_compile_options {
    /* Most bytes for the arena (activations and workspace); 0: no limit. When the graph needs more,
       segments are recomputed in the backward pass, fewest FLOPs per byte first. */
    size_t arena_budget;
    /* Continue when even full recomputation does not fit, for a dry run that reports it. */
    bool allow_over_budget;
} mm_compile_options;

typedef struct mm_plan_summary {
    size_t arena_bytes;             /* activations, inputs, outputs, workspace: the arena's size */
    size_t workspace_bytes;         /* of these: the largest workspace of a kernel */
    size_t kept_bytes;              /* activations alive when the backward pass begins */
    double flops, recomputed_flops; /* of one run, and of these the recomputed ones */
    int32_t nodes, recomputed_nodes;
} mm_plan_summary;

/* Plans for the given outputs. The graph, its weights and the backend must outlive the executable.
   MM_ERR_MEMORY: does not fit the budget, says the least that would; MM_ERR_UNSUPPORTED: the
   backend has no kernel for a node. */
mm_status mm_executable_create(mm_executable **out, mm_graph *graph, mm_node *const *outputs,
                               int32_t output_count, mm_backend *backend,
                               const mm_compile_options *options, mm_error *error);
void mm_executable_free(mm_executable **executable);
void mm_executable_summary(const mm_executable *executable, mm_plan_summary *out);
/* A table of the plan, one line a node, for debugging; free with mm_free. */
char *mm_executable_describe(const mm_executable *executable);

/* Takes the arena's memory (done by the first write or run otherwise) and gives it back.
   Executables that never run at the same time may share one block: `shared` of at least
   arena_bytes, or NULL. */
mm_status mm_executable_allocate(mm_executable *executable, void *shared, mm_error *error);
void mm_executable_release(mm_executable *executable);

/* Inputs keep their value between runs. `bytes` must be the node's size. */
mm_status mm_executable_write(mm_executable *executable, const mm_node *input, const void *data,
                              size_t bytes, mm_error *error);
/* An output of the last run. */
mm_status mm_executable_read(mm_executable *executable, const mm_node *output, void *data,
                             size_t bytes, mm_error *error);

typedef struct mm_run_control {
    const atomic_int *cancel; /* non-zero stops before the next node; may be NULL */
    /* Called after every node when set. */
    void (*progress)(void *user, int32_t done, int32_t total);
    void *user;
    /* When set, seconds of every node are added to this array, one per graph node id. */
    double *seconds;
} mm_run_control;

/* MM_ERR_CANCELLED, MM_ERR_MEMORY, or what a kernel reports. */
mm_status mm_executable_run(mm_executable *executable, const mm_run_control *control,
                            mm_error *error);

#endif

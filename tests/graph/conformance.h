/* SPDX-License-Identifier: BSD-2-Clause */
/* Every op of graph/ops.def on a backend: its value against a plain reference in double precision,
   its gradient against finite differences of that reference. */
#ifndef MM_TESTS_GRAPH_CONFORMANCE_H
#define MM_TESTS_GRAPH_CONFORMANCE_H

#include "base/rng.h"
#include "graph/ops.h"
#include "reference.h"

typedef struct mm_suite {
    mm_backend *backend;
    bool precise;
    mm_dtype compute; /* of activations and matrices; vectors stay f32 */
    mm_op op;         /* that is being checked */
    mm_rng rng;
    uint64_t index;
    double tolerance; /* largest error of a value over the largest value */
    double gradient_tolerance;
    double worst_value[MM_OP_COUNT], worst_gradient[MM_OP_COUNT];
    int32_t checks[MM_OP_COUNT]; /* graphs in which a kernel of the op ran */
    int32_t failures;
    /* Of the graph that is being built. */
    mm_graph *graph;
    mm_weight_set set;
    float low, high; /* of the leaves' values */
} mm_suite;

/* The cases: one for every op that has a kernel. */
#define MM_LEAF(...)
#define MM_OP(name, ...) void mm_case_##name(mm_suite *s);
#include "graph/ops.def"
#undef MM_OP

/* A gradient op has no case of its own: it runs where its forward op's gradient is checked. */
#define MM_CASE_BY_GRADIENT(name)    \
    void mm_case_##name(mm_suite *s) \
    {                                \
        (void)s;                     \
    }

/* Starts an empty graph. */
void mm_suite_begin(mm_suite *s);
/* Runs what was built and compares it, and the graph's gradients where it has parameters; frees it.
 */
void mm_suite_check(mm_suite *s, mm_node *y);

int64_t mm_suite_roll(mm_suite *s, int64_t low, int64_t high);
/* Leaves with random values: with a gradient (at times copied, so that the copy's memory may be
   reused), without one, whole numbers of low..high. */
mm_node *mm_suite_parameter(mm_suite *s, mm_shape shape);
mm_node *mm_suite_weight(mm_suite *s, mm_shape shape);
mm_node *mm_suite_whole(mm_suite *s, mm_dtype dtype, mm_shape shape, int64_t low, int64_t high);

/* Runs all cases, with graphs that ask for precise sums or not, and reports; the number of
   failures. In bf16, cases of ops that are f32 alone are left out. */
int mm_conformance_run(mm_backend *backend, mm_dtype compute, bool precise);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the rows of ops.def name, and what their functions share. */
#ifndef MM_GRAPH_OPS_ROWS_H
#define MM_GRAPH_OPS_ROWS_H

#include "graph/ops.h"

typedef bool mm_infer_function(mm_graph *g, mm_node *node);
typedef bool mm_gradient_function(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient);
typedef double mm_flops_function(const mm_node *node);

/* Several rows share a function: a prototype may be repeated. */
#define MM_OP(name, least, most, infer, gradient, flops, reuse) \
    mm_infer_function infer;                                    \
    mm_gradient_function gradient;                              \
    mm_flops_function flops;
#include "graph/ops.def"
#undef MM_OP

/* Appends a node that is filled in but for its id: the common end of every builder. */
mm_node *mm_graph_append(mm_graph *g, const mm_node *prototype);

/* The twin of the node that waits for it, if there is one. */
void mm_graph_append_twin(mm_graph *g);

/* Fails the graph with "<scope>: <op>: <message>" and returns false. */
bool mm_shape_fail(mm_graph *g, const mm_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether the gradient with respect to source i is asked for. */
bool mm_wants_gradient(const mm_node *node, int32_t i);
/* Fails when a gradient is asked for any source from number `first` on. */
bool mm_refuse_gradients(mm_graph *g, const mm_node *node, int32_t first);
/* `x`, viewed under the shape of `like` where that differs. */
mm_node *mm_view_like(mm_graph *g, mm_node *x, const mm_node *like);

/* The type of a product's or convolution's result: its input's, or f32 where such an addend is. */
mm_dtype mm_product_result(const mm_node *node);

/* A vector of as many values as `node` has columns? NULL is fine. */
bool mm_check_vector(mm_graph *g, const mm_node *node, const mm_node *vector, int64_t length,
                     const char *what);

#endif

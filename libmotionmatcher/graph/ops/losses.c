/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

mm_node *mm_mean_squared_error(mm_graph *g, mm_node *a, mm_node *b)
{
    return mm_graph_add(g, MM_OP_mean_squared_error, 2, (mm_node *[]){a, b}, NULL);
}

bool mm_infer_scalar_of_pair(mm_graph *g, mm_node *node)
{
    if (!mm_infer_same_pair(g, node))
        return false;
    node->shape = (mm_shape){.rank = 0};
    node->dtype = MM_F32;
    return true;
}

bool mm_gradient_mean_squared_error(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    for (int32_t i = 0; i < 2; i++) {
        mm_node *sources[] = {node->source[i], node->source[1 - i], dy};
        if (mm_wants_gradient(node, i) &&
            !(gradient[i] = mm_graph_add(g, MM_OP_mean_squared_error_grad, 3, sources, NULL)))
            return false;
    }
    return true;
}

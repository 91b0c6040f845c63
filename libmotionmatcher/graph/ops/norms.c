/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

static bool check_scale_and_shift(mm_graph *g, const mm_node *node)
{
    int64_t channels = mm_node_columns(node->source[0]);
    return mm_check_vector(g, node, node->source[1], channels, "the weight") &&
           mm_check_vector(g, node, node->source[2], channels, "the bias");
}

bool mm_infer_group_norm(mm_graph *g, mm_node *node)
{
    const mm_node *x = node->source[0];
    int64_t groups = node->attr.group_norm.groups, instances = node->attr.group_norm.instances;
    if (groups < 1 || mm_node_columns(x) % groups != 0)
        return mm_shape_fail(g, node, "%lld channels do not split into %lld groups",
                             (long long)mm_node_columns(x), (long long)groups);
    if (instances < 1 || mm_node_rows(x) % instances != 0)
        return mm_shape_fail(g, node, "%lld rows do not split into %lld instances",
                             (long long)mm_node_rows(x), (long long)instances);
    return mm_infer_like_first(g, node) && check_scale_and_shift(g, node);
}

bool mm_infer_layer_norm(mm_graph *g, mm_node *node)
{
    return mm_infer_like_first(g, node) && check_scale_and_shift(g, node);
}

double mm_flops_norm(const mm_node *node)
{
    return 7.0 * (double)mm_node_elements(node);
}

double mm_flops_norm_grad(const mm_node *node)
{
    return 15.0 * (double)mm_node_elements(node);
}

bool mm_gradient_group_norm(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    mm_node *const *source = node->source;
    if (!mm_refuse_gradients(g, node, 1))
        return false;
    gradient[0] = mm_graph_add(g, MM_OP_group_norm_grad, 4,
                               (mm_node *[]){source[0], source[1], source[2], dy}, &node->attr);
    return gradient[0] != NULL;
}

bool mm_gradient_layer_norm(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    if (!mm_refuse_gradients(g, node, 1))
        return false;
    gradient[0] = mm_graph_add(g, MM_OP_layer_norm_grad, 3,
                               (mm_node *[]){node->source[0], node->source[1], dy}, &node->attr);
    return gradient[0] != NULL;
}

mm_node *mm_group_norm(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, int64_t groups,
                       float eps, int64_t instances, mm_activation_kind activation)
{
    mm_attributes attributes = {.group_norm = {groups, instances, eps, activation}};
    return mm_graph_add(g, MM_OP_group_norm, 3, (mm_node *[]){x, weight, bias}, &attributes);
}

mm_node *mm_layer_norm(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, float eps)
{
    mm_attributes attributes = {.layer_norm = {.eps = eps}};
    return mm_graph_add(g, MM_OP_layer_norm, 3, (mm_node *[]){x, weight, bias}, &attributes);
}

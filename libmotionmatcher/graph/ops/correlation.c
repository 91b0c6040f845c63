/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/ops/rows.h"

#define MOST_RADIUS 15 /* a row of the result stays below 2^20 values */

mm_node *mm_patch_correlation(mm_graph *g, mm_node *map, mm_node *origins, mm_node *places,
                              int32_t radius, float scale)
{
    mm_attributes attributes = {.patch_correlation = {radius, scale}};
    return mm_graph_add(g, MM_OP_patch_correlation, 3, (mm_node *[]){map, origins, places},
                        &attributes);
}

bool mm_infer_patch_correlation(mm_graph *g, mm_node *node)
{
    const mm_shape *map = &node->source[0]->shape, *origins = &node->source[1]->shape,
                   *places = &node->source[2]->shape;
    int32_t radius = node->attr.patch_correlation.radius;
    if (map->rank != 4 || origins->rank != 2 || places->rank != 3)
        return mm_shape_fail(g, node, "needs a map, the points' origins and their places");
    if (origins->dim[1] != 2 || !mm_shape_equal(places, &MM_SHAPE(map->dim[0], origins->dim[0], 2)))
        return mm_shape_fail(g, node, "the places are not two numbers for each frame and point");
    if (radius < 1 || radius > MOST_RADIUS)
        return mm_shape_fail(g, node, "a radius of %d is not in 1..%d", radius, MOST_RADIUS);
    int64_t patch = (2 * radius + 1) * (2 * radius + 1);
    node->shape = MM_SHAPE(map->dim[0], origins->dim[0], patch * patch);
    node->dtype = MM_F32;
    return true;
}

double mm_flops_patch_correlation(const mm_node *node)
{
    return 2.0 * (double)mm_node_elements(node) * (double)mm_node_columns(node->source[0]);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

static void group_norm(mm_suite *s, int64_t frames, int64_t instances, int64_t groups,
                       mm_activation_kind activation)
{
    int64_t channels = groups * mm_suite_roll(s, 1, 7);
    mm_suite_begin(s);
    mm_node *x = mm_suite_parameter(s, MM_SHAPE(frames, 3, 5, channels));
    mm_node *weight = mm_suite_weight(s, MM_SHAPE(channels));
    mm_node *bias = mm_suite_weight(s, MM_SHAPE(channels));
    mm_suite_check(s,
                   mm_group_norm(s->graph, x, weight, bias, groups, 1e-5f, instances, activation));
}

void mm_case_group_norm(mm_suite *s)
{
    group_norm(s, 4, 4, 8, MM_ACTIVATION_SILU);
    group_norm(s, 4, 2, 4, MM_ACTIVATION_SILU);
    group_norm(s, 3, 1, 16, MM_ACTIVATION_NONE);
    group_norm(s, 2, 2, 1, MM_ACTIVATION_NONE);
    group_norm(s, 1, 1, 32, MM_ACTIVATION_GELU);
}

MM_CASE_BY_GRADIENT(group_norm_grad)

void mm_case_layer_norm(mm_suite *s)
{
    for (int i = 0; i < 4; i++) {
        int64_t channels = mm_suite_roll(s, 2, 90);
        mm_suite_begin(s);
        mm_node *x = mm_suite_parameter(s, MM_SHAPE(2, 7, channels));
        mm_node *weight = mm_suite_weight(s, MM_SHAPE(channels));
        mm_suite_check(
            s, mm_layer_norm(s->graph, x, weight, mm_suite_weight(s, MM_SHAPE(channels)), 1e-5f));
    }
}

MM_CASE_BY_GRADIENT(layer_norm_grad)

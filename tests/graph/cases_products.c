/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

static void general(mm_suite *s, bool ta, bool tb, bool optional)
{
    int64_t m = mm_suite_roll(s, 1, 19), n = mm_suite_roll(s, 1, 21), k = mm_suite_roll(s, 1, 33);
    /* In bf16 these are the gradients of weights, in f32 and without a gradient of their own. */
    bool last = ta && s->compute == MM_BF16;
    mm_node *(*leaf)(mm_suite *, mm_shape) = last ? mm_suite_weight : mm_suite_parameter;
    mm_suite_begin(s);
    mm_node *a = leaf(s, ta ? MM_SHAPE(k, m) : MM_SHAPE(m, k));
    mm_node *b = leaf(s, tb ? MM_SHAPE(n, k) : MM_SHAPE(k, n));
    mm_node *bias = optional ? mm_suite_weight(s, MM_SHAPE(n)) : NULL;
    mm_node *addend = optional && !last ? mm_suite_parameter(s, MM_SHAPE(m, n)) : NULL;
    mm_attributes attributes = {.matmul = {ta, tb, 1, 0.75f}};
    mm_suite_check(s, mm_matmul(s->graph, a, b, bias, addend, &attributes));
}

static void linear(mm_suite *s, bool trainable)
{
    int64_t n = mm_suite_roll(s, 1, 40), k = mm_suite_roll(s, 1, 70);
    mm_suite_begin(s);
    mm_node *x = mm_suite_parameter(s, MM_SHAPE(2, 3, 5, k));
    mm_node *w =
        trainable ? mm_suite_parameter(s, MM_SHAPE(n, k)) : mm_suite_weight(s, MM_SHAPE(n, k));
    mm_node *addend = mm_suite_parameter(s, MM_SHAPE(2, 3, 5, n));
    mm_suite_check(s, mm_linear(s->graph, x, w, mm_suite_weight(s, MM_SHAPE(n)), addend));
}

static void grouped(mm_suite *s, int64_t groups)
{
    int64_t n = mm_suite_roll(s, 1, 17), k = mm_suite_roll(s, 1, 9);
    mm_suite_begin(s);
    mm_node *x = mm_suite_parameter(s, MM_SHAPE(3, 7, groups * k));
    mm_suite_check(s,
                   mm_grouped_linear(s->graph, x, mm_suite_parameter(s, MM_SHAPE(groups, n, k))));
}

void mm_case_matmul(mm_suite *s)
{
    for (int i = 0; i < 8; i++)
        general(s, i & 1, i & 2, i & 4);
    for (int i = 0; i < 4; i++)
        linear(s, i & 1);
    for (int64_t groups = 1; groups <= 3; groups++)
        grouped(s, groups);
}

static void conv2d(mm_suite *s, int64_t ci, int64_t co, int64_t taps, int32_t stride,
                   const int32_t padding[4], bool addend)
{
    int64_t h = mm_suite_roll(s, 4, 9), w = mm_suite_roll(s, 3, 8);
    mm_suite_begin(s);
    mm_node *x = mm_suite_parameter(s, MM_SHAPE(2, h, w, ci));
    mm_node *weight = mm_suite_weight(s, MM_SHAPE(co, ci, taps, taps));
    mm_node *bias = mm_suite_weight(s, MM_SHAPE(co));
    mm_node *y = mm_conv2d(s->graph, x, weight, bias, NULL, stride, padding);
    if (addend)
        y = mm_conv2d(s->graph, x, weight, bias, mm_suite_parameter(s, y->shape), stride, padding);
    mm_suite_check(s, y);
}

void mm_case_conv2d(mm_suite *s)
{
    const int32_t same[4] = {1, 1, 1, 1}, none[4] = {0}, late[4] = {0, 0, 1, 1};
    conv2d(s, 4, 7, 3, 1, same, false);
    conv2d(s, 16, 32, 3, 1, same, true);
    conv2d(s, 5, 3, 1, 1, none, true);
    conv2d(s, 8, 16, 3, 2, same, false);
    conv2d(s, 3, 5, 3, 2, late, true);
}

MM_CASE_BY_GRADIENT(conv2d_grad)

void mm_case_temporal_conv(mm_suite *s)
{
    for (int64_t frames = 1; frames <= 4; frames++) {
        int64_t ci = mm_suite_roll(s, 1, 20), co = mm_suite_roll(s, 1, 20);
        mm_suite_begin(s);
        mm_node *x = mm_suite_parameter(s, MM_SHAPE(2 * frames, 3, 2, ci));
        mm_node *weight = mm_suite_weight(s, MM_SHAPE(3, co, ci));
        mm_node *bias = mm_suite_weight(s, MM_SHAPE(co));
        mm_node *addend = frames & 1 ? mm_suite_parameter(s, MM_SHAPE(2 * frames, 3, 2, co)) : NULL;
        mm_suite_check(s, mm_temporal_conv(s->graph, x, weight, bias, addend, frames));
    }
}

MM_CASE_BY_GRADIENT(temporal_conv_grad)

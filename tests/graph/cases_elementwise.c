/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

static mm_shape odd_shape(mm_suite *s)
{
    return MM_SHAPE(mm_suite_roll(s, 1, 5), mm_suite_roll(s, 1, 7), mm_suite_roll(s, 1, 37));
}

void mm_case_activation(mm_suite *s)
{
    for (int kind = MM_ACTIVATION_NONE; kind <= MM_ACTIVATION_RELU; kind++) {
        for (int i = 0; i < 2; i++) {
            mm_suite_begin(s);
            s->low = i ? -4.0f : -40.0f;
            s->high = i ? 4.0f : 40.0f;
            mm_node *x = mm_suite_parameter(s, odd_shape(s));
            mm_suite_check(s, mm_activation(s->graph, x, (mm_activation_kind)kind));
        }
    }
}

MM_CASE_BY_GRADIENT(activation_grad)

void mm_case_geglu(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_suite_begin(s);
        s->low = -3.0f;
        s->high = 3.0f;
        mm_node *x = mm_suite_parameter(s, MM_SHAPE(2, 5, 2 * mm_suite_roll(s, 1, 40)));
        mm_suite_check(s, mm_geglu(s->graph, x));
    }
}

MM_CASE_BY_GRADIENT(geglu_grad)

void mm_case_add(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_shape shape = odd_shape(s);
        mm_suite_begin(s);
        mm_node *a = mm_suite_parameter(s, shape);
        mm_suite_check(s, mm_add(s->graph, a, i ? mm_suite_parameter(s, shape) : a));
    }
}

void mm_case_difference(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_shape shape = odd_shape(s);
        mm_suite_begin(s);
        mm_node *a = mm_suite_parameter(s, shape);
        mm_node *b = i ? mm_suite_parameter(s, shape) : a;
        mm_suite_check(s, mm_difference(s->graph, a, b, s->compute));
    }
}

void mm_case_scale(mm_suite *s)
{
    mm_suite_begin(s);
    mm_suite_check(s, mm_scale(s->graph, mm_suite_parameter(s, odd_shape(s)), -1.7f));
}

void mm_case_combine(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_shape shape = odd_shape(s);
        mm_suite_begin(s);
        mm_node *coefficients = mm_suite_weight(s, MM_SHAPE(4));
        mm_node *a = mm_suite_parameter(s, shape);
        mm_node *b = i ? mm_suite_parameter(s, shape) : NULL;
        mm_suite_check(s, mm_combine(s->graph, coefficients, a, 3, b, 1));
    }
}

void mm_case_clamp(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_suite_begin(s);
        mm_suite_check(s, mm_clamp(s->graph, mm_suite_parameter(s, odd_shape(s)), -0.4f, 0.7f));
    }
}

MM_CASE_BY_GRADIENT(clamp_grad)

void mm_case_dropout(mm_suite *s)
{
    for (uint32_t layer = 0; layer < 3; layer++) {
        mm_suite_begin(s);
        mm_node *x = mm_suite_parameter(s, odd_shape(s));
        mm_node *key = mm_suite_whole(s, MM_I32, MM_SHAPE(3), -2147483647, 2147483647);
        mm_suite_check(s, mm_dropout(s->graph, x, key, 0.1f + 0.2f * (float)layer, layer));
    }
}

/* To bf16 and back; in f32 nothing is converted. */
void mm_case_convert(mm_suite *s)
{
    for (int64_t count = 1; count < 20000; count = 7 * count + 3) {
        mm_suite_begin(s);
        mm_node *x = mm_suite_parameter(s, MM_SHAPE(count));
        mm_suite_check(s, mm_cast(s->graph, mm_cast(s->graph, x, MM_F32), MM_BF16));
    }
}

void mm_case_add_rows(mm_suite *s)
{
    for (int64_t batches = 1; batches <= 3; batches++) {
        int64_t channels = mm_suite_roll(s, 1, 40);
        mm_suite_begin(s);
        mm_node *x = mm_suite_parameter(s, MM_SHAPE(2 * batches, 3, 2, channels));
        mm_suite_check(s,
                       mm_add_rows(s->graph, x, mm_suite_weight(s, MM_SHAPE(batches, channels))));
    }
}

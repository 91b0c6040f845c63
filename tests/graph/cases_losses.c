/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

void mm_case_mean_squared_error(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_shape shape = MM_SHAPE(mm_suite_roll(s, 1, 5), mm_suite_roll(s, 1, 50));
        mm_suite_begin(s);
        mm_node *a = mm_suite_parameter(s, shape);
        mm_node *b = i ? mm_suite_parameter(s, shape) : mm_suite_weight(s, shape);
        mm_suite_check(s, mm_mean_squared_error(s->graph, a, b));
    }
}

MM_CASE_BY_GRADIENT(mean_squared_error_grad)

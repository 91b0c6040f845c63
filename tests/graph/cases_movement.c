/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

void mm_case_concat(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        mm_suite_begin(s);
        mm_node *a = mm_suite_parameter(s, MM_SHAPE(2, 3, mm_suite_roll(s, 1, 20)));
        mm_node *b = mm_suite_parameter(s, MM_SHAPE(2, 3, mm_suite_roll(s, 1, 20)));
        mm_suite_check(s, mm_concat(s->graph, a, b));
    }
}

void mm_case_slice(mm_suite *s)
{
    for (int i = 0; i < 3; i++) {
        int64_t channels = mm_suite_roll(s, 1, 40), first = mm_suite_roll(s, 0, channels - 1);
        mm_suite_begin(s);
        mm_node *x = mm_suite_parameter(s, MM_SHAPE(2, 3, channels));
        mm_suite_check(s, mm_slice(s->graph, x, first, mm_suite_roll(s, 1, channels - first)));
    }
}

MM_CASE_BY_GRADIENT(slice_grad)

void mm_case_repeat(mm_suite *s)
{
    for (int64_t times = 1; times < 4; times++) {
        mm_suite_begin(s);
        mm_node *x = mm_suite_weight(s, MM_SHAPE(mm_suite_roll(s, 1, 3), 2, 5));
        mm_suite_check(s, mm_repeat(s->graph, x, times));
    }
}

void mm_case_resize_nearest(mm_suite *s)
{
    const int64_t sizes[][4] = {
        {3, 4, 6, 8}, {5, 3, 7, 5}, {4, 4, 4, 4}, {7, 9, 3, 4}, {1, 2, 3, 3}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mm_suite_begin(s);
        mm_node *x =
            mm_suite_parameter(s, MM_SHAPE(2, sizes[i][0], sizes[i][1], mm_suite_roll(s, 1, 20)));
        mm_suite_check(s, mm_resize_nearest(s->graph, x, sizes[i][2], sizes[i][3]));
    }
}

MM_CASE_BY_GRADIENT(resize_nearest_grad)

void mm_case_resize_bilinear(mm_suite *s)
{
    const int64_t sizes[][4] = {{3, 4, 6, 8}, {5, 3, 7, 5}, {4, 4, 4, 4},
                                {8, 9, 3, 4}, {1, 2, 3, 3}, {4, 5, 1, 1}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mm_suite_begin(s);
        mm_node *x =
            mm_suite_weight(s, MM_SHAPE(2, sizes[i][0], sizes[i][1], mm_suite_roll(s, 1, 20)));
        mm_suite_check(s, mm_resize_bilinear(s->graph, x, sizes[i][2], sizes[i][3]));
    }
}

/* Places within the map and beyond each of its sides. */
void mm_case_patch_correlation(mm_suite *s)
{
    for (int32_t i = 0; i < 5; i++) {
        int64_t channels = mm_suite_roll(s, 1, 40), points = mm_suite_roll(s, 1, 5);
        mm_suite_begin(s);
        mm_node *map = mm_suite_weight(s, MM_SHAPE(3, 5 + i, 4, channels));
        s->low = -4.0f;
        s->high = 14.0f;
        mm_node *origins = mm_suite_weight(s, MM_SHAPE(points, 2));
        mm_node *places = mm_suite_weight(s, MM_SHAPE(3, points, 2));
        mm_suite_check(s, mm_patch_correlation(s->graph, map, origins, places, 1 + i % 3,
                                               i < 3 ? 1.0f : 0.5f));
    }
}

void mm_case_embedding(mm_suite *s)
{
    for (int i = 0; i < 2; i++) {
        mm_suite_begin(s);
        mm_node *table = mm_suite_weight(s, MM_SHAPE(11, mm_suite_roll(s, 1, 40)));
        mm_node *ids = mm_suite_whole(s, MM_I64, MM_SHAPE(2, 5), 0, 10);
        mm_suite_check(s, mm_embedding(s->graph, table, ids));
    }
}

void mm_case_timestep_embedding(mm_suite *s)
{
    for (int i = 0; i < 4; i++) {
        mm_suite_begin(s);
        s->low = 0.0f;
        s->high = 20.0f;
        mm_node *timesteps = mm_suite_weight(s, MM_SHAPE(3));
        mm_suite_check(s, mm_timestep_embedding(s->graph, timesteps, i == 3 ? 33 : 32, i & 1,
                                                i & 2 ? 1.0f : 0.0f));
    }
}

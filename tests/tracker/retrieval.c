/* SPDX-License-Identifier: BSD-2-Clause */
/* Average precision, what chance gives, and the plain distances. */
#include "check.h"

#include "metrics/retrieval.h"

static void test_ranking(void **state)
{
    (void)state;
    double distance[] = {3.0, 1.0, 2.0, 1.0, 0.5};
    size_t order[5];
    mm_rank_by_distance(distance, 5, order);
    assert_memory_equal(order, ((size_t[]){4, 1, 3, 2, 0}), sizeof(order));
}

static void test_average_precision(void **state)
{
    (void)state;
    size_t order[] = {2, 0, 1, 3};
    assert_true(mm_average_precision(order, (bool[]){0, 0, 1, 0}, 4) == 1.0);
    assert_true(fabs(mm_average_precision(order, (bool[]){0, 1, 1, 0}, 4) - (1.0 + 2.0 / 3) / 2) <
                1e-15);
    assert_true(mm_average_precision(order, (bool[]){0, 0, 0, 1}, 4) == 0.25);
    assert_true(isnan(mm_average_precision(order, (bool[]){0, 0, 0, 0}, 4)));
}

/* Adds up the average precisions of all orders of the rest. */
static void add_orders(size_t *order, size_t fixed, size_t count, const bool *positive, double *sum,
                       double *orders)
{
    if (fixed == count) {
        *sum += mm_average_precision(order, positive, count);
        *orders += 1.0;
    }
    for (size_t i = fixed; i < count; i++) {
        size_t kept = order[fixed];
        order[fixed] = order[i];
        order[i] = kept;
        add_orders(order, fixed + 1, count, positive, sum, orders);
        order[i] = order[fixed];
        order[fixed] = kept;
    }
}

static void test_chance(void **state)
{
    (void)state;
    for (size_t positives = 1; positives <= 6; positives++) {
        size_t order[] = {0, 1, 2, 3, 4, 5};
        bool positive[6];
        double sum = 0.0, orders = 0.0;
        for (size_t i = 0; i < 6; i++)
            positive[i] = i < positives;
        add_orders(order, 0, 6, positive, &sum, &orders);
        assert_true(fabs(mm_chance_precision(positives, 6) - sum / orders) < 1e-12);
    }
    assert_true(fabs(mm_chance_precision(13, 138) - 0.124) < 5e-4);
    assert_true(mm_chance_precision(1, 1) == 1.0 && isnan(mm_chance_precision(0, 3)));
}

static void test_distances(void **state)
{
    (void)state;
    float a[] = {1, 2, 4, 8}, b[] = {1, 4, 4, 4};
    assert_true(mm_mean_squared_distance(a, b, 4) == 5.0);
    /* frames of two values: differences (3, 6) and (3, 0) */
    assert_true(mm_residual_distance(a, b, 2, 2) == 18.0);
    assert_true(mm_residual_distance(a, b, 1, 4) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranking),
        cmocka_unit_test(test_average_precision),
        cmocka_unit_test(test_chance),
        cmocka_unit_test(test_distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Building and differentiating graphs: structure and errors, nothing is run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "graph/ops.h"

typedef struct fixture {
    mm_graph *graph;
    mm_weight_set set;
} fixture;

static int setup(void **state)
{
    static fixture f;
    mm_error error;
    mm_weight_set_init(&f.set, MM_F32);
    assert_int_equal(mm_graph_create(&f.graph, MM_F32, &error), MM_OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    mm_graph_free(&f->graph);
    mm_weight_set_free(&f->set);
    return 0;
}

static mm_weight *declare(fixture *f, const char *name, mm_shape shape)
{
    mm_weight_part part = {name, shape};
    return mm_weight_declare(&f->set, &part, 1, &shape, MM_F32, MM_WEIGHT_AS_STORED);
}

static mm_node *weight(fixture *f, const char *name, mm_shape shape)
{
    return mm_weight_node(f->graph, declare(f, name, shape));
}

static mm_node *parameter(fixture *f, const char *name, mm_shape shape)
{
    return mm_parameter_node(f->graph, declare(f, name, shape));
}

static mm_node *input(fixture *f, const char *name, mm_shape shape)
{
    return mm_input(f->graph, name, MM_F32, &shape);
}

static void expect_error(fixture *f, mm_status status, const char *part)
{
    mm_error error = {0};
    assert_int_equal(mm_graph_status(f->graph, &error), status);
    if (!strstr(error.text, part))
        fail_msg("\"%s\" does not say \"%s\"", error.text, part);
}

static void test_shapes(void **state)
{
    fixture *f = *state;
    mm_graph *g = f->graph;
    mm_node *x = input(f, "x", MM_SHAPE(6, 7, 9, 8));
    mm_node *kernel = weight(f, "kernel", MM_SHAPE(16, 8, 3, 3));
    mm_node *y = mm_conv2d(g, x, kernel, NULL, NULL, 2, (int32_t[]){0, 0, 1, 1});
    assert_true(mm_shape_equal(&y->shape, &MM_SHAPE(6, 3, 4, 16)));
    mm_node *taps = weight(f, "taps", MM_SHAPE(3, 10, 16));
    y = mm_temporal_conv(g, y, taps, NULL, NULL, 3);
    assert_true(mm_shape_equal(&y->shape, &MM_SHAPE(6, 3, 4, 10)));
    y = mm_resize_nearest(g, y, 7, 9);
    y = mm_concat(g, y, x);
    assert_true(mm_shape_equal(&y->shape, &MM_SHAPE(6, 7, 9, 18)));
    y = mm_linear(g, mm_slice(g, y, 2, 12), weight(f, "qkv", MM_SHAPE(36, 12)), NULL, NULL);
    mm_node *map = mm_attention_map(g, y, (mm_sequences){2, 3, 63}, 3, 4);
    assert_true(mm_shape_equal(&map->shape, &MM_SHAPE(126, 3, 3)));
    y = mm_attention(g, y, (mm_sequences){6, 63, 1}, 3, 4, false);
    assert_true(mm_shape_equal(&y->shape, &MM_SHAPE(6, 7, 9, 12)));
    mm_node *grouped = mm_grouped_linear(g, y, weight(f, "grouped", MM_SHAPE(4, 5, 3)));
    assert_true(mm_shape_equal(&grouped->shape, &MM_SHAPE(6, 7, 9, 20)));
    map = mm_cross_attention_map(g, y, input(f, "kv", MM_SHAPE(2, 5, 24)), 3, 4);
    assert_true(mm_shape_equal(&map->shape, &MM_SHAPE(378, 5)));
    mm_node *loss = mm_mean_squared_error(g, map, map);
    assert_int_equal(loss->shape.rank, 0);
    assert_int_equal(mm_graph_status(g, NULL), MM_OK);
}

static void test_first_error_sticks_and_names_the_scope(void **state)
{
    fixture *f = *state;
    mm_node *x = input(f, "x", MM_SHAPE(2, 5));
    mm_graph_set_scope(f->graph, "down_blocks.3");
    mm_node *y = mm_linear(f->graph, x, weight(f, "w", MM_SHAPE(3, 4)), NULL, NULL);
    assert_null(y);
    mm_graph_set_scope(f->graph, "later");
    assert_null(mm_activation(f->graph, y, MM_ACTIVATION_SILU));
    assert_null(mm_add(f->graph, x, input(f, "z", MM_SHAPE(9))));
    expect_error(f, MM_ERR_INPUT, "down_blocks.3: matmul: [2, 5] and [3, 4] transposed");
}

static void test_refuses_shapes_that_are_empty_or_overflow(void **state)
{
    fixture *f = *state;
    assert_null(input(f, "big", MM_SHAPE(INT64_C(1) << 40, INT64_C(1) << 40)));
    expect_error(f, MM_ERR_INPUT, "empty or too large");
    mm_graph_free(&f->graph);
    assert_int_equal(mm_graph_create(&f->graph, MM_F32, NULL), MM_OK);
    assert_null(input(f, "none", MM_SHAPE(4, 0)));
    expect_error(f, MM_ERR_INPUT, "empty or too large");
    mm_graph_free(&f->graph);
    assert_int_equal(mm_graph_create(&f->graph, MM_F32, NULL), MM_OK);
    mm_node *x = input(f, "x", MM_SHAPE(4, 12));
    mm_sequences s = {INT64_C(1) << 32, INT64_C(1) << 32, 4};
    assert_null(mm_attention(f->graph, x, s, 1, 4, false));
    expect_error(f, MM_ERR_INPUT, "attention");
}

static void test_refuses_missing_and_foreign_sources(void **state)
{
    fixture *f = *state;
    mm_graph *other;
    assert_int_equal(mm_graph_create(&other, MM_F32, NULL), MM_OK);
    mm_node *foreign = mm_input(other, "x", MM_F32, &MM_SHAPE(3));
    assert_null(mm_add(f->graph, input(f, "x", MM_SHAPE(3)), foreign));
    expect_error(f, MM_ERR_USAGE, "same graph");
    assert_null(mm_add(other, foreign, NULL));
    assert_int_equal(mm_graph_status(other, NULL), MM_ERR_USAGE);
    mm_graph_free(&other);
}

static int32_t count_ops(const mm_graph *g, mm_op op)
{
    int32_t count = 0;
    for (int32_t i = 0; i < g->count; i++)
        count += g->node[i]->op == op;
    return count;
}

/* y = W x + B A x with frozen W: the gradient needs A, B and x, and nothing for W. */
static void test_frozen_weights_get_no_gradient(void **state)
{
    fixture *f = *state;
    mm_graph *g = f->graph;
    mm_node *x = input(f, "x", MM_SHAPE(10, 8));
    mm_node *a = parameter(f, "a", MM_SHAPE(2, 8)), *b = parameter(f, "b", MM_SHAPE(6, 2));
    mm_node *low = mm_linear(g, x, a, NULL, NULL);
    mm_node *y = mm_linear(g, x, weight(f, "w", MM_SHAPE(6, 8)), weight(f, "bias", MM_SHAPE(6)),
                           mm_linear(g, low, b, NULL, NULL));
    mm_node *loss = mm_mean_squared_error(g, y, input(f, "target", MM_SHAPE(10, 6)));
    int32_t forward = g->count;
    mm_node *gradient[2], *unused = parameter(f, "unused", MM_SHAPE(3));
    mm_node *wanted[] = {a, unused};
    mm_error error;
    assert_int_equal(mm_graph_differentiate(g, loss, wanted, 2, gradient, &error), MM_OK);
    assert_true(mm_shape_equal(&gradient[0]->shape, &a->shape));
    assert_null(gradient[1]);
    assert_int_equal(count_ops(g, MM_OP_matmul), 3 + 3); /* dB, d low, dA: not W x's dx */
    for (int32_t i = forward + 1; i < g->count; i++)
        assert_true(g->node[i]->backward && g->node[i]->segment == 0);
    assert_false(loss->backward);
}

static void test_gradients_of_a_shared_node_are_summed(void **state)
{
    fixture *f = *state;
    mm_graph *g = f->graph;
    mm_node *p = parameter(f, "p", MM_SHAPE(4, 4));
    assert_ptr_equal(p, parameter(f, "p", MM_SHAPE(4, 4)));
    mm_node *doubled = mm_scale(g, p, 2.0f);
    mm_node *y = mm_add(g, doubled, mm_activation(g, p, MM_ACTIVATION_SILU));
    mm_node *loss = mm_mean_squared_error(g, y, input(f, "target", MM_SHAPE(4, 4))), *gradient;
    assert_int_equal(mm_graph_differentiate(g, loss, &p, 1, &gradient, NULL), MM_OK);
    assert_int_equal(gradient->op, MM_OP_add);
    assert_int_equal(gradient->source[0]->op, MM_OP_activation_grad);
    assert_int_equal(gradient->source[1]->op, MM_OP_scale);
}

static void test_no_gradient_goes_through_what_is_detached(void **state)
{
    fixture *f = *state;
    mm_graph *g = f->graph;
    mm_node *p = parameter(f, "p", MM_SHAPE(4, 4)), *q = parameter(f, "q", MM_SHAPE(4, 4));
    mm_node *detached = mm_detach(g, mm_activation(g, p, MM_ACTIVATION_SILU));
    assert_true(mm_shape_equal(&detached->shape, &p->shape));
    mm_node *y = mm_add(g, q, mm_difference(g, mm_scale(g, q, 2.0f), detached, MM_F32));
    mm_node *loss = mm_mean_squared_error(g, y, input(f, "target", MM_SHAPE(4, 4)));
    mm_node *wanted[] = {p, q}, *gradient[2];
    assert_int_equal(mm_graph_differentiate(g, loss, wanted, 2, gradient, NULL), MM_OK);
    assert_null(gradient[0]);
    assert_non_null(gradient[1]);
    assert_int_equal(count_ops(g, MM_OP_activation_grad), 0);
}

static void test_missing_gradients_are_named(void **state)
{
    fixture *f = *state;
    mm_graph *g = f->graph;
    mm_graph_set_scope(g, "attn2");
    mm_node *kv = parameter(f, "kv", MM_SHAPE(1, 5, 8));
    mm_node *y = mm_cross_attention(g, input(f, "q", MM_SHAPE(6, 4)), kv, 1, 4);
    mm_node *loss = mm_mean_squared_error(g, y, input(f, "target", MM_SHAPE(6, 4))), *gradient;
    mm_error error;
    assert_int_equal(mm_graph_differentiate(g, loss, &kv, 1, &gradient, &error),
                     MM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "attn2: cross_attention"));
}

static void test_only_scalars_are_differentiated(void **state)
{
    fixture *f = *state;
    mm_node *p = parameter(f, "p", MM_SHAPE(3)), *gradient;
    mm_node *y = mm_scale(f->graph, p, 2.0f);
    mm_error error;
    assert_int_equal(mm_graph_differentiate(f->graph, y, &p, 1, &gradient, &error), MM_ERR_USAGE);
    assert_int_equal(mm_graph_differentiate(f->graph, y, &y, 1, &gradient, &error), MM_ERR_USAGE);
    assert_int_equal(mm_graph_status(f->graph, NULL), MM_OK);
}

static void test_weights_are_found_again(void **state)
{
    fixture *f = *state;
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "block.%d.weight", i);
        assert_non_null(declare(f, name, MM_SHAPE(2, 3)));
    }
    assert_int_equal(f->set.count, 1000);
    assert_int_equal(mm_weight_set_bytes(&f->set), 1000 * 24);
    mm_weight *again = declare(f, "block.77.weight", MM_SHAPE(2, 3));
    assert_ptr_equal(again, f->set.weight[77]);
    assert_ptr_equal(again, mm_weight_find(&f->set, "block.77.weight"));
    assert_null(declare(f, "block.77.weight", MM_SHAPE(3, 2)));
    assert_null(mm_weight_find(&f->set, "block.1000.weight"));
    mm_weight_part wrong = {"wrong", MM_SHAPE(5)};
    assert_null(mm_weight_declare(&f->set, &wrong, 1, &MM_SHAPE(6), MM_F32, MM_WEIGHT_AS_STORED));
}

static mm_status build_something(void)
{
    fixture f;
    mm_error error = {0};
    mm_weight_set_init(&f.set, MM_F32);
    mm_status status = mm_graph_create(&f.graph, MM_F32, &error);
    if (status != MM_OK)
        return status;
    mm_graph_set_scope(f.graph, "block");
    mm_node *p = parameter(&f, "p", MM_SHAPE(4, 4));
    mm_node *x = input(&f, "x", MM_SHAPE(3, 4));
    mm_node *y = mm_activation(f.graph, mm_linear(f.graph, x, p, NULL, NULL), MM_ACTIVATION_GELU);
    mm_node *loss = mm_mean_squared_error(f.graph, y, x), *gradient;
    status = mm_graph_status(f.graph, &error);
    if (status == MM_OK)
        status = mm_graph_differentiate(f.graph, loss, &p, 1, &gradient, &error);
    mm_graph_free(&f.graph);
    mm_weight_set_free(&f.set);
    return status;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (;; n++) {
        mm_memory_fail_after(n, true);
        mm_status status = build_something();
        mm_memory_fail_after(0, false);
        if (status == MM_OK)
            break;
        assert_true(status == MM_ERR_MEMORY || status == MM_ERR_INPUT);
    }
    assert_true(n > 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(shapes),
        TEST(first_error_sticks_and_names_the_scope),
        TEST(refuses_shapes_that_are_empty_or_overflow),
        TEST(refuses_missing_and_foreign_sources),
        TEST(frozen_weights_get_no_gradient),
        TEST(gradients_of_a_shared_node_are_summed),
        TEST(no_gradient_goes_through_what_is_detached),
        TEST(missing_gradients_are_named),
        TEST(only_scalars_are_differentiated),
        TEST(weights_are_found_again),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Running planned graphs on a backend of plain loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/rng.h"
#include "graph/executable.h"
#include "graph/ops.h"
#include "reference.h"

enum { layers = 12, width = 16, tokens = 64 };

/* A residual network whose every layer is a segment: dropout, a frozen product and a trainable one.
 */
typedef struct network {
    mm_graph *graph;
    mm_weight_set set;
    mm_backend *backend;
    mm_node *x, *key, *target, *loss;
    mm_node *parameter[layers], *gradient[layers];
} network;

static void fill(float *data, size_t count, uint32_t stream)
{
    mm_rng rng = {7, stream, 0};
    mm_rng_normal(&rng, 0, data, count);
}

static mm_weight *declare(network *n, const char *kind, int32_t layer)
{
    char name[32];
    snprintf(name, sizeof(name), "%s.%d", kind, layer);
    mm_weight_part part = {name, MM_SHAPE(width, width)};
    mm_weight *weight =
        mm_weight_declare(&n->set, &part, 1, &part.shape, MM_F32, MM_WEIGHT_AS_STORED);
    if (!weight || weight->data)
        return weight;
    weight->bytes = width * width * sizeof(float);
    weight->data = mm_malloc(weight->bytes);
    if (!weight->data)
        return NULL;
    fill(weight->data, width * width, (uint32_t)(100 + layer));
    for (int i = 0; i < width * width; i++)
        ((float *)weight->data)[i] *= 0.2f;
    return weight;
}

static mm_node *build_layer(network *n, mm_node *x, int32_t layer)
{
    mm_graph *g = n->graph;
    mm_graph_begin_segment(g);
    n->parameter[layer] = mm_parameter_node(g, declare(n, "trained", layer));
    mm_node *frozen = mm_weight_node(g, declare(n, "frozen", layer));
    mm_node *y = mm_linear(g, mm_activation(g, x, MM_ACTIVATION_SILU), frozen, NULL, NULL);
    y = mm_activation(g, y, MM_ACTIVATION_GELU);
    y = mm_view(g, y, &MM_SHAPE(8, tokens / 8, width));
    y = mm_dropout(g, mm_linear(g, y, n->parameter[layer], NULL, NULL), n->key, 0.25f,
                   (uint32_t)layer);
    y = mm_add(g, mm_view(g, y, &MM_SHAPE(tokens, width)), x);
    mm_graph_end_segment(g);
    return y;
}

static mm_status build(network *n, mm_error *error)
{
    *n = (network){0};
    mm_weight_set_init(&n->set, MM_F32);
    MM_TRY(mm_plain_backend_create(&n->backend, 200, error));
    MM_TRY(mm_graph_create(&n->graph, MM_F32, error));
    mm_graph *g = n->graph;
    n->x = mm_input(g, "x", MM_F32, &MM_SHAPE(tokens, width));
    n->key = mm_input(g, "key", MM_I32, &MM_SHAPE(3));
    n->target = mm_input(g, "target", MM_F32, &MM_SHAPE(tokens, width));
    mm_node *y = n->x;
    for (int32_t layer = 0; layer < layers; layer++)
        y = build_layer(n, y, layer);
    n->loss = mm_mean_squared_error(g, mm_scale(g, y, 0.5f), n->target);
    MM_TRY(mm_graph_status(g, error));
    return mm_graph_differentiate(g, n->loss, n->parameter, layers, n->gradient, error);
}

static void clear(network *n)
{
    for (int32_t i = 0; i < n->set.count; i++)
        mm_free(n->set.weight[i]->data);
    mm_weight_set_free(&n->set);
    mm_graph_free(&n->graph);
    if (n->backend)
        n->backend->table->free(n->backend);
}

static mm_status compile(network *n, mm_executable **out, size_t budget, mm_error *error)
{
    mm_node *outputs[layers + 1] = {n->loss};
    memcpy(outputs + 1, n->gradient, sizeof(n->gradient));
    mm_compile_options options = {.arena_budget = budget};
    return mm_executable_create(out, n->graph, outputs, layers + 1, n->backend, &options, error);
}

static mm_status write_inputs(network *n, mm_executable *e, mm_error *error)
{
    float x[tokens * width];
    const int32_t key[3] = {5, 0, 3};
    fill(x, tokens * width, 1);
    MM_TRY(mm_executable_write(e, n->x, x, sizeof(x), error));
    fill(x, tokens * width, 2);
    MM_TRY(mm_executable_write(e, n->target, x, sizeof(x), error));
    return mm_executable_write(e, n->key, key, sizeof(key), error);
}

typedef struct result {
    float loss;
    float gradient[layers][width * width];
} result;

static mm_status run_and_read(network *n, mm_executable *e, result *out, mm_error *error)
{
    MM_TRY(mm_executable_run(e, NULL, error));
    MM_TRY(mm_executable_read(e, n->loss, &out->loss, sizeof(out->loss), error));
    for (int32_t i = 0; i < layers; i++)
        MM_TRY(mm_executable_read(e, n->gradient[i], out->gradient[i], sizeof(out->gradient[i]),
                                  error));
    return MM_OK;
}

static mm_status train_once(size_t budget, result *out, mm_plan_summary *summary, mm_error *error)
{
    network n;
    mm_executable *e = NULL;
    mm_status status = build(&n, error);
    if (status == MM_OK)
        status = compile(&n, &e, budget, error);
    if (status == MM_OK)
        status = write_inputs(&n, e, error);
    if (status == MM_OK)
        status = run_and_read(&n, e, out, error);
    if (status == MM_OK)
        mm_executable_summary(e, summary);
    mm_executable_free(&e);
    clear(&n);
    return status;
}

static void check(mm_status status, const mm_error *error)
{
    if (status != MM_OK)
        fail_msg("status %d: %s", (int)status, error->text);
}

static void test_budgets_change_memory_but_no_bit(void **state)
{
    (void)state;
    static result whole, small;
    mm_plan_summary unlimited, plan;
    mm_error error;
    check(train_once(0, &whole, &unlimited, &error), &error);
    assert_int_equal(unlimited.recomputed_nodes, 0);
    assert_true(whole.loss > 0.0f && whole.gradient[0][0] != 0.0f);
    double flops = 0.0;
    for (int percent = 90; percent >= 50; percent -= 10) {
        size_t budget = unlimited.arena_bytes / 100 * (size_t)percent;
        check(train_once(budget, &small, &plan, &error), &error);
        assert_true(plan.arena_bytes <= budget);
        assert_true(plan.recomputed_nodes > 0 && plan.recomputed_flops >= flops);
        assert_true(plan.kept_bytes < unlimited.kept_bytes);
        assert_true(plan.flops == unlimited.flops + plan.recomputed_flops);
        flops = plan.recomputed_flops;
        assert_memory_equal(&whole, &small, sizeof(whole));
    }
}

static void test_an_impossible_budget_says_what_would_do(void **state)
{
    (void)state;
    network n;
    mm_executable *e = NULL;
    mm_error error;
    mm_plan_summary plan;
    check(build(&n, &error), &error);
    assert_int_equal(compile(&n, &e, 1000, &error), MM_ERR_MEMORY);
    assert_null(e);
    assert_non_null(strstr(error.text, "at least"));
    mm_compile_options options = {.arena_budget = 1000, .allow_over_budget = true};
    check(mm_executable_create(&e, n.graph, &n.gradient[0], 1, n.backend, &options, &error),
          &error);
    mm_executable_summary(e, &plan);
    assert_true(plan.arena_bytes > 1000 && plan.recomputed_nodes > 0);
    mm_executable_free(&e);
    clear(&n);
}

static void test_dead_nodes_are_dropped(void **state)
{
    (void)state;
    network n;
    mm_executable *e = NULL;
    mm_error error;
    mm_plan_summary plan;
    check(build(&n, &error), &error);
    check(mm_executable_create(&e, n.graph, &n.loss, 1, n.backend, NULL, &error), &error);
    mm_executable_summary(e, &plan);
    assert_int_equal(plan.nodes, layers * 6 + 2);
    assert_int_equal(plan.kept_bytes, 0);
    /* Three inputs, one or two live values and the workspace. */
    assert_true(plan.arena_bytes <= 5 * tokens * width * sizeof(float) + 1024);
    char *table = mm_executable_describe(e);
    assert_non_null(strstr(table, "mean_squared_error"));
    mm_free(table);
    mm_executable_free(&e);

    mm_node *key_only = mm_view(n.graph, n.x, &MM_SHAPE(width, tokens));
    check(mm_executable_create(&e, n.graph, &key_only, 1, n.backend, NULL, &error), &error);
    float x[tokens * width], back[tokens * width];
    fill(x, tokens * width, 1);
    int32_t key[3] = {0};
    check(mm_executable_write(e, n.key, key, sizeof(key), &error), &error);
    check(mm_executable_write(e, n.x, x, sizeof(x), &error), &error);
    check(mm_executable_run(e, NULL, &error), &error);
    check(mm_executable_read(e, key_only, back, sizeof(back), &error), &error);
    assert_memory_equal(x, back, sizeof(x));
    mm_executable_free(&e);
    clear(&n);
}

static void test_inputs_keep_their_value(void **state)
{
    (void)state;
    static result first, second;
    network n;
    mm_executable *e;
    mm_error error;
    check(build(&n, &error), &error);
    check(compile(&n, &e, 0, &error), &error);
    check(write_inputs(&n, e, &error), &error);
    check(run_and_read(&n, e, &first, &error), &error);
    check(run_and_read(&n, e, &second, &error), &error);
    assert_memory_equal(&first, &second, sizeof(first));
    mm_executable_free(&e);
    clear(&n);
}

typedef struct watcher {
    atomic_int cancel;
    int32_t done, stop_at;
} watcher;

static void watch(void *user, int32_t done, int32_t total)
{
    watcher *w = user;
    assert_true(done == w->done + 1 && done <= total);
    w->done = done;
    if (done == w->stop_at)
        atomic_store(&w->cancel, 1);
}

static void test_cancel_stops_before_the_next_node(void **state)
{
    (void)state;
    network n;
    mm_executable *e;
    mm_error error;
    check(build(&n, &error), &error);
    check(compile(&n, &e, 0, &error), &error);
    check(write_inputs(&n, e, &error), &error);
    watcher w = {.stop_at = 7};
    double *seconds = mm_calloc((size_t)n.graph->count, sizeof(double));
    mm_run_control control = {&w.cancel, watch, &w, seconds};
    assert_int_equal(mm_executable_run(e, &control, &error), MM_ERR_CANCELLED);
    assert_int_equal(w.done, 7);
    double sum = 0.0;
    for (int32_t i = 0; i < n.graph->count; i++)
        sum += seconds[i];
    assert_true(sum > 0.0);
    mm_free(seconds);
    mm_executable_free(&e);
    clear(&n);
}

static void test_wrong_use_is_refused(void **state)
{
    (void)state;
    network n;
    mm_executable *e;
    mm_error error;
    float x[4] = {0};
    check(build(&n, &error), &error);
    check(compile(&n, &e, 0, &error), &error);
    assert_int_equal(mm_executable_write(e, n.loss, x, 4, &error), MM_ERR_USAGE);
    assert_int_equal(mm_executable_write(e, n.x, x, 16, &error), MM_ERR_USAGE);
    assert_int_equal(mm_executable_read(e, n.x, x, 16, &error), MM_ERR_USAGE);
    mm_weight *weight = n.parameter[3]->weight;
    void *data = weight->data;
    weight->data = NULL;
    assert_int_equal(mm_executable_run(e, NULL, &error), MM_ERR_USAGE);
    assert_non_null(strstr(error.text, "trained.3"));
    weight->data = data;
    mm_executable_free(&e);

    mm_graph_set_scope(n.graph, "norm1");
    mm_node *y = mm_graph_add(n.graph, MM_OP_geglu_grad, 2, (mm_node *[]){n.x, n.target}, NULL);
    assert_int_equal(mm_executable_create(&e, n.graph, &y, 1, n.backend, NULL, &error),
                     MM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "norm1: the plain backend has no geglu_grad"));
    clear(&n);
}

static void test_a_block_may_be_shared(void **state)
{
    (void)state;
    static result own, shared;
    network n;
    mm_executable *e;
    mm_plan_summary plan;
    mm_error error;
    check(train_once(0, &own, &plan, &error), &error);
    check(build(&n, &error), &error);
    check(compile(&n, &e, 0, &error), &error);
    void *block = NULL;
    check(n.backend->table->allocate(n.backend, plan.arena_bytes, &block, &error), &error);
    check(mm_executable_allocate(e, block, &error), &error);
    check(write_inputs(&n, e, &error), &error);
    check(run_and_read(&n, e, &shared, &error), &error);
    assert_memory_equal(&own, &shared, sizeof(own));
    mm_executable_free(&e);
    n.backend->table->release(n.backend, block, plan.arena_bytes);
    clear(&n);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    static result out;
    mm_plan_summary plan;
    mm_error error = {0};
    check(train_once(0, &out, &plan, &error), &error);
    size_t budget = plan.arena_bytes * 6 / 10;
    uint64_t n = 1;
    /* Every one at first, then sparsely: a run of the backend allocates for each node. */
    for (;; n += n < 400 ? 1 : 97) {
        mm_memory_fail_after(n, true);
        mm_status status = train_once(budget, &out, &plan, &error);
        mm_memory_fail_after(0, false);
        if (status == MM_OK)
            break;
        assert_true(status == MM_ERR_MEMORY || status == MM_ERR_INPUT);
    }
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budgets_change_memory_but_no_bit),
        cmocka_unit_test(test_an_impossible_budget_says_what_would_do),
        cmocka_unit_test(test_dead_nodes_are_dropped),
        cmocka_unit_test(test_inputs_keep_their_value),
        cmocka_unit_test(test_cancel_stops_before_the_next_node),
        cmocka_unit_test(test_wrong_use_is_refused),
        cmocka_unit_test(test_a_block_may_be_shared),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

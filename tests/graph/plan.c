/* SPDX-License-Identifier: BSD-2-Clause */
/* Plans of random graphs, checked by following every byte that a run would write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/rng.h"
#include "graph/ops.h"
#include "graph/ops/rows.h"
#include "graph/plan.h"

typedef struct dice {
    mm_rng rng;
    uint64_t index;
} dice;

static int64_t roll(dice *d, int64_t low, int64_t high)
{
    return mm_rng_integer(&d->rng, d->index++, low, high);
}

typedef struct plan_case {
    mm_graph *graph;
    mm_weight_set set;
    mm_node *parameter, *gradient, *loss;
    bool *live, *output, *kept;
    size_t *workspace;
    mm_plan_request request;
} plan_case;

/* Any earlier node of the width that the other ops expect. */
static mm_node *pick(mm_graph *g, dice *d, int32_t reach)
{
    for (;;) {
        int32_t newest = g->count - 1, oldest = newest > reach ? newest - reach : 0;
        mm_node *node = g->node[roll(d, oldest, newest)];
        if (!mm_is_leaf(node) && node->dtype == MM_F32 && mm_node_elements(node) == 64)
            return node;
    }
}

static mm_node *random_op(mm_graph *g, dice *d, mm_node *parameter)
{
    mm_node *x = pick(g, d, 12);
    switch (roll(d, 0, 6)) {
    case 0:
        return mm_add(g, mm_view_like(g, x, parameter),
                      mm_view_like(g, pick(g, d, 200), parameter));
    case 1:
        return mm_activation(g, x, MM_ACTIVATION_SILU);
    case 2:
        return mm_view(g, x, &MM_SHAPE(2, 4, 8));
    case 3:
        return mm_scale(g, x, 0.5f);
    case 4:
        return mm_slice(
            g,
            mm_concat(g, mm_view_like(g, x, parameter), mm_view_like(g, pick(g, d, 30), parameter)),
            4, 8);
    default:
        return mm_linear(g, mm_view_like(g, x, parameter), parameter, NULL,
                         mm_view_like(g, x, parameter));
    }
}

static mm_node *add_weight(plan_case *c, const char *name)
{
    mm_weight_part part = {name, MM_SHAPE(8, 8)};
    return mm_parameter_node(
        c->graph, mm_weight_declare(&c->set, &part, 1, &part.shape, MM_F32, MM_WEIGHT_AS_STORED));
}

static void build(plan_case *c, uint64_t seed, int32_t ops)
{
    dice d = {{seed, 1, 0}, 0};
    *c = (plan_case){0};
    mm_weight_set_init(&c->set, MM_F32);
    assert_int_equal(mm_graph_create(&c->graph, MM_F32, NULL), MM_OK);
    mm_graph *g = c->graph;
    mm_node *x = mm_input(g, "x", MM_F32, &MM_SHAPE(8, 8));
    c->parameter = add_weight(c, "p");
    mm_node *y = mm_linear(g, x, c->parameter, NULL, x);
    for (int32_t i = 0; i < ops; i++) {
        int64_t change = roll(&d, 0, 15);
        if (change == 0)
            mm_graph_begin_segment(g);
        else if (change == 1)
            mm_graph_end_segment(g);
        y = random_op(g, &d, c->parameter);
        if (y && roll(&d, 0, 9) == 0) /* what nothing reads */
            mm_activation(g, y, MM_ACTIVATION_GELU);
    }
    mm_graph_end_segment(g);
    c->loss = mm_mean_squared_error(g, mm_view_like(g, y, x), x);
    mm_error error = {0};
    if (mm_graph_differentiate(g, c->loss, &c->parameter, 1, &c->gradient, &error) != MM_OK)
        fail_msg("%s", error.text);
}

static void request(plan_case *c, uint64_t seed)
{
    size_t n = (size_t)c->graph->count;
    dice d = {{seed, 2, 0}, 0};
    c->live = mm_calloc(n, 1);
    c->output = mm_calloc(n, 1);
    c->kept = mm_calloc(n, 1);
    c->workspace = mm_calloc(n, sizeof(size_t));
    c->output[c->loss->id] = true;
    c->output[c->gradient->id] = true;
    for (int32_t i = 0; i < 3; i++)
        c->output[roll(&d, 0, (int64_t)n - 1)] = true;
    for (size_t i = 0; i < n; i++)
        c->workspace[i] = (size_t)roll(&d, 0, 2) * 100;
    mm_plan_mark(c->graph, c->live, c->output, c->kept);
    c->request = (mm_plan_request){c->graph, c->live, c->output, c->kept, c->workspace, 64};
}

static void clear(plan_case *c)
{
    mm_free(c->live);
    mm_free(c->output);
    mm_free(c->kept);
    mm_free(c->workspace);
    mm_graph_free(&c->graph);
    mm_weight_set_free(&c->set);
}

/* The arena as bytes, each with the step that wrote it last. */
typedef struct memory {
    const mm_plan *plan;
    int32_t *writer;
} memory;

static void write_bytes(memory *m, size_t offset, size_t bytes, int32_t writer)
{
    assert_true(offset % 64 == 0 && offset + bytes <= m->plan->arena_bytes);
    for (size_t i = 0; i < bytes; i++)
        m->writer[offset + i] = writer;
}

/* The step that a view shows, found again without the planner's notes. */
static int32_t origin(const mm_plan *plan, int32_t index)
{
    while (plan->step[index].node->op == MM_OP_view)
        index = plan->step[index].source[0];
    return index;
}

static void expect_intact(const memory *m, int32_t index)
{
    const mm_step *step = &m->plan->step[index];
    int32_t writer = origin(m->plan, index);
    mm_op op = m->plan->step[writer].node->op;
    if (op == MM_OP_weight || op == MM_OP_parameter)
        return;
    for (size_t i = 0; i < mm_node_bytes(step->node); i++)
        assert_int_equal(m->writer[step->offset + i], writer);
}

/* A kernel that writes where it reads must be one that says so. */
static void expect_no_forbidden_reuse(const mm_plan *plan, int32_t index)
{
    const mm_step *step = &plan->step[index];
    for (int32_t s = 0; s < MM_MAX_SOURCES; s++) {
        if (step->source[s] < 0)
            continue;
        const mm_step *source = &plan->step[step->source[s]];
        const mm_node *from = plan->step[origin(plan, step->source[s])].node;
        bool apart = from->op == MM_OP_weight || from->op == MM_OP_parameter ||
                     source->offset + mm_node_bytes(source->node) <= step->offset ||
                     step->offset + mm_node_bytes(step->node) <= source->offset;
        bool reuse =
            source->offset == step->offset && (mm_op_describe(step->node->op)->reuse >> s & 1);
        assert_true(apart || reuse);
    }
}

static void expect_right_sources(const mm_plan *plan, int32_t index)
{
    const mm_step *step = &plan->step[index];
    for (int32_t s = 0; s < step->node->source_count; s++) {
        int32_t from = step->source[s];
        assert_true((from < 0) == (step->node->source[s] == NULL));
        assert_true(from < index);
        assert_true(from < 0 || plan->step[from].node == step->node->source[s]);
    }
}

static void follow(const plan_case *c, const mm_plan *plan)
{
    memory m = {plan, mm_malloc((plan->arena_bytes + 1) * sizeof(int32_t))};
    memset(m.writer, 0xff, plan->arena_bytes * sizeof(int32_t));
    for (int32_t i = 0; i < plan->count; i++) {
        if (plan->step[i].node->op == MM_OP_input)
            write_bytes(&m, plan->step[i].offset, mm_node_bytes(plan->step[i].node), i);
    }
    for (int32_t i = 0; i < plan->count; i++) {
        const mm_step *step = &plan->step[i];
        expect_right_sources(plan, i);
        if (!mm_is_computed(step->node))
            continue;
        size_t workspace = c->workspace[step->node->id];
        if (workspace)
            write_bytes(&m, step->workspace_offset, workspace, -2);
        for (int32_t s = 0; s < MM_MAX_SOURCES; s++) {
            if (step->source[s] >= 0)
                expect_intact(&m, step->source[s]);
        }
        expect_no_forbidden_reuse(plan, i);
        write_bytes(&m, step->offset, mm_node_bytes(step->node), i);
        for (size_t b = 0; workspace && b < workspace; b++)
            assert_int_equal(m.writer[step->workspace_offset + b], -2);
    }
    for (int32_t i = 0; i < plan->count; i++) {
        bool output = c->output[plan->step[i].node->id] && !plan->step[i].again;
        if (output || plan->step[i].node->op == MM_OP_input)
            expect_intact(&m, i);
    }
    mm_free(m.writer);
}

static void test_no_value_is_overwritten_too_early(void **state)
{
    (void)state;
    int32_t recomputed = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        plan_case c;
        mm_plan plan;
        mm_error error;
        build(&c, seed, (int32_t)(20 + seed));
        request(&c, seed);
        assert_int_equal(mm_plan_choose(&plan, &c.request, 0, false, &error), MM_OK);
        follow(&c, &plan);
        size_t whole = plan.arena_bytes;
        mm_plan_free(&plan);
        for (size_t tenths = 1; tenths <= 9; tenths += 4) {
            size_t budget = whole / 10 * tenths;
            assert_int_equal(mm_plan_choose(&plan, &c.request, budget, true, &error), MM_OK);
            follow(&c, &plan);
            assert_true(plan.arena_bytes <= whole);
            recomputed += plan.again_count;
            mm_plan_free(&plan);
        }
        clear(&c);
    }
    assert_true(recomputed > 100);
}

/* A chain as long as a large network's training step, with little memory. */
static void test_a_large_graph_is_planned_quickly(void **state)
{
    (void)state;
    plan_case c = {0};
    mm_error error;
    mm_plan plan;
    mm_weight_set_init(&c.set, MM_F32);
    assert_int_equal(mm_graph_create(&c.graph, MM_F32, NULL), MM_OK);
    mm_graph *g = c.graph;
    mm_node *y = mm_input(g, "x", MM_F32, &MM_SHAPE(1000, 8)), *x = y, *skip[250];
    c.parameter = add_weight(&c, "p");
    for (int32_t layer = 0; layer < 500; layer++) {
        mm_graph_begin_segment(g);
        mm_node *z = mm_linear(g, y, c.parameter, NULL, NULL);
        for (int32_t i = 0; i < 3; i++)
            z = mm_activation(g, mm_linear(g, z, c.parameter, NULL, NULL), MM_ACTIVATION_SILU);
        y = mm_add(g, y, z);
        if (layer < 250)
            skip[layer] = y;
        else
            y = mm_slice(g, mm_concat(g, y, skip[499 - layer]), 4, 8);
        mm_graph_end_segment(g);
    }
    c.loss = mm_mean_squared_error(g, y, x);
    assert_int_equal(mm_graph_differentiate(g, c.loss, &c.parameter, 1, &c.gradient, &error),
                     MM_OK);
    request(&c, 1);
    assert_true(g->count > 10000);
    assert_int_equal(mm_plan_choose(&plan, &c.request, 0, false, &error), MM_OK);
    size_t budget = plan.arena_bytes / 3;
    mm_plan_free(&plan);
    clock_t begin = clock();
    assert_int_equal(mm_plan_choose(&plan, &c.request, budget, false, &error), MM_OK);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("%d nodes planned in %.2f s of processor time\n", g->count, seconds);
    assert_true(plan.arena_bytes <= budget && plan.again_count > 500);
    assert_true(seconds < 10.0);
    mm_plan_free(&plan);
    clear(&c);
}

static void test_layout_is_tight_where_it_can_be(void **state)
{
    (void)state;
    size_t offset[4], total;
    mm_error error;
    mm_block block[] = {{0, 1, 640, &offset[0]},
                        {1, 2, 64, &offset[1]},
                        {2, 3, 600, &offset[2]},
                        {3, 3, 1, &offset[3]}};
    assert_int_equal(mm_layout(block, 4, 64, &total, &error), MM_OK);
    assert_int_equal(total, 640 + 64);
    assert_int_equal(offset[0], offset[2]);
    assert_int_equal(offset[1], offset[3]);
    mm_block huge[] = {{0, 1, SIZE_MAX - 100, &offset[0]}, {0, 1, 200, &offset[1]}};
    assert_int_equal(mm_layout(huge, 2, 64, &total, &error), MM_ERR_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_value_is_overwritten_too_early),
        cmocka_unit_test(test_a_large_graph_is_planned_quickly),
        cmocka_unit_test(test_layout_is_tight_where_it_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* One network on two inputs: what its twins are, and how exact the difference of the results is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cpu/cpu.h"
#include "base/convert.h"
#include "base/memory.h"
#include "base/rng.h"
#include "graph/executable.h"
#include "graph/ops.h"

enum { frames = 4, side = 6, width = 32, elements = frames * side * side * width };

static mm_error error;

static void must(mm_status status)
{
    if (status != MM_OK)
        fail_msg("%s", error.text);
}

typedef struct network {
    mm_graph *graph;
    mm_weight_set set;
    mm_backend *backend;
    mm_dtype dtype;
    uint32_t stream;
    mm_node *x, *other, *time;
    mm_node *apart, *mixed, *convolved, *shifted, *added, *plain, *result;
} network;

/* The same numbers, which bf16 holds, in either type. */
static mm_node *weight(network *n, mm_shape shape, mm_dtype dtype)
{
    char name[32];
    snprintf(name, sizeof(name), "weight.%u", n->stream);
    mm_weight_part part = {name, shape};
    mm_weight *w = mm_weight_declare(&n->set, &part, 1, &shape, dtype, MM_WEIGHT_AS_STORED);
    size_t count = (size_t)mm_shape_elements(&shape);
    float *values = calloc(count, sizeof(float));
    mm_rng rng = {5, n->stream++, 0};
    mm_rng_normal(&rng, 0, values, count);
    uint16_t *narrow = calloc(count, sizeof(uint16_t));
    for (size_t i = 0; i < count; i++) {
        narrow[i] = mm_f32_to_bf16(values[i] * 0.1f);
        values[i] = mm_bf16_to_f32(narrow[i]);
    }
    w->bytes = count * mm_dtype_bytes(dtype);
    must(n->backend->table->allocate(n->backend, w->bytes, &w->data, &error));
    memcpy(w->data, dtype == MM_BF16 ? (void *)narrow : (void *)values, w->bytes);
    free(values);
    free(narrow);
    return mm_weight_node(n->graph, w);
}

static mm_node *matrix(network *n)
{
    return weight(n, MM_SHAPE(width, width), n->dtype);
}

static mm_node *vector(network *n)
{
    return weight(n, MM_SHAPE(width), MM_F32);
}

/* Products of all kinds, with and without addends, norms and attention between them. */
static void build_layers(network *n, mm_node *x)
{
    static const int32_t around[4] = {1, 1, 1, 1};
    mm_graph *g = n->graph;
    mm_sequences pixels = {frames, side * side, 1};
    n->apart =
        mm_activation(g, mm_linear(g, n->time, matrix(n), vector(n), NULL), MM_ACTIVATION_SILU);
    n->convolved = mm_conv2d(g, x, weight(n, MM_SHAPE(width, width, 3, 3), n->dtype), vector(n),
                             NULL, 1, around);
    n->mixed = mm_add_rows(g, n->convolved, n->apart);
    n->shifted = mm_temporal_conv(g, n->mixed, weight(n, MM_SHAPE(3, width, width), n->dtype),
                                  vector(n), n->convolved, frames);
    mm_node *normal =
        mm_group_norm(g, n->shifted, vector(n), vector(n), 4, 1e-5f, frames, MM_ACTIVATION_SILU);
    mm_node *qkv =
        mm_linear(g, normal, weight(n, MM_SHAPE(3 * width, width), n->dtype), NULL, NULL);
    mm_node *seen = mm_attention(g, qkv, pixels, 2, width / 2, false);
    n->added = mm_linear(g, seen, matrix(n), vector(n), n->shifted);
    n->plain = mm_linear(g, n->added, weight(n, MM_SHAPE(width, width), MM_F32), NULL, NULL);
    n->result = mm_view(g, n->plain, &MM_SHAPE(elements));
}

static void open_network(network *n, mm_dtype dtype, bool twins)
{
    *n = (network){.dtype = dtype};
    must(mm_cpu_backend_create(&n->backend, 1, NULL, &error));
    must(mm_graph_create(&n->graph, dtype, &error));
    mm_weight_set_init(&n->set, dtype);
    mm_graph_set_precise(n->graph, true);
    n->x = mm_input(n->graph, "x", MM_F32, &MM_SHAPE(frames, side, side, width));
    n->other = mm_input(n->graph, "other", MM_F32, &n->x->shape);
    n->time = mm_input(n->graph, "time", MM_F32, &MM_SHAPE(1, width));
    if (twins)
        mm_graph_begin_twins(n->graph, n->x, n->other);
    build_layers(n, n->x);
    mm_graph_end_twins(n->graph);
    must(mm_graph_status(n->graph, &error));
}

static void close_network(network *n)
{
    for (int32_t i = 0; i < n->set.count; i++)
        n->backend->table->weight_release(n->backend, n->set.weight[i]);
    mm_weight_set_free(&n->set);
    mm_graph_free(&n->graph);
    n->backend->table->free(n->backend);
}

/* A product of what differs, on top of the first one's result. */
static void assert_is_by_difference(const mm_node *node, const mm_node *base)
{
    const mm_node *twin = node->twin, *change = twin->source[0];
    assert_int_equal(twin->op, node->op);
    assert_int_equal(change->op, MM_OP_difference);
    assert_ptr_equal(change->source[0], node->source[0]->twin);
    assert_ptr_equal(change->source[1], node->source[0]);
    assert_ptr_equal(twin->source[1], node->source[1]);
    assert_null(twin->source[2]);
    if (base)
        assert_ptr_equal(twin->source[3], base);
}

static void test_what_twins_are(void **state)
{
    (void)state;
    network n;
    open_network(&n, MM_BF16, true);
    assert_ptr_equal(n.x->twin, n.other);
    assert_null(n.apart->twin);
    assert_is_by_difference(n.convolved, n.convolved);
    assert_ptr_equal(n.mixed->twin->source[0], n.convolved->twin);
    assert_ptr_equal(n.mixed->twin->source[1], n.apart);
    assert_is_by_difference(n.shifted, NULL);
    const mm_node *base = n.shifted->twin->source[3];
    assert_int_equal(base->op, MM_OP_add);
    assert_ptr_equal(base->source[0], n.shifted);
    assert_ptr_equal(base->source[1]->source[0], n.convolved->twin);
    assert_ptr_equal(base->source[1]->source[1], n.convolved);
    /* Nothing is rounded on the way into a f32 matrix. */
    assert_ptr_equal(n.plain->twin->source[0], n.added->twin);
    assert_ptr_equal(n.result->twin->source[0], n.plain->twin);
    assert_null(mm_activation(n.graph, n.mixed, MM_ACTIVATION_GELU)->twin);
    close_network(&n);
}

/* A twin waits until its own has been read once, but never leaves its segment. */
static void test_when_twins_come(void **state)
{
    (void)state;
    mm_graph *g;
    must(mm_graph_create(&g, MM_F32, &error));
    mm_node *x = mm_input(g, "x", MM_F32, &MM_SHAPE(4));
    mm_graph_begin_twins(g, x, mm_input(g, "y", MM_F32, &MM_SHAPE(4)));
    mm_graph_begin_segment(g);
    mm_node *a = mm_scale(g, x, 2.0f), *b = mm_scale(g, a, 3.0f);
    assert_int_equal(a->twin->id, b->id + 1);
    mm_graph_begin_segment(g);
    assert_int_equal(b->twin->segment, b->segment);
    mm_node *c = mm_scale(g, b, 4.0f);
    assert_null(c->twin);
    mm_graph_end_twins(g);
    assert_int_equal(c->twin->segment, b->segment + 1);
    must(mm_graph_status(g, &error));
    mm_graph_free(&g);
}

static void test_other_shapes_are_refused(void **state)
{
    (void)state;
    mm_graph *g;
    must(mm_graph_create(&g, MM_F32, &error));
    mm_node *x = mm_input(g, "x", MM_F32, &MM_SHAPE(4));
    mm_graph_begin_twins(g, x, mm_input(g, "y", MM_F32, &MM_SHAPE(5)));
    assert_int_equal(mm_graph_status(g, &error), MM_ERR_USAGE);
    mm_graph_free(&g);
}

static void run(network *n, const float *x, const float *other, mm_node *output, float *out)
{
    float time[width];
    mm_executable *e;
    mm_compile_options options = {0};
    mm_rng rng = {5, 1000, 0};
    mm_rng_normal(&rng, 0, time, width);
    must(mm_executable_create(&e, n->graph, &output, 1, n->backend, &options, &error));
    must(mm_executable_write(e, n->x, x, elements * sizeof(float), &error));
    if (other)
        must(mm_executable_write(e, n->other, other, elements * sizeof(float), &error));
    must(mm_executable_write(e, n->time, time, sizeof(time), &error));
    must(mm_executable_run(e, NULL, &error));
    must(mm_executable_read(e, output, out, elements * sizeof(float), &error));
    mm_executable_free(&e);
}

/* f32 on both inputs, one after the other. */
static void expected_difference(const float *x, const float *other, float *first, float *out)
{
    network n;
    open_network(&n, MM_F32, false);
    run(&n, x, NULL, n.result, first);
    run(&n, other, NULL, n.result, out);
    close_network(&n);
    for (int i = 0; i < elements; i++)
        out[i] -= first[i];
}

static double relative(const float *have, const float *want)
{
    double wrong = 0.0, all = 0.0;
    for (int i = 0; i < elements; i++) {
        wrong += pow((double)have[i] - (double)want[i], 2);
        all += pow((double)want[i], 2);
    }
    return sqrt(wrong / all);
}

static bool has_bf16(const network *n)
{
    return n->backend->table->computes(n->backend, MM_BF16);
}

/* Inputs differ by less than a bf16 number resolves. */
static void test_small_differences_are_kept(void **state)
{
    (void)state;
    static float x[elements], other[elements], want[elements], first[elements], have[elements],
        twin[elements];
    mm_rng rng = {5, 2000, 0}, change = {5, 2001, 0};
    mm_rng_normal(&rng, 0, x, elements);
    mm_rng_normal(&change, 0, other, elements);
    for (int i = 0; i < elements; i++)
        other[i] = x[i] + 1e-3f * other[i];
    network n;
    open_network(&n, MM_BF16, true);
    if (!has_bf16(&n)) {
        close_network(&n);
        skip();
    }
    expected_difference(x, other, first, want);
    run(&n, x, other, n.result, have);
    run(&n, x, other, n.result->twin, twin);
    assert_true(relative(have, first) > 1e-4);
    assert_true(relative(have, first) < 1e-2);
    for (int i = 0; i < elements; i++)
        twin[i] -= have[i];
    double wrong = relative(twin, want);
    if (!(wrong < 1e-2))
        fail_msg("the difference is wrong by %g", wrong);
    close_network(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_twins_are),
        cmocka_unit_test(test_when_twins_come),
        cmocka_unit_test(test_other_shapes_are_refused),
        cmocka_unit_test(test_small_differences_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

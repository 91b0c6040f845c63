/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/executable.h"

enum { most_nodes = 256, differences = 40 };

/* Leaves are weights and parameters, whole numbers are inputs; all values are known in double. */
typedef struct values {
    double *of[most_nodes];
} values;

int64_t mm_suite_roll(mm_suite *s, int64_t low, int64_t high)
{
    return mm_rng_integer(&s->rng, s->index++, low, high);
}

static void die(const char *what, const mm_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->text);
    exit(1);
}

static void must(mm_status status, const char *what, const mm_error *error)
{
    if (status != MM_OK)
        die(what, error);
}

void mm_suite_begin(mm_suite *s)
{
    mm_error error;
    must(mm_graph_create(&s->graph, s->compute, &error), "graph", &error);
    mm_graph_set_precise(s->graph, s->precise);
    mm_weight_set_init(&s->set, s->compute);
    s->low = -1.0f;
    s->high = 1.0f;
}

static void fill(mm_suite *s, mm_weight *weight)
{
    mm_error error;
    size_t count = (size_t)mm_shape_elements(&weight->shape);
    float *data = mm_malloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        mm_rng_uniform(&s->rng, s->index++, &data[i], 1);
        data[i] = s->low + (s->high - s->low) * data[i];
    }
    for (size_t i = 0; s->compute == MM_BF16 && i < count; i++)
        data[i] = mm_bf16_to_f32(mm_f32_to_bf16(data[i]));
    uint16_t *narrow = (uint16_t *)(void *)data;
    for (size_t i = 0; weight->dtype == MM_BF16 && i < count; i++)
        narrow[i] = mm_f32_to_bf16(data[i]);
    weight->bytes = count * mm_dtype_bytes(weight->dtype);
    must(s->backend->table->allocate(s->backend, weight->bytes, &weight->data, &error), "weight",
         &error);
    must(s->backend->table->upload(s->backend, weight->data, data, weight->bytes, &error), "weight",
         &error);
    mm_free(data);
}

static mm_weight *leaf(mm_suite *s, mm_shape shape, mm_dtype dtype, bool trainable)
{
    char name[32];
    snprintf(name, sizeof(name), "leaf.%d", s->set.count);
    mm_weight_part part = {name, shape};
    mm_weight *weight = mm_weight_declare(&s->set, &part, 1, &shape, dtype, MM_WEIGHT_AS_STORED);
    weight->trainable = trainable;
    fill(s, weight);
    return weight;
}

mm_node *mm_suite_parameter(mm_suite *s, mm_shape shape)
{
    mm_node *node = mm_parameter_node(s->graph, leaf(s, shape, MM_F32, true));
    node = mm_cast(s->graph, node, s->compute);
    return mm_suite_roll(s, 0, 1) ? mm_scale(s->graph, node, 1.0f) : node;
}

mm_node *mm_suite_weight(mm_suite *s, mm_shape shape)
{
    return mm_weight_node(s->graph, leaf(s, shape, shape.rank > 1 ? s->compute : MM_F32, false));
}

/* The range waits in the node's attributes, which inputs do not use. */
mm_node *mm_suite_whole(mm_suite *s, mm_dtype dtype, mm_shape shape, int64_t low, int64_t high)
{
    mm_node *node = mm_input(s->graph, "whole", dtype, &shape);
    node->attr.slice.first = low;
    node->attr.slice.count = high;
    return node;
}

static void read_leaf(mm_suite *s, const mm_node *node, double *out)
{
    mm_error error;
    float *data = mm_malloc(node->weight->bytes);
    const uint16_t *narrow = (const uint16_t *)(const void *)data;
    must(s->backend->table->download(s->backend, data, node->weight->data, node->weight->bytes,
                                     &error),
         "weight", &error);
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        out[i] = node->dtype == MM_BF16 ? (double)mm_bf16_to_f32(narrow[i]) : (double)data[i];
    mm_free(data);
}

static void start_values(mm_suite *s, values *v)
{
    *v = (values){0};
    for (int32_t id = 0; id < s->graph->count; id++) {
        const mm_node *node = s->graph->node[id];
        v->of[id] = mm_calloc((size_t)mm_node_elements(node), sizeof(double));
        if (node->weight)
            read_leaf(s, node, v->of[id]);
        for (int64_t i = 0; node->op == MM_OP_input && i < mm_node_elements(node); i++)
            v->of[id][i] = (double)mm_suite_roll(s, node->attr.slice.first, node->attr.slice.count);
    }
}

static void free_values(values *v)
{
    for (int32_t id = 0; id < most_nodes; id++)
        mm_free(v->of[id]);
}

/* Computes nodes 0 .. last in double. */
static void evaluate(const mm_graph *g, values *v, int32_t last)
{
    for (int32_t id = 0; id <= last; id++) {
        const mm_node *node = g->node[id];
        const double *x[MM_MAX_SOURCES] = {NULL};
        for (int32_t i = 0; i < node->source_count; i++)
            x[i] = node->source[i] ? v->of[node->source[i]->id] : NULL;
        if (node->op == MM_OP_view)
            memcpy(v->of[id], x[0], (size_t)mm_node_elements(node) * sizeof(double));
        else if (node->source_count)
            mm_reference_of(node->op)(node, v->of[id], x);
    }
}

static void write_whole(const mm_graph *g, mm_executable *e, const values *v)
{
    mm_error error;
    for (int32_t id = 0; id < g->count; id++) {
        const mm_node *node = g->node[id];
        if (node->op != MM_OP_input)
            continue;
        union {
            int32_t narrow[1024];
            int64_t wide[1024];
        } data;
        for (int64_t i = 0; i < mm_node_elements(node); i++) {
            if (node->dtype == MM_I32)
                data.narrow[i] = (int32_t)v->of[id][i];
            else
                data.wide[i] = (int64_t)v->of[id][i];
        }
        must(mm_executable_write(e, node, &data, mm_node_bytes(node), &error), "input", &error);
    }
}

typedef struct checked {
    mm_node *y, *loss;
    mm_node *parameter[16], *gradient[16];
    int32_t count;
} checked;

/* Adds a loss and gradients where the graph has parameters. */
static void add_gradients(mm_suite *s, checked *c)
{
    mm_error error;
    mm_graph *g = s->graph;
    if (!c->y->needs_gradient)
        return;
    for (int32_t id = 0; id < g->count; id++) {
        if (g->node[id]->op == MM_OP_parameter)
            c->parameter[c->count++] = g->node[id];
    }
    c->loss = c->y;
    if (c->y->shape.rank > 0)
        c->loss =
            mm_mean_squared_error(g, c->y, mm_weight_node(g, leaf(s, c->y->shape, MM_F32, false)));
    must(mm_graph_differentiate(g, c->loss, c->parameter, c->count, c->gradient, &error),
         "differentiate", &error);
}

static void fail(mm_suite *s, const mm_node *y, const char *what, double error)
{
    char shape[128];
    s->failures++;
    fprintf(stderr, "FAILED %s of %s %s: error %.3g of the largest\n", what,
            mm_op_describe(s->op)->name, mm_shape_text(&y->shape, shape, sizeof(shape)), error);
}

/* The largest error over the largest expected value; infinite when anything is not finite. */
static double distance(const float *have, const double *want, int64_t count)
{
    double most = 0.0, error = 0.0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(have[i]))
            return INFINITY;
        error = fmax(error, fabs((double)have[i] - want[i]));
        most = fmax(most, fabs(want[i]));
    }
    return error / fmax(most, 1e-6);
}

static float *read_back(mm_executable *e, const mm_node *node)
{
    mm_error error;
    float *data = mm_malloc(mm_node_bytes(node));
    must(mm_executable_read(e, node, data, mm_node_bytes(node), &error), "output", &error);
    return data;
}

static void compare_value(mm_suite *s, mm_executable *e, const mm_node *y, const values *v)
{
    float *have = read_back(e, y);
    double error = distance(have, v->of[y->id], mm_node_elements(y));
    mm_free(have);
    s->worst_value[s->op] = fmax(s->worst_value[s->op], error);
    if (!(error <= s->tolerance))
        fail(s, y, "value", error);
}

/* Central difference of the loss by one element of a leaf. */
static double difference(const mm_graph *g, values *v, const checked *c, int32_t id, int64_t i)
{
    const double h = 1e-5;
    double loss[2], kept = v->of[id][i];
    for (int side = 0; side < 2; side++) {
        v->of[id][i] = kept + (side ? h : -h);
        evaluate(g, v, c->loss->id);
        loss[side] = v->of[c->loss->id][0];
    }
    v->of[id][i] = kept;
    return (loss[1] - loss[0]) / (2.0 * h);
}

/* All elements of small leaves, a spread of those of large ones. */
static void compare_gradient(mm_suite *s, mm_executable *e, const checked *c, int32_t number,
                             values *v)
{
    const mm_node *gradient = c->gradient[number];
    int64_t count = mm_node_elements(gradient), step = count / differences + 1, checks = 0;
    float *have = read_back(e, gradient), picked[differences + 1];
    double want[differences + 1];
    for (int64_t i = 0; i < count; i += step, checks++) {
        picked[checks] = have[i];
        want[checks] = difference(s->graph, v, c, c->parameter[number]->id, i);
    }
    double error = distance(picked, want, checks);
    mm_free(have);
    s->worst_gradient[s->op] = fmax(s->worst_gradient[s->op], error);
    if (!(error <= s->gradient_tolerance))
        fail(s, c->y, "gradient", error);
}

static mm_executable *run(mm_suite *s, const checked *c, const values *v, bool gradients)
{
    mm_error error;
    mm_executable *e;
    mm_node *outputs[18] = {c->y};
    int32_t count = 1;
    for (int32_t i = 0; gradients && i < c->count; i++) {
        if (c->gradient[i])
            outputs[count++] = c->gradient[i];
    }
    const char *name = mm_op_describe(c->y->op)->name;
    must(mm_executable_create(&e, s->graph, outputs, count, s->backend, NULL, &error), name,
         &error);
    write_whole(s->graph, e, v);
    must(mm_executable_run(e, NULL, &error), name, &error);
    for (int32_t id = 0; gradients && id < s->graph->count; id++)
        s->checks[s->graph->node[id]->op]++;
    return e;
}

static void end(mm_suite *s)
{
    for (int32_t i = 0; i < s->set.count; i++) {
        mm_weight *weight = s->set.weight[i];
        if (s->backend->table->weight_release)
            s->backend->table->weight_release(s->backend, weight);
        else
            s->backend->table->release(s->backend, weight->data, weight->bytes);
    }
    mm_weight_set_free(&s->set);
    mm_graph_free(&s->graph);
}

void mm_suite_check(mm_suite *s, mm_node *y)
{
    mm_error error;
    values v;
    must(mm_graph_status(s->graph, &error), "building", &error);
    s->op = y->op;
    y = mm_cast(s->graph, y, MM_F32);
    checked c = {.y = y};
    must(mm_graph_status(s->graph, &error), "building", &error);
    add_gradients(s, &c);
    int32_t last = c.loss ? c.loss->id : y->id;
    if (s->graph->count > most_nodes) {
        snprintf(error.text, sizeof(error.text), "too many nodes for the suite");
        die("check", &error);
    }
    start_values(s, &v);
    evaluate(s->graph, &v, last);
    /* Alone, the op may take the memory of its sources; with gradients it may not. */
    mm_executable *e = run(s, &c, &v, false);
    compare_value(s, e, y, &v);
    mm_executable_free(&e);
    e = run(s, &c, &v, true);
    compare_value(s, e, y, &v);
    for (int32_t i = 0; i < c.count; i++) {
        if (c.gradient[i])
            compare_gradient(s, e, &c, i, &v);
    }
    mm_executable_free(&e);
    free_values(&v);
    end(s);
}

static bool is_run(const mm_suite *s, mm_op op)
{
    switch (op) {
    case MM_OP_combine:
    case MM_OP_clamp:
    case MM_OP_resize_bilinear:
    case MM_OP_timestep_embedding:
    case MM_OP_patch_correlation:
    case MM_OP_mean_squared_error:
    case MM_OP_clamp_grad:
        return s->compute == MM_F32;
    case MM_OP_convert:
        return s->compute == MM_BF16;
    default:
        return true;
    }
}

static void report(mm_suite *s)
{
    printf("%-28s %6s %10s %10s\n", "op", "checks", "value", "gradient");
    for (int32_t op = MM_OP_view + 1; op < MM_OP_COUNT; op++) {
        const char *name = mm_op_describe((mm_op)op)->name;
        printf("%-28s %6d %10.2g ", name, s->checks[op], s->worst_value[op]);
        if (mm_op_differentiable((mm_op)op))
            printf("%10.2g\n", s->worst_gradient[op]);
        else
            printf("%10s\n", "none");
        if (s->checks[op] == 0 && is_run(s, (mm_op)op)) {
            fprintf(stderr, "FAILED %s: no kernel of it ran\n", name);
            s->failures++;
        }
    }
}

/* Every op draws numbers of its own, so that a new op changes nobody else's. */
static void seed_by_name(mm_suite *s, const char *name)
{
    s->index = 0;
    s->rng.seed = 11;
    for (; *name; name++)
        s->rng.seed = s->rng.seed * 31 + (unsigned char)*name;
}

int mm_conformance_run(mm_backend *backend, mm_dtype compute, bool precise)
{
    bool narrow = compute == MM_BF16;
    mm_suite s = {.backend = backend,
                  .precise = precise,
                  .compute = compute,
                  .rng = {.stream = 1},
                  .tolerance = narrow ? 1e-2 : 1e-5,
                  .gradient_tolerance = narrow ? 3e-2 : 1e-4};
#define MM_LEAF(...)
#define MM_OP(name, ...)          \
    seed_by_name(&s, #name);      \
    if (is_run(&s, MM_OP_##name)) \
        mm_case_##name(&s);
#include "graph/ops.def"
#undef MM_OP
    report(&s);
    printf("%d failures\n", s.failures);
    return s.failures;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time and FLOP/s of single ops at the sizes of a full-size UNet (16 frames, 48x48 latents) and of
 * its VAE (384x384 pixels). With --cpu-time what the processor spent, which other programs disturb
 * less: for one thread only.
 *
 *   ops [--json] [--threads N] [--isa NAME] [--precision f32|bf16] [--cpu-time] [--filter TEXT]
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/convert.h"
#include "base/memory.h"
#include "graph/executable.h"
#include "graph/ops.h"
#include "peak.h"

enum { FRAMES = 16, MOST_WEIGHTS = 4 };

typedef enum kind {
    PRODUCT,       /* in -> out channels for every pixel */
    PRODUCT_BACK,  /* its gradient with respect to the input */
    LORA_DOWN,     /* to rank 32 */
    LORA_UP,       /* from rank 32, added to a base product */
    LORA_GRADIENT, /* of the matrix of LORA_DOWN */
    CONV,
    CONV_STRIDE_2,
    CONV_BACK,
    TEMPORAL_CONV,
    TEMPORAL_CONV_BACK,
    GROUP_NORM,
    GROUP_NORM_CLIP, /* over all frames */
    LAYER_NORM,
    GEGLU,
    ADD,
    CONCAT,
    SPATIAL_ATTENTION,
    TEMPORAL_ATTENTION,
    CROSS_ATTENTION,
    TEMPORAL_MAP,
    CROSS_MAP,
    SPATIAL_ATTENTION_BACK,
    TEMPORAL_ATTENTION_BACK,
    CROSS_ATTENTION_BACK,
    TEMPORAL_MAP_BACK,
    CROSS_MAP_BACK,
    KIND_COUNT
} kind;

static const char *const kind_names[KIND_COUNT] = {"product",
                                                   "product back",
                                                   "lora down",
                                                   "lora up",
                                                   "lora gradient",
                                                   "conv 3x3",
                                                   "conv 3x3 /2",
                                                   "conv 3x3 back",
                                                   "temporal conv",
                                                   "temporal back",
                                                   "group norm silu",
                                                   "group norm clip silu",
                                                   "layer norm",
                                                   "geglu",
                                                   "add",
                                                   "concat",
                                                   "attention",
                                                   "attention time",
                                                   "attention text",
                                                   "map time",
                                                   "map text",
                                                   "attention back",
                                                   "attention time back",
                                                   "attention text back",
                                                   "map time back",
                                                   "map text back"};

typedef struct bench_case {
    kind kind;
    int64_t images, side, in, out;
} bench_case;

static const bench_case cases[] = {
    {PRODUCT, FRAMES, 48, 320, 320},
    {PRODUCT, FRAMES, 48, 320, 960},
    {PRODUCT, FRAMES, 48, 320, 2560},
    {PRODUCT, FRAMES, 48, 1280, 320},
    {PRODUCT, FRAMES, 24, 640, 640},
    {PRODUCT, FRAMES, 24, 640, 5120},
    {PRODUCT, FRAMES, 24, 2560, 640},
    {PRODUCT, FRAMES, 12, 1280, 1280},
    {PRODUCT, FRAMES, 12, 1280, 10240},
    {PRODUCT, FRAMES, 12, 5120, 1280},
    {PRODUCT, FRAMES, 6, 1280, 1280},
    {PRODUCT_BACK, FRAMES, 48, 320, 320},
    {PRODUCT_BACK, FRAMES, 12, 1280, 1280},
    {LORA_DOWN, FRAMES, 48, 320, 32},
    {LORA_UP, FRAMES, 48, 32, 320},
    {LORA_GRADIENT, FRAMES, 48, 320, 32},
    {CONV, FRAMES, 48, 4, 320},
    {CONV, FRAMES, 48, 320, 320},
    {CONV, FRAMES, 48, 960, 320},
    {CONV, FRAMES, 48, 640, 640},
    {CONV, FRAMES, 48, 320, 4},
    {CONV, FRAMES, 24, 640, 640},
    {CONV, FRAMES, 24, 1920, 640},
    {CONV, FRAMES, 12, 1280, 1280},
    {CONV, FRAMES, 12, 2560, 1280},
    {CONV, FRAMES, 6, 1280, 1280},
    {CONV, FRAMES, 6, 2560, 1280},
    {CONV_STRIDE_2, FRAMES, 48, 320, 320},
    {CONV_STRIDE_2, FRAMES, 12, 1280, 1280},
    {CONV_BACK, FRAMES, 48, 320, 320},
    {CONV_BACK, FRAMES, 12, 1280, 1280},
    {CONV_BACK, FRAMES, 6, 1280, 1280},
    {TEMPORAL_CONV, FRAMES, 48, 320, 320},
    {TEMPORAL_CONV, FRAMES, 24, 640, 640},
    {TEMPORAL_CONV, FRAMES, 12, 1280, 1280},
    {TEMPORAL_CONV, FRAMES, 6, 1280, 1280},
    {TEMPORAL_CONV_BACK, FRAMES, 48, 320, 320},
    {TEMPORAL_CONV_BACK, FRAMES, 12, 1280, 1280},
    {GROUP_NORM, FRAMES, 48, 320, 320},
    {GROUP_NORM, FRAMES, 12, 1280, 1280},
    {GROUP_NORM_CLIP, FRAMES, 48, 320, 320},
    {LAYER_NORM, FRAMES, 48, 320, 320},
    {GEGLU, FRAMES, 48, 2560, 1280},
    {ADD, FRAMES, 48, 320, 320},
    {CONCAT, FRAMES, 48, 320, 640},
    {SPATIAL_ATTENTION, FRAMES, 48, 960, 320},
    {SPATIAL_ATTENTION, FRAMES, 24, 1920, 640},
    {SPATIAL_ATTENTION, FRAMES, 12, 3840, 1280},
    {TEMPORAL_ATTENTION, FRAMES, 48, 960, 320},
    {TEMPORAL_ATTENTION, FRAMES, 24, 1920, 640},
    {CROSS_ATTENTION, FRAMES, 48, 320, 320},
    {CROSS_ATTENTION, FRAMES, 24, 640, 640},
    {SPATIAL_ATTENTION_BACK, FRAMES, 48, 960, 320},
    {TEMPORAL_ATTENTION_BACK, FRAMES, 48, 960, 320},
    {CROSS_ATTENTION_BACK, FRAMES, 48, 320, 320},
    {TEMPORAL_MAP, FRAMES, 12, 3840, 1280},
    {CROSS_MAP, FRAMES, 12, 1280, 1280},
    {TEMPORAL_MAP_BACK, FRAMES, 12, 3840, 1280},
    {CROSS_MAP_BACK, FRAMES, 12, 1280, 1280},
    {CONV, 1, 384, 3, 128},
    {CONV, 1, 384, 128, 128},
    {CONV, 1, 192, 256, 256},
    {CONV, 1, 48, 512, 8},
    {GROUP_NORM, 1, 384, 128, 128},
};

typedef struct bench {
    mm_backend *backend;
    mm_graph *graph;
    mm_weight weight[MOST_WEIGHTS];
    int32_t weights;
    mm_dtype dtype;
    bool processor; /* measure its time */
    mm_error error;
} bench;

typedef struct measurement {
    double seconds, flops;
} measurement;

static void fill(void *values, mm_dtype dtype, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        float value = (float)(state >> 8) / 8388608.0f - 1.0f;
        mm_convert_numbers((char *)values + i * mm_dtype_bytes(dtype), dtype, &value, MM_F32, 1);
    }
}

static mm_node *weight(bench *b, mm_shape shape)
{
    mm_weight *w = &b->weight[b->weights++];
    size_t count = (size_t)mm_shape_elements(&shape);
    *w = (mm_weight){.name = "weight", .shape = shape, .dtype = shape.rank > 1 ? b->dtype : MM_F32};
    w->bytes = count * mm_dtype_bytes(w->dtype);
    if (b->backend->table->allocate(b->backend, w->bytes, &w->data, &b->error) == MM_OK)
        fill(w->data, w->dtype, count);
    return mm_weight_node(b->graph, w);
}

static mm_node *input(bench *b, mm_shape shape)
{
    return mm_input(b->graph, "x", b->dtype, &shape);
}

static mm_node *product(bench *b, const bench_case *c, bool ta, bool tb)
{
    mm_attributes attributes = {
        .matmul = {.transpose_a = ta, .transpose_b = tb, .groups = 1, .alpha = 1.0f}};
    int64_t rows = c->images * c->side * c->side;
    mm_node *second = ta   ? input(b, MM_SHAPE(rows, c->out))
                      : tb ? weight(b, MM_SHAPE(c->out, c->in))
                           : weight(b, MM_SHAPE(c->in, c->out));
    mm_node *addend = c->kind == LORA_UP ? input(b, MM_SHAPE(rows, c->out)) : NULL;
    return mm_matmul(b->graph, input(b, MM_SHAPE(rows, c->in)), second,
                     c->kind == PRODUCT ? weight(b, MM_SHAPE(c->out)) : NULL, addend, &attributes);
}

static mm_node *convolution(bench *b, const bench_case *c)
{
    static const int32_t padding[] = {1, 1, 1, 1};
    int32_t stride = c->kind == CONV_STRIDE_2 ? 2 : 1;
    mm_node *x = input(b, MM_SHAPE(c->images, c->side, c->side, c->in));
    mm_node *w = weight(b, MM_SHAPE(c->out, c->in, 3, 3));
    mm_node *y = mm_conv2d(b->graph, x, w, weight(b, MM_SHAPE(c->out)), NULL, stride, padding);
    if (c->kind != CONV_BACK || !y)
        return y;
    return mm_graph_add(b->graph, MM_OP_conv2d_grad, 2, (mm_node *[]){input(b, y->shape), w},
                        &y->attr);
}

static mm_node *temporal(bench *b, const bench_case *c)
{
    mm_node *x = input(b, MM_SHAPE(c->images, c->side, c->side, c->in));
    mm_node *w = weight(b, MM_SHAPE(3, c->out, c->in));
    mm_node *y = mm_temporal_conv(b->graph, x, w, weight(b, MM_SHAPE(c->out)), NULL, c->images);
    if (c->kind != TEMPORAL_CONV_BACK || !y)
        return y;
    return mm_graph_add(b->graph, MM_OP_temporal_conv_grad, 2, (mm_node *[]){input(b, y->shape), w},
                        &y->attr);
}

static mm_node *attention(bench *b, const bench_case *c)
{
    int64_t pixels = c->side * c->side, width = 64, heads = c->out / width;
    bool time = c->kind != SPATIAL_ATTENTION && c->kind != SPATIAL_ATTENTION_BACK;
    mm_sequences sequences =
        time ? (mm_sequences){1, c->images, pixels} : (mm_sequences){c->images, pixels, 1};
    mm_node *x = input(b, MM_SHAPE(c->images * pixels, c->in));
    bool map = c->kind == TEMPORAL_MAP || c->kind == TEMPORAL_MAP_BACK;
    mm_node *y = map ? mm_attention_map(b->graph, x, sequences, heads, width)
                     : mm_attention(b->graph, x, sequences, heads, width, false);
    if (c->kind < SPATIAL_ATTENTION_BACK || !y)
        return y;
    return mm_graph_add(b->graph, map ? MM_OP_attention_map_grad : MM_OP_attention_grad, 2,
                        (mm_node *[]){x, mm_input(b->graph, "dy", y->dtype, &y->shape)}, &y->attr);
}

static mm_node *cross_attention(bench *b, const bench_case *c)
{
    int64_t width = 64, heads = c->out / width;
    bool map = c->kind == CROSS_MAP || c->kind == CROSS_MAP_BACK;
    mm_node *q = input(b, MM_SHAPE(c->images * c->side * c->side, c->in));
    mm_node *kv = input(b, MM_SHAPE(c->images, 77, 2 * c->out));
    mm_node *y = map ? mm_cross_attention_map(b->graph, q, kv, heads, width)
                     : mm_cross_attention(b->graph, q, kv, heads, width);
    if (c->kind < SPATIAL_ATTENTION_BACK || !y)
        return y;
    mm_node *dy = mm_input(b->graph, "dy", y->dtype, &y->shape);
    return mm_graph_add(b->graph, map ? MM_OP_cross_attention_map_grad : MM_OP_cross_attention_grad,
                        3, (mm_node *[]){q, kv, dy}, &y->attr);
}

static bool is_cross(kind k)
{
    return k == CROSS_ATTENTION || k == CROSS_ATTENTION_BACK || k == CROSS_MAP ||
           k == CROSS_MAP_BACK;
}

static mm_node *rowwise(bench *b, const bench_case *c)
{
    mm_node *x = input(b, MM_SHAPE(c->images, c->side, c->side, c->in));
    switch (c->kind) {
    case LAYER_NORM:
        return mm_layer_norm(b->graph, x, weight(b, MM_SHAPE(c->in)), weight(b, MM_SHAPE(c->in)),
                             1e-5f);
    case GEGLU:
        return mm_geglu(b->graph, x);
    case ADD:
        return mm_add(b->graph, x, input(b, x->shape));
    case CONCAT:
        return mm_concat(b->graph, x, input(b, x->shape));
    default:
        return mm_group_norm(b->graph, x, weight(b, MM_SHAPE(c->in)), weight(b, MM_SHAPE(c->in)),
                             32, 1e-5f, c->kind == GROUP_NORM_CLIP ? 1 : c->images,
                             MM_ACTIVATION_SILU);
    }
}

static mm_node *build(bench *b, const bench_case *c)
{
    if (c->kind <= LORA_GRADIENT)
        return product(b, c, c->kind == LORA_GRADIENT,
                       c->kind != PRODUCT_BACK && c->kind != LORA_GRADIENT);
    if (c->kind <= CONV_BACK)
        return convolution(b, c);
    if (c->kind <= TEMPORAL_CONV_BACK)
        return temporal(b, c);
    if (c->kind < SPATIAL_ATTENTION)
        return rowwise(b, c);
    return is_cross(c->kind) ? cross_attention(b, c) : attention(b, c);
}

static mm_status write_inputs(bench *b, mm_executable *executable, const mm_node *node)
{
    for (int32_t i = 0; i < node->source_count; i++) {
        const mm_node *source = node->source[i];
        if (!source || source->op != MM_OP_input)
            continue;
        size_t bytes = mm_node_bytes(source);
        void *values = mm_malloc(bytes);
        if (!values)
            return mm_fail_memory(&b->error, "an input", bytes);
        fill(values, source->dtype, (size_t)mm_node_elements(source));
        mm_status status = mm_executable_write(executable, source, values, bytes, &b->error);
        mm_free(values);
        MM_TRY(status);
    }
    return MM_OK;
}

/* The best of several runs, after one that packs the weights. */
static mm_status time_runs(bench *b, mm_executable *executable, measurement *out)
{
    out->seconds = INFINITY;
    double end = bench_seconds(b->processor) + 0.7;
    for (int run = 0; run < 3 || (run < 30 && bench_seconds(b->processor) < end); run++) {
        double start = bench_seconds(b->processor);
        MM_TRY(mm_executable_run(executable, NULL, &b->error));
        double seconds = bench_seconds(b->processor) - start;
        if (run > 0 && seconds < out->seconds)
            out->seconds = seconds;
    }
    return MM_OK;
}

static mm_status measure_node(bench *b, mm_node *node, measurement *out)
{
    mm_executable *executable = NULL;
    mm_plan_summary plan;
    MM_TRY(mm_graph_status(b->graph, &b->error));
    MM_TRY(mm_executable_create(&executable, b->graph, &node, 1, b->backend, NULL, &b->error));
    mm_executable_summary(executable, &plan);
    out->flops = plan.flops;
    mm_status status = write_inputs(b, executable, node);
    if (status == MM_OK)
        status = time_runs(b, executable, out);
    mm_executable_free(&executable);
    return status;
}

static mm_status measure(bench *b, const bench_case *c, measurement *out)
{
    b->weights = 0;
    MM_TRY(mm_graph_create(&b->graph, b->dtype, &b->error));
    mm_node *node = build(b, c);
    mm_status status = measure_node(b, node, out);
    mm_graph_free(&b->graph);
    for (int32_t i = 0; i < b->weights; i++)
        b->backend->table->weight_release(b->backend, &b->weight[i]);
    return status;
}

static void print_case(const bench_case *c, const measurement *m, double peak, bool json)
{
    double rate = m->flops / m->seconds;
    printf(json ? "{\"op\": \"%s\", \"images\": %lld, \"side\": %lld, \"in\": %lld, \"out\": %lld, "
                  "\"ms\": %.4f, \"gflops\": %.2f, \"share_of_peak\": %.4f}"
                : "%-20s %3lld x %3lld^2 %5lld -> %5lld %10.3f ms %8.1f GFLOP/s %5.2f\n",
           kind_names[c->kind], (long long)c->images, (long long)c->side, (long long)c->in,
           (long long)c->out, m->seconds * 1e3, rate * 1e-9, rate / peak);
    fflush(stdout);
}

static mm_status run_cases(bench *b, const char *filter, bool json)
{
    double peak;
    const char *separator = "";
    MM_TRY(bench_peak(b->backend, b->dtype, b->processor, &peak, &b->error));
    printf(json ? "{\"instructions\": \"%s\", \"precision\": \"%s\", \"peak_gflops\": %.1f, "
                  "\"ops\": [\n"
                : "%s, %s, peak %.1f GFLOP/s (square product)\n",
           mm_cpu_backend_isa(b->backend), mm_dtype_name(b->dtype), peak * 1e-9);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        measurement m = {0};
        if (filter && !strstr(kind_names[cases[i].kind], filter))
            continue;
        MM_TRY(measure(b, &cases[i], &m));
        if (json)
            printf("%s", separator);
        separator = ",\n";
        print_case(&cases[i], &m, peak, json);
    }
    if (json)
        printf("\n]}\n");
    return MM_OK;
}

typedef struct settings {
    const char *isa, *filter;
    int threads;
    bool json;
} settings;

static settings parse(int argc, char **argv, bench *b)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"threads", required_argument, NULL, 't'},
        {"isa", required_argument, NULL, 'i'},
        {"precision", required_argument, NULL, 'p'},
        {"cpu-time", no_argument, NULL, 'c'},
        {"filter", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    settings s = {0};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'j')
            s.json = true;
        else if (c == 't')
            s.threads = atoi(optarg);
        else if (c == 'i')
            s.isa = optarg;
        else if (c == 'p')
            b->dtype = strcmp(optarg, "bf16") == 0 ? MM_BF16 : MM_F32;
        else if (c == 'c')
            b->processor = true;
        else if (c == 'f')
            s.filter = optarg;
        else
            exit(2);
    }
    return s;
}

int main(int argc, char **argv)
{
    bench b = {.dtype = MM_F32};
    settings s = parse(argc, argv, &b);
    mm_status status = mm_cpu_backend_create(&b.backend, s.threads, s.isa, &b.error);
    if (status == MM_OK)
        status = run_cases(&b, s.filter, s.json);
    if (status != MM_OK)
        fprintf(stderr, "ops: %s\n", b.error.text);
    if (b.backend)
        b.backend->table->free(b.backend);
    return status == MM_OK ? 0 : 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Text encoder, VAE and UNet of two small models against PyTorch in float64. */
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
#include "base/memory.h"
#include "graph/executable.h"
#include "models/networks.h"
#include "models/weight_loader.h"

#define TOLERANCE 1e-5

static mm_error error;
static mm_backend *backend;

#define OK(call)                        \
    do {                                \
        if ((call) != MM_OK)            \
            fail_msg("%s", error.text); \
    } while (0)

static int open_backend(void **state)
{
    (void)state;
    return mm_cpu_backend_create(&backend, 2, NULL, &error);
}

static int close_backend(void **state)
{
    (void)state;
    backend->table->free(backend);
    return 0;
}

/* A component of a model with its weights, and a graph to build in. */
typedef struct network {
    mm_weight_set weights;
    mm_tensor_file *file;
    mm_graph *graph;
    mm_builder builder;
} network;

static char *path_of(const char *model, const char *name)
{
    char *path = mm_format("%s/%s/%s", FIXTURES, model, name);
    assert_non_null(path);
    return path;
}

static void start(network *n, const char *model, const char *component, const char *stem,
                  int64_t frames)
{
    char *directory = path_of(model, component), *path;
    mm_weight_set_init(&n->weights, MM_F32);
    OK(mm_component_find(&path, directory, stem, &error));
    OK(mm_tensor_file_open(&n->file, path, &error));
    OK(mm_graph_create(&n->graph, MM_F32, &error));
    n->builder =
        (mm_builder){.graph = n->graph, .weights = &n->weights, .frames = frames, .path = ""};
    mm_free(path);
    mm_free(directory);
}

static void finish(network *n)
{
    mm_graph_free(&n->graph);
    mm_weights_release(&n->weights, backend);
    mm_weight_set_free(&n->weights);
    mm_tensor_file_close(&n->file);
}

static mm_executable *compile(network *n, mm_node *const *outputs, int32_t count)
{
    mm_executable *executable;
    mm_compile_options options = {0};
    OK(mm_graph_status(n->graph, &error));
    OK(mm_weights_load(&n->weights, n->file, backend, NULL, &error));
    OK(mm_executable_create(&executable, n->graph, outputs, count, backend, &options, &error));
    return executable;
}

static size_t bytes_of(const mm_node *node)
{
    return (size_t)mm_shape_elements(&node->shape) * mm_dtype_bytes(node->dtype);
}

static float *run(mm_executable *executable, const mm_node *output)
{
    OK(mm_executable_run(executable, NULL, &error));
    float *values = mm_malloc(bytes_of(output));
    assert_non_null(values);
    OK(mm_executable_read(executable, output, values, bytes_of(output), &error));
    return values;
}

/* Expected values. */
typedef struct tensor {
    mm_shape shape;
    float *value;
    int64_t count;
} tensor;

static mm_tensor_file *open_expected(const char *model)
{
    mm_tensor_file *file;
    char *path = mm_format("%s/parity/%s.safetensors", FIXTURES, model);
    OK(mm_tensor_file_open(&file, path, &error));
    mm_free(path);
    return file;
}

static tensor expected(const mm_tensor_file *file, const char *name)
{
    int64_t index = mm_tensor_file_find(file, name);
    assert_true(index >= 0);
    tensor t = {.shape = mm_tensor_file_info(file, (size_t)index)->shape};
    t.count = mm_shape_elements(&t.shape);
    t.value = mm_malloc((size_t)t.count * sizeof(float));
    OK(mm_tensor_file_read_f32(file, (size_t)index, 0, t.count, t.value, &error));
    return t;
}

static void expected_ids(const mm_tensor_file *file, const char *name, int64_t *out, int64_t count)
{
    int64_t index = mm_tensor_file_find(file, name);
    assert_true(index >= 0);
    OK(mm_tensor_file_read_raw(file, (size_t)index, 0, count, out, &error));
}

/* [outer, channels, inner] to [outer, inner, channels]. */
static tensor channels_last(tensor t, int64_t outer, int64_t channels, int64_t inner)
{
    float *value = mm_malloc((size_t)t.count * sizeof(float));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t i = 0; i < inner; i++)
                value[(o * inner + i) * channels + c] = t.value[(o * channels + c) * inner + i];
    mm_free(t.value);
    t.value = value;
    return t;
}

static tensor expected_video(const mm_tensor_file *file, const char *name)
{
    tensor t = expected(file, name);
    const int64_t *d = t.shape.dim;
    assert_int_equal(t.shape.rank, 5);
    t = channels_last(t, d[0], d[1], d[2] * d[3] * d[4]);
    t.shape = MM_SHAPE(d[0] * d[2], d[3], d[4], d[1]);
    return t;
}

static tensor expected_frames(const mm_tensor_file *file, const char *name)
{
    tensor t = expected(file, name);
    const int64_t *d = t.shape.dim;
    assert_int_equal(t.shape.rank, 4);
    t = channels_last(t, d[0], d[1], d[2] * d[3]);
    t.shape = MM_SHAPE(d[0], d[2], d[3], d[1]);
    return t;
}

static void assert_equal(const char *what, const mm_node *node, float *have, tensor want)
{
    double largest = 0, worst = 0;
    assert_true(mm_shape_equal(&node->shape, &want.shape));
    for (int64_t i = 0; i < want.count; i++) {
        double difference = fabs((double)have[i] - (double)want.value[i]);
        largest = fmax(largest, fabs((double)want.value[i]));
        worst = isnan(difference) ? INFINITY : fmax(worst, difference);
    }
    print_message("%s: %.1e\n", what, worst / largest);
    if (!(worst <= TOLERANCE * largest))
        fail_msg("%s: %.2e of the largest value", what, worst / largest);
    mm_free(have);
    mm_free(want.value);
}

static void check_text(const char *model)
{
    network n;
    mm_clip_text_config config;
    int64_t ids[2 * 77];
    char *path = path_of(model, "text_encoder/config.json");
    mm_tensor_file *file = open_expected(model);
    start(&n, model, "text_encoder", "model", 1);
    OK(mm_clip_text_config_load(&config, path, &error));
    mm_node *input = mm_input(n.graph, "ids", MM_I64, &MM_SHAPE(2, 77));
    mm_node *output = mm_clip_text_build(&n.builder, &config, input);
    mm_executable *executable = compile(&n, &output, 1);
    expected_ids(file, "token_ids", ids, 2 * 77);
    OK(mm_executable_write(executable, input, ids, sizeof(ids), &error));

    /* The second prompt is the empty one. */
    tensor first = expected(file, "encoder_hidden_states");
    tensor second = expected(file, "empty.encoder_hidden_states");
    tensor both = {.shape = output->shape, .count = 2 * first.count};
    both.value = mm_malloc((size_t)both.count * sizeof(float));
    memcpy(both.value, first.value, (size_t)first.count * sizeof(float));
    memcpy(both.value + first.count, second.value, (size_t)second.count * sizeof(float));
    assert_equal("text encoder", output, run(executable, output), both);

    mm_free(first.value);
    mm_free(second.value);
    mm_executable_free(&executable);
    mm_tensor_file_close(&file);
    finish(&n);
    mm_free(path);
}

static void check_vae(const char *model)
{
    network n;
    mm_vae_config config;
    char *path = path_of(model, "vae/config.json");
    mm_tensor_file *file = open_expected(model);
    start(&n, model, "vae", "diffusion_pytorch_model", 1);
    OK(mm_vae_config_load(&config, path, &error));
    OK(mm_vae_declare(&config, &n.weights, &error));

    tensor frames = expected_frames(file, "frames");
    mm_node *pixels = mm_input(n.graph, "pixels", MM_F32, &frames.shape);
    mm_node *moments = mm_vae_build_encoder(&n.builder, &config, pixels);
    mm_executable *encoder = compile(&n, &moments, 1);
    OK(mm_executable_write(encoder, pixels, frames.value, bytes_of(pixels), &error));
    assert_equal("moments", moments, run(encoder, moments), expected_frames(file, "moments"));
    mm_executable_free(&encoder);

    tensor latents = expected_video(file, "latents");
    for (int64_t i = 0; i < latents.count; i++)
        latents.value[i] = (float)(latents.value[i] / config.scaling_factor);
    mm_node *input = mm_input(n.graph, "latents", MM_F32, &latents.shape);
    mm_node *decoded = mm_vae_build_decoder(&n.builder, &config, input);
    mm_executable *decoder = compile(&n, &decoded, 1);
    OK(mm_executable_write(decoder, input, latents.value, bytes_of(input), &error));
    assert_equal("decoded", decoded, run(decoder, decoded), expected_frames(file, "decoded"));
    mm_executable_free(&decoder);

    mm_free(frames.value);
    mm_free(latents.value);
    mm_tensor_file_close(&file);
    finish(&n);
    mm_free(path);
}

/* The UNet at the stored timestep. */
typedef struct pass {
    network n;
    mm_unet_config config;
    mm_tensor_file *expected;
    mm_unet_inputs inputs;
    tensor latents, context;
    float timestep;
} pass;

static void start_pass(pass *p, const char *model)
{
    char *path = path_of(model, "unet/config.json");
    int64_t timestep;
    p->expected = open_expected(model);
    p->latents = expected_video(p->expected, "latents");
    p->context = expected(p->expected, "encoder_hidden_states");
    expected_ids(p->expected, "timestep", &timestep, 1);
    p->timestep = (float)timestep;
    start(&p->n, model, "unet", "diffusion_pytorch_model", p->latents.shape.dim[0]);
    OK(mm_unet_config_load(&p->config, path, &error));
    OK(mm_unet_declare(&p->config, &p->n.weights, NULL, &error));
    mm_graph *g = p->n.graph;
    p->inputs = (mm_unet_inputs){mm_input(g, "latents", MM_F32, &p->latents.shape),
                                 mm_input(g, "timestep", MM_F32, &MM_SHAPE(1)),
                                 mm_input(g, "context", MM_F32, &p->context.shape)};
    mm_free(path);
}

static void write_inputs(pass *p, mm_executable *executable)
{
    OK(mm_executable_write(executable, p->inputs.latents, p->latents.value,
                           bytes_of(p->inputs.latents), &error));
    OK(mm_executable_write(executable, p->inputs.timestep, &p->timestep, sizeof(float), &error));
    OK(mm_executable_write(executable, p->inputs.context, p->context.value,
                           bytes_of(p->inputs.context), &error));
}

static void finish_pass(pass *p)
{
    mm_free(p->latents.value);
    mm_free(p->context.value);
    mm_tensor_file_close(&p->expected);
    finish(&p->n);
}

static void check_unet(const char *model)
{
    pass p;
    start_pass(&p, model);
    mm_node *output = mm_unet_build(&p.n.builder, &p.config, &p.inputs, NULL);
    mm_executable *executable = compile(&p.n, &output, 1);
    write_inputs(&p, executable);
    assert_equal("UNet", output, run(executable, output),
                 expected_video(p.expected, "unet_output"));
    mm_executable_free(&executable);
    finish_pass(&p);
}

/* The second of two clips gets what it gets alone, whatever the first is. */
static void check_second_clip(const char *model)
{
    pass p;
    start_pass(&p, model);
    mm_graph *g = p.n.graph;
    mm_shape latents = p.latents.shape, context = p.context.shape;
    latents.dim[0] *= 2;
    context.dim[0] *= 2;
    p.inputs = (mm_unet_inputs){mm_input(g, "latents", MM_F32, &latents),
                                mm_input(g, "timestep", MM_F32, &MM_SHAPE(2)),
                                mm_input(g, "context", MM_F32, &context)};
    mm_node *both = mm_unet_build(&p.n.builder, &p.config, &p.inputs, NULL);
    mm_executable *executable = compile(&p.n, &both, 1);

    size_t count = (size_t)p.latents.count, words = (size_t)p.context.count;
    float *x = mm_calloc(2 * count, sizeof(float)), *text = mm_calloc(2 * words, sizeof(float));
    for (size_t i = 0; i < count; i++)
        x[i] = 3.0f * p.latents.value[count - 1 - i];
    memcpy(x + count, p.latents.value, count * sizeof(float));
    memcpy(text + words, p.context.value, words * sizeof(float));
    const float timesteps[2] = {12, p.timestep};
    OK(mm_executable_write(executable, p.inputs.latents, x, bytes_of(p.inputs.latents), &error));
    OK(mm_executable_write(executable, p.inputs.timestep, timesteps, sizeof(timesteps), &error));
    OK(mm_executable_write(executable, p.inputs.context, text, bytes_of(p.inputs.context), &error));

    tensor want = expected_video(p.expected, "unet_output");
    float *have = run(executable, both), *second = mm_malloc(count * sizeof(float));
    memcpy(second, have + count, count * sizeof(float));
    mm_node clip = {.shape = want.shape};
    assert_equal("second of two clips", &clip, second, want);
    mm_free(have);
    mm_free(x);
    mm_free(text);
    mm_executable_free(&executable);
    finish_pass(&p);
}

static void check_maps(const char *model, int32_t scale)
{
    pass p;
    char name[16];
    int32_t level = scale == 4 ? 2 : scale - 1;
    start_pass(&p, model);
    mm_unet_maps maps = {.spatial_level = level, .temporal_level = level, .stop = true};
    assert_null(mm_unet_build(&p.n.builder, &p.config, &p.inputs, &maps));
    mm_executable *executable = compile(&p.n, (mm_node *[]){maps.ca, maps.tsa}, 2);
    write_inputs(&p, executable);
    snprintf(name, sizeof(name), "ca.%d", scale);
    assert_equal(name, maps.ca, run(executable, maps.ca), expected(p.expected, name));
    snprintf(name, sizeof(name), "tsa.%d", scale);
    assert_equal(name, maps.tsa, run(executable, maps.tsa), expected(p.expected, name));
    mm_executable_free(&executable);
    finish_pass(&p);
}

static void quickstart_model(void **state)
{
    (void)state;
    check_text("quickstart-model");
    check_vae("quickstart-model");
    check_unet("quickstart-model");
    check_maps("quickstart-model", 2);
    check_maps("quickstart-model", 4);
}

static void tiny_v_model(void **state)
{
    (void)state;
    check_text("tiny-v-model");
    check_vae("tiny-v-model");
    check_unet("tiny-v-model");
    check_second_clip("tiny-v-model");
    check_maps("tiny-v-model", 1);
    check_maps("tiny-v-model", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quickstart_model),
        cmocka_unit_test(tiny_v_model),
    };
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}

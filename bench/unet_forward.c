/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One forward pass of a UNet on the CPU: seconds, memory, and with --profile the time, FLOP/s and
 * share of the peak of each op; with --json FILE the same as JSON.
 *
 *   unet_forward MODEL_DIR|--random [--config unet/config.json] [--frames 16] [--size 48x48]
 *                [--clips 1] [--threads 0] [--runs 1] [--profile] [--json FILE]
 *                [--maps LEVEL] [--precision f32|bf16] [--cpu-time]
 *
 * --random fills the weights with random numbers instead of reading a file; without --config it
 * takes the class's default config, which is ZeroScope's. --size is that of the latents. --maps
 * builds the feature pass that ends at that level's attention maps. --cpu-time counts what the
 * processor spent on all threads.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/clock.h"
#include "base/convert.h"
#include "base/file.h"
#include "base/memory.h"
#include "graph/executable.h"
#include "models/networks.h"
#include "models/weight_loader.h"
#include "failure.h"
#include "peak.h"
#include "precision.h"
#include "profile.h"

#define TOKENS 77

typedef struct settings {
    const char *model, *config, *json;
    bool random, profile, processor;
    mm_dtype precision;
    long frames, height, width, clips, threads, runs, level;
} settings;

static settings parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"random", no_argument, NULL, 'r'},
        {"config", required_argument, NULL, 'c'},
        {"frames", required_argument, NULL, 'f'},
        {"size", required_argument, NULL, 's'},
        {"clips", required_argument, NULL, 'b'},
        {"threads", required_argument, NULL, 't'},
        {"runs", required_argument, NULL, 'n'},
        {"profile", no_argument, NULL, 'p'},
        {"maps", required_argument, NULL, 'm'},
        {"json", required_argument, NULL, 'j'},
        {"precision", required_argument, NULL, 'x'},
        {"cpu-time", no_argument, NULL, 'u'},
        {NULL, 0, NULL, 0},
    };
    settings s = {.frames = 16, .height = 48, .width = 48, .clips = 1, .runs = 1, .level = -1};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        long *number = c == 'f'   ? &s.frames
                       : c == 'b' ? &s.clips
                       : c == 't' ? &s.threads
                       : c == 'n' ? &s.runs
                       : c == 'm' ? &s.level
                                  : NULL;
        if (number)
            *number = strtol(optarg, NULL, 10);
        else if (c == 's' && sscanf(optarg, "%ldx%ld", &s.width, &s.height) == 2)
            continue;
        else if (c == 'x')
            s.precision = parse_precision(optarg);
        else if (c == 'c')
            s.config = optarg;
        else if (c == 'j')
            s.json = optarg;
        else if (c == 'u')
            s.processor = true;
        else if (c == 'r')
            s.random = true;
        else if (c == 'p')
            s.profile = true;
        else
            exit(2);
    }
    s.model = optind < argc ? argv[optind] : NULL;
    if (!s.model == !s.random) {
        fprintf(stderr, "unet_forward: name a model directory, or --random\n");
        exit(2);
    }
    return s;
}

static float next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-23f - 1.0f;
}

/* About as large as a trained layer's, so that activations stay in range. */
static void fill(mm_weight *weight, mm_backend *backend, uint64_t *state)
{
    int64_t count = mm_shape_elements(&weight->shape), last = weight->shape.rank - 1;
    int64_t fan = 1;
    for (int64_t i = weight->order == MM_WEIGHT_TAPS_FIRST ? last : 1; i <= last; i++)
        fan *= weight->shape.dim[i];
    bool scale = last == 0 && strstr(weight->name, "weight");
    float range = last == 0 ? 0.1f : 1.0f / __builtin_sqrtf((float)fan);
    float slice[4096];
    float values[4096]; /* of either type */
    size_t element = mm_dtype_bytes(weight->dtype);
    weight->bytes = (size_t)count * element;
    check(backend->table->allocate(backend, weight->bytes, &weight->data, &error));
    for (int64_t i = 0; i < count; i += 4096) {
        int64_t n = count - i < 4096 ? count - i : 4096;
        for (int64_t k = 0; k < n; k++)
            slice[k] = (scale ? 1.0f : 0.0f) + range * next_random(state);
        mm_convert_numbers(values, weight->dtype, slice, MM_F32, (size_t)n);
        check(backend->table->upload(backend, (char *)weight->data + (size_t)i * element, values,
                                     (size_t)n * element, &error));
    }
}

static void read_weights(const settings *s, mm_weight_set *weights, mm_backend *backend)
{
    char *directory = mm_path_join(s->model, "unet"), *path;
    mm_tensor_file *file;
    check(mm_component_find(&path, directory, "diffusion_pytorch_model", &error));
    check(mm_tensor_file_open(&file, path, &error));
    check(mm_weights_load(weights, file, backend, NULL, &error));
    mm_tensor_file_close(&file);
    mm_free(path);
    mm_free(directory);
}

static void load(const settings *s, mm_unet_config *config, mm_weight_set *weights,
                 mm_backend *backend)
{
    char *path = s->config  ? mm_strdup(s->config)
                 : s->model ? mm_format("%s/unet/config.json", s->model)
                            : NULL;
    if (path) {
        check(mm_unet_config_load(config, path, &error));
    } else {
        char name[] = "/tmp/unet-config-XXXXXX";
        FILE *empty = fdopen(mkstemp(name), "w");
        fputs("{}", empty);
        fclose(empty);
        check(mm_unet_config_load(config, name, &error));
        remove(name);
    }
    mm_free(path);
    mm_weight_set_init(weights, s->precision);
    check(mm_unet_declare(config, weights, NULL, &error));
    uint64_t state = 1;
    if (!s->random)
        read_weights(s, weights, backend);
    for (int32_t i = 0; s->random && i < weights->count; i++)
        fill(weights->weight[i], backend, &state);
}

static void write_random(mm_executable *executable, const mm_node *input)
{
    size_t count = (size_t)mm_shape_elements(&input->shape);
    float *values = mm_malloc(count * sizeof(float));
    uint64_t state = 7;
    for (size_t i = 0; i < count; i++)
        values[i] = 1.7f * next_random(&state);
    check(mm_executable_write(executable, input, values, count * sizeof(float), &error));
    mm_free(values);
}

static void report(const settings *s, mm_backend *backend, profile *p)
{
    if (!s->profile && !s->json)
        return;
    check(bench_peak(backend, p->graph->compute, false, &p->peak, &error));
    if (s->profile)
        profile_print(p);
    if (s->json)
        profile_save(p, s->json);
}

int main(int argc, char **argv)
{
    settings s = parse(argc, argv);
    mm_backend *backend;
    mm_unet_config config;
    mm_weight_set weights;
    mm_graph *g;
    mm_executable *executable;
    check(mm_cpu_backend_create(&backend, (int)s.threads, getenv("MM_CPU_MASK"), &error));

    double begin = mm_clock_seconds();
    load(&s, &config, &weights, backend);
    printf("weights: %.2f GiB in %.1f s\n", (double)mm_weight_set_bytes(&weights) / (1 << 30),
           mm_clock_seconds() - begin);

    begin = mm_clock_seconds();
    check(mm_graph_create(&g, s.precision, &error));
    mm_builder b = {.graph = g, .weights = &weights, .frames = s.frames, .path = ""};
    mm_unet_inputs inputs = {
        mm_input(g, "latents", MM_F32,
                 &MM_SHAPE(s.clips * s.frames, s.height, s.width, config.in_channels)),
        mm_input(g, "timestep", MM_F32, &MM_SHAPE(s.clips)),
        mm_input(g, "context", MM_F32, &MM_SHAPE(s.clips, TOKENS, config.cross_attention_dim))};
    mm_graph_set_precise(g, s.level >= 0);
    mm_unet_maps maps = {(int32_t)s.level, (int32_t)s.level, true, NULL, NULL};
    mm_node *output = mm_unet_build(&b, &config, &inputs, s.level < 0 ? NULL : &maps);
    mm_node *outputs[] = {output ? output : maps.ca, maps.tsa};
    check(mm_graph_status(g, &error));
    check(mm_executable_create(&executable, g, outputs, output ? 1 : 2, backend,
                               &(mm_compile_options){0}, &error));
    mm_plan_summary plan;
    mm_executable_summary(executable, &plan);
    printf("plan: %d nodes, arena %.2f GiB (workspace %.2f), %.3f TFLOP, %.1f s\n", plan.nodes,
           (double)plan.arena_bytes / (1 << 30), (double)plan.workspace_bytes / (1 << 30),
           plan.flops * 1e-12, mm_clock_seconds() - begin);

    double *seconds = mm_calloc((size_t)g->count, sizeof(double));
    write_random(executable, inputs.latents);
    write_random(executable, inputs.context);
    write_random(executable, inputs.timestep);
    double total = 0;
    long counted = 0;
    for (long i = 0; i < s.runs; i++) {
        begin = bench_seconds(s.processor);
        check(mm_executable_run(executable, &(mm_run_control){.seconds = seconds}, &error));
        double took = bench_seconds(s.processor) - begin;
        printf("run %ld: %.3f s, %.1f GFLOP/s\n", i + 1, took, plan.flops / took * 1e-9);
        if (i == 0 && s.runs > 1) {
            /* The first run touches the memory and packs weights. */
            memset(seconds, 0, (size_t)g->count * sizeof(double));
            continue;
        }
        counted++;
        total += took;
    }
    printf("resident now %.2f GiB, at most %.2f GiB\n", (double)mm_resident_bytes() / (1 << 30),
           (double)mm_resident_peak_bytes() / (1 << 30));
    report(&s, backend, &(profile){.graph = g, .seconds = seconds, .runs = counted});
    printf("seconds per run: %.3f\n", total / (double)counted);

    mm_free(seconds);
    mm_executable_free(&executable);
    mm_graph_free(&g);
    mm_weights_release(&weights, backend);
    mm_weight_set_free(&weights);
    backend->table->free(backend);
    return 0;
}

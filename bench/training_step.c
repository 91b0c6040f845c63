/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Training steps on the CPU with random latents: seconds, and with --profile the time, FLOP/s and
 * share of the peak of each op; with --json FILE the same as JSON. The first step, which touches
 * the memory, counts for neither.
 *
 *   training_step MODEL_DIR [--frames 16] [--size 48x48] [--rank 32] [--scale 4] [--threads 0]
 *                 [--runs 3] [--budget GIB] [--profile] [--json FILE] [--precision f32|bf16]
 *                 [--cpu-time]
 *
 * --size is that of the latents, --scale that of the features. --cpu-time counts what the processor
 * spent on all threads.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/cpu/cpu.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "motion/objective.h"
#include "failure.h"
#include "peak.h"
#include "precision.h"
#include "profile.h"
#include "training/step.h"

typedef struct settings {
    const char *model, *json;
    bool profile, processor;
    mm_dtype precision;
    long frames, height, width, rank, scale, threads, runs;
    double budget;
} settings;

static settings parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"frames", required_argument, NULL, 'f'},  {"size", required_argument, NULL, 's'},
        {"rank", required_argument, NULL, 'r'},    {"scale", required_argument, NULL, 'c'},
        {"threads", required_argument, NULL, 't'}, {"runs", required_argument, NULL, 'n'},
        {"budget", required_argument, NULL, 'b'},  {"profile", no_argument, NULL, 'p'},
        {"json", required_argument, NULL, 'j'},    {"precision", required_argument, NULL, 'x'},
        {"cpu-time", no_argument, NULL, 'u'},      {NULL, 0, NULL, 0},
    };
    settings s = {.frames = 16, .height = 48, .width = 48, .rank = 32, .scale = 4, .runs = 3};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        long *number = c == 'f'   ? &s.frames
                       : c == 'r' ? &s.rank
                       : c == 'c' ? &s.scale
                       : c == 't' ? &s.threads
                       : c == 'n' ? &s.runs
                                  : NULL;
        if (number)
            *number = strtol(optarg, NULL, 10);
        else if (c == 's' && sscanf(optarg, "%ldx%ld", &s.width, &s.height) == 2)
            continue;
        else if (c == 'x')
            s.precision = parse_precision(optarg);
        else if (c == 'b')
            s.budget = strtod(optarg, NULL);
        else if (c == 'j')
            s.json = optarg;
        else if (c == 'u')
            s.processor = true;
        else if (c == 'p')
            s.profile = true;
        else
            exit(2);
    }
    s.model = optind < argc ? argv[optind] : NULL;
    if (!s.model) {
        fprintf(stderr, "training_step: name a model directory\n");
        exit(2);
    }
    return s;
}

static float *normals(mm_stream stream, size_t count)
{
    float *values = mm_malloc(count * sizeof(float));
    mm_rng rng = {7, stream, 0};
    mm_rng_normal(&rng, 0, values, count);
    return values;
}

/* Up-projections that are not zero, so that every gradient is there. */
static void fill_lora(mm_lora_set *lora)
{
    for (int32_t i = 0; i < lora->count; i++) {
        mm_weight *up = &lora->module[i].up;
        mm_rng rng = {3, MM_STREAM_LORA_INIT, (uint32_t)i};
        float *value = up->data;
        mm_rng_normal(&rng, 0, value, up->bytes / sizeof(float));
        for (size_t k = 0; k < up->bytes / sizeof(float); k++)
            value[k] *= 0.05f;
    }
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

static void run_steps(mm_training_step *step, const settings *s, mm_backend *backend,
                      const mm_step_input *input)
{
    const mm_graph *graph = mm_training_step_graph(step);
    double *seconds = mm_calloc((size_t)graph->count, sizeof(double)), total = 0;
    mm_run_control control = {.seconds = seconds};
    mm_step_losses losses;
    check(mm_training_step_run(step, input, &losses, NULL, &error));
    for (long i = 0; i < s->runs; i++) {
        double begin = bench_seconds(s->processor);
        check(mm_training_step_run(step, input, &losses, &control, &error));
        double took = bench_seconds(s->processor) - begin;
        printf("step %ld: %.4f s, loss %.9g\n", i + 1, took, losses.loss);
        total += took;
    }
    report(s, backend, &(profile){.graph = graph, .seconds = seconds, .runs = s->runs});
    printf("resident peak: %.3f GiB\n", (double)mm_resident_peak_bytes() * 0x1p-30);
    printf("seconds per step: %.4f\n", total / (double)s->runs);
    mm_free(seconds);
}

static mm_training_step *compile(const mm_step_settings *of_step, mm_backend *backend)
{
    double begin = mm_clock_seconds();
    mm_training_step *step;
    mm_plan_summary plan;
    check(mm_training_step_create(&step, of_step, backend, &error));
    mm_training_step_summary(step, &plan);
    printf("plan: %d nodes (%d computed again), arena %.3f GiB, %.4f TFLOP (%.4f again), %.3f s\n",
           plan.nodes, plan.recomputed_nodes, (double)plan.arena_bytes * 0x1p-30,
           plan.flops * 1e-12, plan.recomputed_flops * 1e-12, mm_clock_seconds() - begin);
    return step;
}

int main(int argc, char **argv)
{
    settings s = parse(argc, argv);
    mm_backend *backend;
    mm_diffusion_model model;
    mm_scheduler scheduler;
    mm_lora_set lora;
    check(mm_cpu_backend_create(&backend, (int)s.threads, getenv("MM_CPU_MASK"), &error));
    check(mm_diffusion_model_open(&model, s.model, s.precision, NULL, &error));
    char *path = mm_format("%s/scheduler/scheduler_config.json", s.model);
    check(mm_scheduler_load(&scheduler, path, &error));
    check(mm_lora_set_create(&lora, &model.sites, s.rank, 1, NULL, &error));
    fill_lora(&lora);
    mm_train_config config = {
        .spatial_weight = 2000,
        .temporal_weight = 2000,
        .spatial_scale_factor = s.scale,
        .temporal_scale_factor = s.scale,
        .num_denoise_steps = 1,
        .lora_dropout = 0.1,
    };
    mm_step_settings of_step = {
        .model = &model,
        .scheduler = &scheduler,
        .objective = &mm_motion_objective,
        .config = &config,
        .lora = &lora,
        .frames = s.frames,
        .height = s.height,
        .width = s.width,
        .dropout = true,
        .arena_budget = (size_t)(s.budget * 0x1p30),
    };
    mm_training_step *step = compile(&of_step, backend);
    check(mm_component_load(&model.unet, &(mm_runtime){.backend = backend}, &error));
    size_t latents = (size_t)(s.frames * s.height * s.width * model.unet_config.in_channels);
    size_t tokens = MM_PROMPT_TOKENS * (size_t)model.text_config.width;
    float *latent = normals(MM_STREAM_POSTERIOR, latents);
    float *noise = normals(MM_STREAM_TRAINING_NOISE, latents);
    float *hidden = normals(MM_STREAM_SAMPLING_NOISE, tokens);
    run_steps(step, &s, backend, &(mm_step_input){latent, noise, 700, hidden, 5, 3});

    mm_free(latent);
    mm_free(noise);
    mm_free(hidden);
    mm_training_step_free(&step);
    mm_lora_set_free(&lora);
    mm_scheduler_free(&scheduler);
    mm_free(path);
    mm_component_release(&model.unet, backend);
    mm_diffusion_model_close(&model);
    backend->table->free(backend);
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A training step with less memory than its activations need computes the same bits; one in bf16
   about the same gradients as one in f32. */
#include "check.h"

#include <math.h>

#include "backends/cpu/cpu.h"
#include "base/file.h"
#include "base/rng.h"
#include "motion/features.h"
#include "motion/objective.h"
#include "training/step.h"

enum { FRAMES = 4, HEIGHT = 8, WIDTH = 12 };

typedef struct subject {
    mm_backend *backend;
    mm_diffusion_model model;
    mm_scheduler scheduler;
    mm_lora_set lora;
    mm_train_config config;
    float *latents, *noise, *hidden;
} subject;

static mm_error error;

static void must(mm_status status)
{
    if (status != MM_OK)
        fail_msg("%s", error.text);
}

static float *normals(mm_stream stream, size_t count)
{
    float *values = malloc(count * sizeof(float));
    mm_rng rng = {7, stream, 0};
    mm_rng_normal(&rng, 0, values, count);
    return values;
}

#define RANDOM_MODEL FIXTURES "/quickstart-model"

static void open_model(subject *s, const char *folder, mm_dtype precision)
{
    char *scheduler = mm_path_join(folder, "scheduler/scheduler_config.json");
    must(mm_diffusion_model_open(&s->model, folder, precision, NULL, &error));
    must(mm_scheduler_load(&s->scheduler, scheduler, &error));
    mm_free(scheduler);
}

static void open_subject_of(subject *s, const char *folder, mm_dtype precision)
{
    *s = (subject){0};
    must(mm_cpu_backend_create(&s->backend, 2, NULL, &error));
    open_model(s, folder, precision);
    must(mm_lora_set_create(&s->lora, &s->model.sites, 4, 1, NULL, &error));
    for (int32_t i = 0; i < s->lora.count; i++) {
        mm_rng rng = {3, MM_STREAM_LORA_INIT, (uint32_t)i};
        mm_rng_normal(&rng, 0, s->lora.module[i].up.data,
                      s->lora.module[i].up.bytes / sizeof(float));
    }
    mm_runtime runtime = {.backend = s->backend};
    must(mm_component_load(&s->model.unet, &runtime, &error));
    size_t latents = FRAMES * HEIGHT * WIDTH * 4;
    s->latents = normals(MM_STREAM_POSTERIOR, latents);
    s->noise = normals(MM_STREAM_TRAINING_NOISE, latents);
    s->hidden =
        normals(MM_STREAM_SAMPLING_NOISE, MM_PROMPT_TOKENS * (size_t)s->model.text_config.width);
    s->config = (mm_train_config){
        .spatial_weight = 2000,
        .temporal_weight = 2000,
        .spatial_scale_factor = 2,
        .temporal_scale_factor = 4,
        .num_denoise_steps = 1,
        .lora_dropout = 0.1,
        .conv_dropout = 0.2,
    };
}

static void open_subject(subject *s)
{
    open_subject_of(s, RANDOM_MODEL, MM_F32);
}

static void close_subject(subject *s)
{
    free(s->latents);
    free(s->noise);
    free(s->hidden);
    mm_lora_set_free(&s->lora);
    mm_scheduler_free(&s->scheduler);
    mm_component_release(&s->model.unet, s->backend);
    mm_diffusion_model_close(&s->model);
    s->backend->table->free(s->backend);
}

static mm_training_step *make_step_with(subject *s, bool dropout, size_t budget)
{
    mm_training_step *step = NULL;
    mm_step_settings settings = {&s->model,  &s->scheduler, &mm_motion_objective,
                                 &s->config, &s->lora,      FRAMES,
                                 HEIGHT,     WIDTH,         dropout,
                                 budget,     false};
    must(mm_training_step_create(&step, &settings, s->backend, &error));
    return step;
}

static mm_training_step *make_step(subject *s, size_t budget)
{
    return make_step_with(s, true, budget);
}

static bool has_bf16(void)
{
    mm_backend *backend;
    must(mm_cpu_backend_create(&backend, 1, NULL, &error));
    bool has = backend->table->computes(backend, MM_BF16);
    backend->table->free(backend);
    return has;
}

/* Loss and every gradient of one run, one after the other. */
static float *run(subject *s, mm_training_step *step, size_t *count)
{
    mm_step_input input = {s->latents, s->noise, 700, s->hidden, 5, 3};
    mm_step_losses losses;
    must(mm_training_step_run(step, &input, &losses, NULL, &error));
    size_t total = mm_lora_set_bytes(&s->lora) / sizeof(float) + 1;
    float *numbers = malloc(total * sizeof(float)), *next = numbers;
    *next++ = (float)losses.loss;
    for (int32_t i = 0; i < 2 * s->lora.count; i++) {
        mm_lora_module *m = &s->lora.module[i / 2];
        must(mm_training_step_gradient(step, i / 2, i % 2, next, &error));
        next += (i % 2 ? m->up.bytes : m->down.bytes) / sizeof(float);
    }
    *count = total;
    return numbers;
}

static void check_recomputation(mm_dtype precision)
{
    subject s;
    open_subject_of(&s, RANDOM_MODEL, precision);
    mm_training_step *roomy = make_step(&s, 0);
    mm_plan_summary all, less;
    size_t count;
    mm_training_step_summary(roomy, &all);
    assert_true(all.recomputed_flops == 0.0);
    float *want = run(&s, roomy, &count);
    assert_true(want[0] > 0.0f);
    for (size_t percent = 90; percent >= 60; percent -= 15) {
        size_t budget = all.arena_bytes * percent / 100;
        mm_training_step *tight = make_step(&s, budget);
        mm_training_step_summary(tight, &less);
        assert_true(less.arena_bytes <= budget);
        assert_true(less.recomputed_flops > 0.0);
        float *have = run(&s, tight, &count);
        assert_memory_equal(have, want, count * sizeof(float));
        free(have);
        mm_training_step_free(&tight);
    }
    free(want);
    mm_training_step_free(&roomy);
    close_subject(&s);
}

static void test_recomputation_changes_nothing(void **state)
{
    (void)state;
    check_recomputation(MM_F32);
    if (has_bf16())
        check_recomputation(MM_BF16);
}

/* What a step without dropout makes of one model: its gradients and maps. */
typedef struct outcome {
    float *gradients, *ca, *tsa;
    size_t gradient_count, ca_count, tsa_count;
} outcome;

static float *read_map(mm_training_step *step, const mm_node *node, size_t *count)
{
    *count = (size_t)mm_shape_elements(&node->shape);
    float *values = malloc(*count * sizeof(float));
    must(mm_training_step_read(step, node, values, &error));
    return values;
}

/* To the size that training gives it; the other tests' is so large that any rounding turns the
   gradient around. */
static void shrink_lora(const mm_lora_set *lora)
{
    for (int32_t i = 0; i < lora->count; i++) {
        float *up = lora->module[i].up.data;
        for (size_t k = 0; k < lora->module[i].up.bytes / sizeof(float); k++)
            up[k] *= 0.01f;
    }
}

static outcome run_trained_in(mm_dtype precision)
{
    subject s;
    outcome o;
    open_subject_of(&s, TRAINED_MODEL, precision);
    shrink_lora(&s.lora);
    mm_training_step *step = make_step_with(&s, false, 0);
    o.gradients = run(&s, step, &o.gradient_count);
    o.gradients[0] = 0.0f; /* the loss */
    o.ca = read_map(step, mm_training_step_nodes(step)->predicted_ca, &o.ca_count);
    o.tsa = read_map(step, mm_training_step_nodes(step)->predicted_tsa, &o.tsa_count);
    mm_training_step_free(&step);
    close_subject(&s);
    return o;
}

static void free_outcome(outcome *o)
{
    free(o->gradients);
    free(o->ca);
    free(o->tsa);
}

static double product(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double distance(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum / product(b, b, count));
}

static void test_bf16_against_f32(void **state)
{
    (void)state;
    if (!has_bf16())
        skip();
    outcome f32 = run_trained_in(MM_F32), bf16 = run_trained_in(MM_BF16);
    size_t count = f32.gradient_count;
    double cosine = product(f32.gradients, bf16.gradients, count) /
                    sqrt(product(f32.gradients, f32.gradients, count) *
                         product(bf16.gradients, bf16.gradients, count));
    double ca = distance(bf16.ca, f32.ca, f32.ca_count);
    double tsa = distance(bf16.tsa, f32.tsa, f32.tsa_count);
    if (!(cosine >= 0.99 && ca < 0.02 && tsa < 0.02))
        fail_msg("cosine %g, cross-attention %g, temporal %g", cosine, ca, tsa);
    /* Nothing but the type differs, and it does. */
    assert_true(distance(bf16.gradients, f32.gradients, count) > 1e-4);
    free_outcome(&f32);
    free_outcome(&bf16);
}

static void test_dropout_is_drawn_by_pass(void **state)
{
    (void)state;
    subject s;
    open_subject(&s);
    mm_training_step *step = make_step(&s, 0);
    mm_step_input input = {s.latents, s.noise, 700, s.hidden, 5, 3};
    mm_step_losses first, again, other;
    must(mm_training_step_run(step, &input, &first, NULL, &error));
    must(mm_training_step_run(step, &input, &again, NULL, &error));
    input.pass = 4;
    must(mm_training_step_run(step, &input, &other, NULL, &error));
    assert_true(first.loss == again.loss);
    assert_true(first.loss != other.loss);
    mm_training_step_free(&step);
    close_subject(&s);
}

static void test_impossible_budget(void **state)
{
    (void)state;
    subject s;
    open_subject(&s);
    mm_training_step *step = NULL;
    mm_step_settings settings = {&s.model,  &s.scheduler, &mm_motion_objective,
                                 &s.config, &s.lora,      FRAMES,
                                 HEIGHT,    WIDTH,        true,
                                 4096,      false};
    assert_int_equal(mm_training_step_create(&step, &settings, s.backend, &error), MM_ERR_MEMORY);
    assert_null(step);
    assert_non_null(strstr(error.text, "budget"));
    close_subject(&s);
}

static void test_levels_without_attention(void **state)
{
    (void)state;
    mm_unet_config config = {.levels = 4, .down_attention = {true, true, true, false}};
    int32_t level;
    assert_int_equal(mm_feature_level(&config, "scale", 4, &level, &error), MM_OK);
    assert_int_equal(level, 2);
    assert_int_equal(mm_feature_level(&config, "scale", 3, &level, &error), MM_ERR_USAGE);
    assert_int_equal(mm_feature_level(&config, "scale", 8, &level, &error), MM_ERR_USAGE);
    assert_non_null(strstr(error.text, "no attention"));
    assert_int_equal(mm_feature_level(&config, "scale", 16, &level, &error), MM_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recomputation_changes_nothing),
        cmocka_unit_test(test_bf16_against_f32),
        cmocka_unit_test(test_dropout_is_drawn_by_pass),
        cmocka_unit_test(test_impossible_budget),
        cmocka_unit_test(test_levels_without_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

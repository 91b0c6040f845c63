/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/trainer.h"

#include <math.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "training/checkpoint.h"
#include "training/metrics_log.h"

mm_status mm_training_state_create(mm_training_state *out, mm_lora_set *lora, mm_error *error)
{
    *out = (mm_training_state){.lora = lora};
    mm_status status = mm_lora_set_create_like(&out->gradient, lora, error);
    if (status == MM_OK)
        status = mm_lora_set_create_like(&out->first_moment, lora, error);
    if (status == MM_OK)
        status = mm_lora_set_create_like(&out->second_moment, lora, error);
    if (status != MM_OK)
        mm_training_state_free(out);
    return status;
}

void mm_training_state_free(mm_training_state *state)
{
    mm_lora_set_free(&state->gradient);
    mm_lora_set_free(&state->first_moment);
    mm_lora_set_free(&state->second_moment);
}

static mm_weight *half(const mm_lora_set *set, int32_t module, bool up)
{
    return up ? &set->module[module].up : &set->module[module].down;
}

static bool all_finite(const float *value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(value[i]))
            return false;
    }
    return true;
}

static mm_status fail_nonfinite(const mm_training_state *state, int32_t module, bool up,
                                const char *what, mm_error *error)
{
    return mm_fail(error, MM_ERR_NONFINITE, "step %lld: %s%s.lora_%s is not finite",
                   (long long)state->done + 1, what, state->lora->module[module].site->path[0],
                   up ? "B" : "A");
}

/* The first pass writes the gradient, later ones are added; all are scaled by 1 / passes. */
static mm_status collect_gradient(mm_training_step *step, mm_training_state *state, int32_t module,
                                  bool up, float share, bool first, mm_error *error)
{
    mm_weight *sum = half(&state->gradient, module, up);
    size_t count = sum->bytes / sizeof(float);
    float *total = sum->data, *fresh = total;
    if (!first && !(fresh = mm_malloc(sum->bytes)))
        return mm_fail_memory(error, "a gradient", sum->bytes);
    mm_status status = mm_training_step_gradient(step, module, up, fresh, error);
    if (status == MM_OK && !all_finite(fresh, count))
        status = fail_nonfinite(state, module, up, "the gradient of ", error);
    for (size_t i = 0; status == MM_OK && i < count; i++)
        total[i] = first ? share * fresh[i] : total[i] + share * fresh[i];
    if (!first)
        mm_free(fresh);
    return status;
}

static mm_status collect_gradients(mm_training_step *step, mm_training_state *state, float share,
                                   bool first, mm_error *error)
{
    for (int32_t m = 0; m < state->lora->count; m++) {
        if (!state->lora->module[m].rank)
            continue;
        MM_TRY(collect_gradient(step, state, m, false, share, first, error));
        MM_TRY(collect_gradient(step, state, m, true, share, first, error));
    }
    return MM_OK;
}

static double squared_norm(const mm_weight *gradient)
{
    const float *value = gradient->data;
    double sum = 0.0;
    for (size_t i = 0; i < gradient->bytes / sizeof(float); i++)
        sum += (double)value[i] * (double)value[i];
    return sum;
}

/* Factor that brings the norm of all gradients together to the limit (1 when it is below). */
static float clip_factor(const mm_lora_set *gradient, double limit)
{
    if (limit <= 0.0)
        return 1.0f;
    double sum = 0.0;
    for (int32_t m = 0; m < gradient->count; m++)
        sum += squared_norm(half(gradient, m, false)) + squared_norm(half(gradient, m, true));
    double factor = limit / (sqrt(sum) + 1e-6);
    return factor < 1.0 ? (float)factor : 1.0f;
}

static void scale_gradients(mm_lora_set *set, float factor)
{
    for (int32_t i = 0; i < 2 * set->count; i++) {
        mm_weight *gradient = half(set, i / 2, i % 2);
        float *value = gradient->data;
        for (size_t k = 0; k < gradient->bytes / sizeof(float); k++)
            value[k] *= factor;
    }
}

/* Linear warm-up counts steps from 0, so that the first one of a warm-up changes nothing. */
static double learning_rate(const mm_train_config *config, int64_t step)
{
    if (step - 1 >= config->warmup_steps)
        return config->learning_rate;
    return config->learning_rate * (double)(step - 1) / (double)config->warmup_steps;
}

static mm_status update(mm_training_state *state, const mm_train_config *config, mm_error *error)
{
    mm_adamw settings = {
        .learning_rate = learning_rate(config, state->done + 1),
        .beta1 = config->adam_beta1,
        .beta2 = config->adam_beta2,
        .epsilon = config->adam_epsilon,
        .weight_decay = config->weight_decay,
        .step = state->done + 1,
    };
    for (int32_t i = 0; i < 2 * state->lora->count; i++) {
        int32_t m = i / 2;
        bool up = i % 2;
        mm_weight *parameter = half(state->lora, m, up);
        mm_adamw_update(&settings, parameter->data, half(&state->gradient, m, up)->data,
                        half(&state->first_moment, m, up)->data,
                        half(&state->second_moment, m, up)->data, parameter->bytes / sizeof(float));
        if (!all_finite(parameter->data, parameter->bytes / sizeof(float)))
            return fail_nonfinite(state, m, up, "after the update, ", error);
    }
    return MM_OK;
}

mm_status mm_training_optimize(mm_training_step *step, mm_training_state *state,
                               const mm_train_config *config, const mm_step_input *passes,
                               int64_t pass_count, mm_step_losses *losses, const atomic_int *cancel,
                               mm_error *error)
{
    double share = 1.0 / (double)pass_count;
    *losses = (mm_step_losses){0};
    for (int64_t i = 0; i < pass_count; i++) {
        mm_step_losses one;
        mm_run_control control = {.cancel = cancel};
        MM_TRY(mm_training_step_run(step, &passes[i], &one, &control, error));
        if (!isfinite(one.loss))
            return mm_fail(error, MM_ERR_NONFINITE, "step %lld: the loss is not finite",
                           (long long)(state->done + 1));
        losses->loss += share * one.loss;
        losses->spatial += share * one.spatial;
        losses->temporal += share * one.temporal;
        MM_TRY(collect_gradients(step, state, (float)share, i == 0, error));
    }
    float factor = clip_factor(&state->gradient, config->max_gradient_norm);
    if (factor < 1.0f)
        scale_gradients(&state->gradient, factor);
    MM_TRY(update(state, config, error));
    state->done++;
    return MM_OK;
}

/* Draws for one optimizer step: everything follows from (seed, step, pass). */
static void draw_pass(const mm_training_run *run, int64_t pass, float *noise, mm_step_input *out)
{
    const mm_train_config *config = run->config;
    uint32_t step = (uint32_t)(run->state->done + 1);
    uint64_t seed = (uint64_t)config->seed, index = (uint64_t)pass;
    mm_rng timestep = {seed, MM_STREAM_TIMESTEP, step}, clip = {seed, MM_STREAM_CLIP_CHOICE, step};
    mm_rng normal = {seed, MM_STREAM_TRAINING_NOISE, step};
    const mm_clip *chosen = &run->clip[mm_rng_integer(&clip, index, 0, run->clip_count - 1)];
    mm_rng_normal(&normal, index * run->latent_elements, noise, run->latent_elements);
    *out = (mm_step_input){
        .latents = chosen->latents,
        .noise = noise,
        .timestep =
            mm_rng_integer(&timestep, index, config->min_timestep, run->scheduler->train_steps - 1),
        .hidden_states = chosen->hidden_states,
        .seed = seed,
        .pass = (uint32_t)(run->state->done * config->gradient_accumulation + pass),
    };
}

static mm_status one_step(mm_training_run *run, mm_step_input *passes, float *noise,
                          mm_step_report *report, mm_error *error)
{
    double start = mm_clock_seconds();
    int64_t count = run->config->gradient_accumulation;
    for (int64_t i = 0; i < count; i++)
        draw_pass(run, i, noise + (size_t)i * run->latent_elements, &passes[i]);
    *report = (mm_step_report){.timestep = passes[count - 1].timestep, .of = run->config->steps};
    MM_TRY(mm_training_optimize(run->step, run->state, run->config, passes, count, &report->losses,
                                run->cancel, error));
    report->step = run->state->done;
    report->seconds = mm_clock_seconds() - start;
    return MM_OK;
}

static mm_status save(mm_training_run *run, mm_error *error)
{
    char *path = NULL;
    MM_TRY(mm_checkpoint_save(run->directory, run->state, &path, error));
    if (run->on_checkpoint)
        run->on_checkpoint(run->user, path);
    mm_free(path);
    return MM_OK;
}

static bool due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* A stop need not wait for a sample, but nothing that was trained may be lost to it. */
static mm_status validate(mm_training_run *run, int64_t step, bool saved, mm_error *error)
{
    mm_training_step_release(run->step);
    mm_status status = run->validate(run->user, step, error);
    bool cancelled = run->cancel && atomic_load(run->cancel);
    if (status == MM_ERR_CANCELLED && run->directory && !saved && !cancelled)
        MM_TRY(save(run, error));
    return status;
}

/* Metrics before the checkpoint: a checkpoint's step is always in the log. */
static mm_status after_step(mm_training_run *run, mm_metrics_log *log, const mm_step_report *report,
                            mm_error *error)
{
    const mm_train_config *config = run->config;
    int64_t step = report->step;
    if (run->directory)
        MM_TRY(mm_metrics_log_append(log, report, error));
    bool stop = run->on_step && run->on_step(run->user, report);
    bool saved =
        run->directory && (stop || step == config->steps || due(step, config->checkpoint_every));
    if (saved)
        MM_TRY(save(run, error));
    if (stop && step < config->steps)
        return mm_fail(error, MM_ERR_CANCELLED, "stopped after step %lld", (long long)step);
    if (!run->validate || !due(step, config->validation_every))
        return MM_OK;
    return validate(run, step, saved, error);
}

static mm_status run_all(mm_training_run *run, mm_metrics_log *log, mm_step_input *passes,
                         float *noise, mm_error *error)
{
    while (run->state->done < run->config->steps) {
        mm_step_report report;
        MM_TRY(one_step(run, passes, noise, &report, error));
        MM_TRY(after_step(run, log, &report, error));
    }
    return MM_OK;
}

mm_status mm_training_run_steps(mm_training_run *run, mm_error *error)
{
    size_t count = (size_t)run->config->gradient_accumulation;
    size_t bytes = count * run->latent_elements * sizeof(float);
    mm_step_input *passes = mm_calloc(count, sizeof(*passes));
    float *noise = mm_malloc(bytes);
    mm_metrics_log log = {.descriptor = -1};
    mm_status status = passes && noise ? MM_OK : mm_fail_memory(error, "training noise", bytes);
    if (status == MM_OK && run->directory)
        status = mm_metrics_log_open(&log, run->directory, run->state->done, error);
    if (status == MM_OK)
        status = run_all(run, &log, passes, noise, error);
    mm_metrics_log_close(&log);
    mm_free(passes);
    mm_free(noise);
    return status;
}

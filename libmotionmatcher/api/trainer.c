/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/trainer_internal.h"

#include <math.h>
#include <string.h>

#include "api/lora_internal.h"
#include "api/status_internal.h"
#include "api/video_internal.h"
#include "base/memory.h"
#include "base/number.h"
#include "base/rng.h"
#include "motion/objective.h"
#include "training/checkpoint.h"

/* Words of the option "objective", in the table's order. */
const mm_objective *mm_trainer_objective(const mm_train_config *config)
{
    static const mm_objective *const objectives[] = {&mm_motion_objective, &mm_ddpm_objective};
    return objectives[config->objective];
}

static void free_clip(mm_trainer_clip *clip)
{
    mm_free(clip->prompt);
    mm_free(clip->clip.latents);
    mm_free(clip->clip.hidden_states);
    mm_free(clip->moments);
    mm_free(clip->pixels);
    mm_free(clip->inversion);
    *clip = (mm_trainer_clip){0};
}

void mm_trainer_free(mm_trainer **trainer)
{
    if (!trainer || !*trainer)
        return;
    mm_trainer *t = *trainer;
    mm_trainer_free_validation(t);
    mm_training_step_free(&t->step);
    mm_training_state_free(&t->state);
    mm_lora_set_free(&t->lora);
    for (int64_t i = 0; i < t->clip_count; i++)
        free_clip(&t->clip[i]);
    mm_free(t->clip);
    mm_options_free(&t->options);
    mm_model_free(&t->model);
    mm_free(t);
    *trainer = NULL;
}

static mm_status check_config(mm_trainer *t, mm_error *error)
{
    const mm_train_config *config = t->config;
    int64_t last = t->model->scheduler.train_steps - 1;
    const mm_objective *objective = mm_trainer_objective(config);
    MM_TRY(mm_model_check_size(t->model, config->width, config->height, error));
    if (objective->check)
        MM_TRY(objective->check(&t->model->parts, config, error));
    MM_TRY(mm_trainer_check_validation(t, error));
    if (config->min_timestep > last)
        return mm_fail(error, MM_ERR_USAGE, "min_timestep %lld: this model's timesteps end at %lld",
                       (long long)config->min_timestep, (long long)last);
    return MM_OK;
}

static mm_status setup(mm_trainer *t, const mm_options *options, mm_error *error)
{
    MM_TRY(mm_options_copy(&t->options, options, error));
    MM_TRY(mm_trainer_settle_validation(t->options, error));
    t->config = mm_options_train(t->options);
    t->directory = t->config->output_dir;
    MM_TRY(check_config(t, error));
    int64_t factor = mm_model_vae_factor(t->model);
    t->latents =
        (mm_latent_shape){t->config->num_frames, t->config->height / factor,
                          t->config->width / factor, t->model->parts.vae_config.latent_channels};
    MM_TRY(mm_lora_set_create(&t->lora, &t->model->parts.sites, t->config->rank,
                              (uint64_t)t->config->seed, &t->model->context->logger, error));
    return mm_training_state_create(&t->state, &t->lora, error);
}

static mm_status create(mm_trainer **out, mm_model *model, const mm_options *options,
                        mm_error *error)
{
    MM_TRY(mm_context_check_process(model->context, error));
    mm_trainer *t = mm_calloc(1, sizeof(*t));
    if (!t)
        return mm_fail_memory(error, "a trainer", sizeof(*t));
    t->model = mm_model_retain(model);
    mm_status status = setup(t, options, error);
    if (status != MM_OK)
        mm_trainer_free(&t);
    *out = t;
    return status;
}

static mm_status create_new(mm_trainer **out, mm_model *model, const mm_options *options,
                            mm_error *error)
{
    const char *directory = mm_options_train(options)->output_dir;
    if (directory)
        MM_TRY(mm_trainer_check_directory(directory, error));
    return create(out, model, options, error);
}

mm_status mm_trainer_create(mm_trainer **out, mm_model *model, const mm_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !options || !mm_options_train(options))
        return mm_api_misuse(__func__, "out, model and options of table \"train\" are needed");
    mm_error error = {0};
    return mm_api_return(create_new(out, model, options, &error), &error);
}

static mm_status resume(mm_trainer **out, mm_model *model, const mm_options *options,
                        mm_error *error)
{
    MM_TRY(create(out, model, options, error));
    mm_trainer *t = *out;
    t->resumed = true;
    mm_status status = mm_trainer_check_settings(t, error);
    if (status == MM_OK)
        status = mm_trainer_check_precision(t, error);
    if (status == MM_OK)
        status = mm_checkpoint_load_newest(t->directory, &t->state, (uint64_t)t->config->seed,
                                           &model->context->logger, error);
    if (status == MM_OK)
        status = mm_trainer_read_clips(t, error);
    if (status != MM_OK)
        mm_trainer_free(out);
    return status;
}

mm_status mm_trainer_resume(mm_trainer **out, mm_model *model, const mm_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !options || !mm_options_train(options) ||
        !mm_options_train(options)->output_dir)
        return mm_api_misuse(__func__,
                             "out, model and options of table \"train\" with an output_dir are "
                             "needed; mm_trainer_load_options() completes them");
    mm_error error = {0};
    return mm_api_return(resume(out, model, options, &error), &error);
}

static void drop_plan(mm_trainer *t)
{
    mm_training_step_free(&t->step);
    mm_trainer_free_validation(t);
    t->planned_peak_bytes = 0;
}

/* The UNet, the LoRA with its gradient and two moments, and what the clips keep. */
static size_t resident_training_bytes(const mm_trainer *t)
{
    size_t frame = (size_t)(t->config->width * t->config->height) * 3 * sizeof(float);
    size_t latents = mm_latent_elements(&t->latents) * sizeof(float);
    size_t clip = frame * (size_t)t->config->num_frames + 8 * latents;
    size_t clips = (size_t)(t->clip_count ? t->clip_count : 1);
    return t->model->baseline_bytes + 4 * mm_lora_set_bytes(&t->lora) + clips * clip;
}

/* Text and frames are encoded before the UNet is loaded. */
static mm_status encoding_bytes(mm_trainer *t, size_t *out, mm_error *error)
{
    mm_backend *backend = t->model->context->backend;
    mm_vae_slicing encoder;
    MM_TRY(mm_vae_plan(&t->model->parts, backend, false, t->config->num_frames, t->config->height,
                       t->config->width, &encoder, error));
    *out = mm_component_bytes(&t->model->parts.text, backend) +
           mm_component_bytes(&t->model->parts.vae, backend) + encoder.arena_bytes;
    return MM_OK;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

mm_step_settings mm_trainer_step_settings(mm_trainer *t, const mm_latent_shape *shape,
                                          size_t arena_budget)
{
    return (mm_step_settings){
        .model = &t->model->parts,
        .scheduler = &t->model->scheduler,
        .objective = mm_trainer_objective(t->config),
        .config = t->config,
        .lora = &t->lora,
        .frames = shape->frames,
        .height = shape->height,
        .width = shape->width,
        .arena_budget = arena_budget,
    };
}

static mm_status check_budget(const mm_trainer *t, const char *what, size_t needed, mm_error *error)
{
    size_t budget = t->model->context->memory_budget;
    if (needed <= budget)
        return MM_OK;
    return mm_fail(error, MM_ERR_MEMORY, "%s %.2f GiB, the memory budget is %.2f GiB", what,
                   (double)needed * 0x1p-30, (double)budget * 0x1p-30);
}

static mm_status make_step(mm_trainer *t, size_t resident, mm_error *error)
{
    size_t budget = t->model->context->memory_budget;
    MM_TRY(check_budget(t, "the weights alone need", resident + 1, error));
    mm_step_settings settings = mm_trainer_step_settings(t, &t->latents, budget - resident);
    settings.dropout = true;
    return mm_training_step_create(&t->step, &settings, t->model->context->backend, error);
}

/* Compiled kernels take memory themselves, how much is known only when they are there: where it
   does not fit, the plan is made again around it. */
static mm_status fit_step(mm_trainer *t, size_t resident, size_t *kernels, mm_error *error)
{
    mm_plan_summary summary;
    size_t before = mm_resident_bytes();
    MM_TRY(make_step(t, resident, error));
    size_t after = mm_resident_bytes();
    *kernels = after > before ? after - before : 0;
    mm_training_step_summary(t->step, &summary);
    if (resident + *kernels + summary.arena_bytes <= t->model->context->memory_budget)
        return MM_OK;
    mm_training_step_free(&t->step);
    return make_step(t, resident + *kernels, error);
}

static void report_plan(const mm_trainer *t, size_t unet, const mm_plan_summary *summary)
{
    const mm_logger *logger = &t->model->context->logger;
    mm_log(logger, MM_LOG_DEBUG,
           "plan: weights %.2f GiB, activations %.2f GiB (workspace %.2f); %.2f TFLOP a step, of "
           "which %.2f recomputed",
           (double)unet * 0x1p-30, (double)summary->arena_bytes * 0x1p-30,
           (double)summary->workspace_bytes * 0x1p-30, summary->flops * 1e-12,
           summary->recomputed_flops * 1e-12);
    if (summary->recomputed_flops > 0)
        mm_log(logger, MM_LOG_INFO,
               "%.0f %% of a step's work is recomputation, to stay within the memory budget of "
               "%.2f GiB",
               100.0 * summary->recomputed_flops / summary->flops,
               (double)t->model->context->memory_budget * 0x1p-30);
    mm_context_emit_plan(t->model->context, t->planned_peak_bytes);
}

static mm_status make_plan(mm_trainer *t, mm_error *error)
{
    mm_backend *backend = t->model->context->backend;
    size_t base = resident_training_bytes(t), encoding, kernels;
    size_t unet = mm_component_bytes(&t->model->parts.unet, backend);
    MM_TRY(encoding_bytes(t, &encoding, error));
    MM_TRY(fit_step(t, base + unet, &kernels, error));
    mm_plan_summary summary;
    mm_training_step_summary(t->step, &summary);
    encoding += base + kernels;
    MM_TRY(check_budget(t, "encoding the clip needs", encoding, error));
    MM_TRY(mm_trainer_plan_validation(t, base - t->model->baseline_bytes + kernels, error));
    size_t peak = larger(encoding, base + unet + kernels + summary.arena_bytes);
    t->planned_peak_bytes = larger(peak, t->validation.drawing.planned_peak_bytes);
    report_plan(t, unet, &summary);
    return MM_OK;
}

mm_status mm_trainer_make_plan(mm_trainer *t, mm_error *error)
{
    MM_TRY(mm_context_check_process(t->model->context, error));
    if (t->step)
        return MM_OK;
    mm_status status = make_plan(t, error);
    if (status != MM_OK)
        drop_plan(t);
    return status;
}

mm_status mm_trainer_plan(mm_trainer *trainer)
{
    if (!trainer)
        return mm_api_misuse(__func__, "trainer must not be NULL");
    mm_error error = {0};
    return mm_api_return(mm_trainer_make_plan(trainer, &error), &error);
}

/* A sample of the posterior: scaling_factor * (mean + exp(log-variance / 2) * normal), the
   log-variance held to -30..20 as the VAE's authors do. */
static mm_status sample_posterior(const mm_trainer *t, int64_t index, mm_trainer_clip *clip,
                                  mm_error *error)
{
    size_t count = mm_latent_elements(&t->latents), c = (size_t)t->latents.channels;
    float *latents = mm_malloc(count * sizeof(float));
    if (!latents)
        return mm_fail_memory(error, "latents", count * sizeof(float));
    mm_rng rng = {(uint64_t)t->config->seed, MM_STREAM_POSTERIOR, (uint32_t)index};
    double scaling = t->model->parts.vae_config.scaling_factor;
    mm_rng_normal(&rng, 0, latents, count);
    for (size_t i = 0; i < count; i++) {
        const float *moments = clip->moments + i / c * 2 * c + i % c;
        double log_variance = fmin(fmax(moments[c], -30.0), 20.0);
        latents[i] = (float)(scaling * (moments[0] + exp(0.5 * log_variance) * latents[i]));
    }
    clip->clip.latents = latents;
    return MM_OK;
}

static mm_status encode_clip(mm_trainer *t, const mm_video *video, const char *prompt,
                             mm_trainer_clip *clip, mm_error *error)
{
    mm_runtime runtime = mm_model_runtime(t->model);
    size_t bytes = 2 * mm_latent_elements(&t->latents) * sizeof(float);
    clip->prompt = mm_strdup(prompt);
    clip->moments = mm_malloc(bytes);
    if (!clip->prompt || !clip->moments)
        return mm_fail_memory(error, "a clip", bytes);
    mm_context_emit_stage(t->model->context, "encoding the prompt");
    MM_TRY(mm_model_encode_text(t->model, prompt, &clip->clip.hidden_states, error));
    mm_context_emit_stage(t->model->context, "encoding the reference video");
    MM_TRY(mm_video_to_floats(video, &clip->pixels, error));
    MM_TRY(mm_encode_frames(&t->model->parts, &runtime, clip->pixels, t->config->num_frames,
                            t->config->height, t->config->width, clip->moments, error));
    return sample_posterior(t, t->clip_count, clip, error);
}

static mm_status add_clip(mm_trainer *t, const mm_video *video, const char *prompt, mm_error *error)
{
    MM_TRY(mm_context_check_process(t->model->context, error));
    const mm_train_config *config = t->config;
    MM_TRY(mm_video_check_size(video, config->num_frames, config->width, config->height, error));
    size_t bytes = (size_t)(t->clip_count + 1) * sizeof(*t->clip);
    mm_trainer_clip *grown = mm_realloc(t->clip, bytes), clip = {0};
    if (!grown)
        return mm_fail_memory(error, "a clip", bytes);
    t->clip = grown;
    mm_status status = encode_clip(t, video, prompt, &clip, error);
    if (status != MM_OK) {
        free_clip(&clip);
        return status;
    }
    if (t->clip_count > 0)
        drop_plan(t); /* which counted one clip */
    t->clip[t->clip_count++] = clip;
    return MM_OK;
}

mm_status mm_trainer_add_clip(mm_trainer *trainer, const mm_video *video, const char *prompt)
{
    if (!trainer || !video || !prompt)
        return mm_api_misuse(__func__, "trainer, video and prompt must not be NULL");
    if (trainer->resumed)
        return mm_api_misuse(__func__, "a resumed run has its clips already");
    mm_error error = {0};
    return mm_api_return(add_clip(trainer, video, prompt, &error), &error);
}

static bool report_step(void *user, const mm_step_report *report)
{
    mm_trainer *t = user;
    mm_context_emit(t->model->context, &(mm_event){.kind = MM_EVENT_STEP,
                                                   .step = report->step,
                                                   .of = report->of,
                                                   .seconds = report->seconds,
                                                   .timestep = report->timestep,
                                                   .loss = report->losses.loss,
                                                   .loss_spatial = report->losses.spatial,
                                                   .loss_temporal = report->losses.temporal});
    return mm_context_stopping(t->model->context);
}

static void report_checkpoint(void *user, const char *path)
{
    mm_trainer *t = user;
    mm_context_emit_output(t->model->context, path);
}

static mm_status validate(void *user, int64_t step, mm_error *error)
{
    return mm_trainer_validate(user, step, error);
}

static mm_status run_steps(mm_trainer *t, mm_clip *clips, mm_error *error)
{
    for (int64_t i = 0; i < t->clip_count; i++)
        clips[i] = t->clip[i].clip;
    mm_training_run run = {
        .config = t->config,
        .scheduler = &t->model->scheduler,
        .step = t->step,
        .state = &t->state,
        .clip = clips,
        .clip_count = t->clip_count,
        .latent_elements = mm_latent_elements(&t->latents),
        .directory = t->directory,
        .cancel = &t->model->context->cancel,
        .on_step = report_step,
        .on_checkpoint = report_checkpoint,
        .validate = t->validation.planned ? validate : NULL,
        .user = t,
    };
    return mm_training_run_steps(&run, error);
}

static mm_status train(mm_trainer *t, mm_error *error)
{
    mm_runtime runtime = mm_model_runtime(t->model);
    mm_clip *clips = mm_calloc((size_t)t->clip_count, sizeof(*clips));
    if (!clips)
        return mm_fail_memory(error, "a list of clips", (size_t)t->clip_count * sizeof(*clips));
    mm_context_emit_stage(t->model->context, "loading the UNet");
    mm_status status = mm_component_load(&t->model->parts.unet, &runtime, error);
    if (status == MM_OK)
        mm_context_emit_stage(t->model->context, "training");
    if (status == MM_OK)
        status = run_steps(t, clips, error);
    mm_training_step_release(t->step);
    mm_free(clips);
    return status;
}

/* Clips that come from a run's directory have no hidden states yet. */
static mm_status encode_prompts(mm_trainer *t, mm_error *error)
{
    for (int64_t i = 0; i < t->clip_count; i++) {
        mm_trainer_clip *clip = &t->clip[i];
        if (!clip->clip.hidden_states)
            MM_TRY(mm_model_encode_text(t->model, clip->prompt, &clip->clip.hidden_states, error));
    }
    return MM_OK;
}

/* A resumed run may have got more steps, which the next resume has to know. */
static mm_status write_settings(mm_trainer *t, mm_error *error)
{
    if (!t->directory)
        return MM_OK;
    return t->resumed ? mm_trainer_write_config(t, error) : mm_trainer_write_directory(t, error);
}

static mm_status run(mm_trainer *t, mm_error *error)
{
    MM_TRY(mm_context_check_process(t->model->context, error));
    bool first = t->directory && !t->resumed && t->state.done == 0;
    if (t->clip_count == 0)
        return mm_fail(error, MM_ERR_USAGE,
                       "there is no clip to train on; mm_trainer_add_clip() adds one");
    if (t->state.done >= t->config->steps) {
        mm_log(&t->model->context->logger, MM_LOG_NOTICE,
               "nothing is left to do: %lld of %lld steps are done", (long long)t->state.done,
               (long long)t->config->steps);
        return MM_OK;
    }
    MM_TRY(mm_trainer_make_plan(t, error));
    MM_TRY(mm_trainer_describe_lora(t, error));
    MM_TRY(encode_prompts(t, error));
    MM_TRY(mm_trainer_prepare_validation(t, error));
    mm_model_release_coders(t->model);
    if (mm_context_stopping(t->model->context))
        return mm_fail(error, MM_ERR_CANCELLED, "stopped before step %lld",
                       (long long)t->state.done + 1);
    mm_status status = write_settings(t, error);
    if (status == MM_OK)
        status = train(t, error);
    /* Nothing to resume: the directory can take the next attempt. */
    if (first && status != MM_OK && status != MM_ERR_CANCELLED && t->state.done == 0)
        mm_trainer_remove_directory(t);
    return status;
}

mm_status mm_trainer_run(mm_trainer *trainer)
{
    if (!trainer)
        return mm_api_misuse(__func__, "trainer must not be NULL");
    mm_error error = {0};
    return mm_api_return(run(trainer, &error), &error);
}

/* What a checkpoint would say. */
static mm_status describe_copy(mm_trainer *t, mm_lora_layers *layers, mm_error *error)
{
    char step[MM_INT_TEXT];
    return mm_lora_layers_set_metadata(layers, "mm_step",
                                       mm_int_text(t->state.done, step, sizeof(step)), error);
}

static mm_status copy_lora(mm_trainer *t, mm_lora **out, mm_error *error)
{
    if (t->clip_count > 0)
        MM_TRY(mm_trainer_describe_lora(t, error));
    mm_lora *lora = *out = mm_lora_make(t->model->context, t->model, error);
    if (!lora)
        return MM_ERR_MEMORY;
    mm_status status = mm_lora_set_layers(&t->lora, true, &lora->layers, error);
    if (status == MM_OK)
        status = describe_copy(t, &lora->layers, error);
    if (status != MM_OK)
        mm_lora_free(out);
    return status;
}

mm_status mm_trainer_lora(mm_trainer *trainer, mm_lora **out)
{
    if (out)
        *out = NULL;
    if (!trainer || !out)
        return mm_api_misuse(__func__, "trainer and out must not be NULL");
    mm_error error = {0};
    return mm_api_return(copy_lora(trainer, out, &error), &error);
}

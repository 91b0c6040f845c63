/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/trainer_internal.h"

#include <string.h>

#include "api/video_internal.h"
#include "base/memory.h"
#include "base/rng.h"
#include "motion/inversion.h"

static bool wanted(const mm_trainer *t)
{
    const mm_train_config *c = t->config;
    bool samples = c->validation_prompt.count > 0 && c->validation_every > 0 && t->directory;
    return samples || (c->noise_prior > 0 && t->directory);
}

static int64_t given(int64_t value, int64_t otherwise)
{
    return value == MM_NOT_GIVEN ? otherwise : value;
}

/* A clip's size from the command line means the samples too, whatever size a config file has for
   them. */
mm_status mm_trainer_settle_validation(mm_options *options, mm_error *error)
{
    static const char *const pairs[][2] = {
        {"width", "validation_width"},
        {"height", "validation_height"},
        {"num_frames", "validation_num_frames"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const char *value = NULL;
        int32_t source = mm_options_source(options, pairs[i][0]);
        int32_t sample_source = mm_options_source(options, pairs[i][1]);
        if (sample_source == MM_SOURCE_DEFAULT || sample_source >= source)
            continue;
        MM_TRY(mm_options_get(options, pairs[i][0], 0, &value));
        MM_TRY(mm_options_assign(options, pairs[i][1], value, source, error));
    }
    return MM_OK;
}

static mm_drawing_settings sample_settings(mm_trainer *t)
{
    const mm_train_config *c = t->config;
    return (mm_drawing_settings){
        .frames = given(c->validation_num_frames, c->num_frames),
        .width = given(c->validation_width, c->width),
        .height = given(c->validation_height, c->height),
        .steps = c->validation_num_steps,
        .guidance_scale = c->validation_guidance_scale,
        .min_timestep = c->min_timestep,
        .loras = &t->validation.stack,
        .invert = c->noise_prior > 0,
    };
}

/* The inversion of the clip and the samples are drawn by one drawing, so they have one size. */
mm_status mm_trainer_check_validation(mm_trainer *t, mm_error *error)
{
    const mm_train_config *c = t->config;
    if (!wanted(t))
        return MM_OK;
    mm_drawing_settings s = sample_settings(t);
    if (mm_model_check_size(t->model, s.width, s.height, error) != MM_OK)
        return mm_error_prefix(error, "validation samples");
    if (mm_scheduler_check_steps(&t->model->scheduler, s.steps, error) != MM_OK)
        return mm_error_prefix(error, "validation_num_steps");
    if (c->noise_prior > 0 &&
        (s.frames != c->num_frames || s.width != c->width || s.height != c->height))
        return mm_fail(error, MM_ERR_USAGE,
                       "a noise prior needs validation samples of the clip's own size, %lld frames "
                       "of %lldx%lld, not %lld of %lldx%lld: change the one or the other",
                       (long long)c->num_frames, (long long)c->width, (long long)c->height,
                       (long long)s.frames, (long long)s.width, (long long)s.height);
    return MM_OK;
}

mm_status mm_trainer_plan_validation(mm_trainer *t, size_t other_bytes, mm_error *error)
{
    mm_trainer_validation *v = &t->validation;
    if (!wanted(t))
        return MM_OK;
    v->use = (mm_lora_use){.set = &t->lora, .scale = 1.0f};
    v->stack = (mm_lora_stack){&v->use, 1};
    mm_drawing_settings settings = sample_settings(t);
    settings.other_bytes = other_bytes;
    MM_TRY(mm_drawing_create(&v->drawing, t->model, &settings, error));
    v->planned = true;
    return MM_OK;
}

static mm_status step_progress(void *user, const mm_chain_step *step)
{
    mm_trainer *t = user;
    mm_context_emit_substep(t->model->context, step->step, step->of, step->seconds);
    return mm_context_stopping(t->model->context) ? MM_ERR_CANCELLED : MM_OK;
}

static mm_status invert_clip(mm_trainer *t, mm_trainer_clip *clip, mm_error *error)
{
    size_t bytes = mm_latent_elements(&t->latents) * sizeof(float);
    float *noise = mm_malloc(bytes);
    if (!noise)
        return mm_fail_memory(error, "inverted noise", bytes);
    memcpy(noise, clip->clip.latents, bytes);
    mm_context_emit_stage(t->model->context, "inverting the reference");
    mm_status status = mm_drawing_invert(&t->validation.drawing, t->validation.empty, noise,
                                         step_progress, t, error);
    if (status == MM_OK)
        clip->inversion = noise;
    else
        mm_free(noise);
    return status;
}

/* Before the LoRA is trained, as the released code does. */
static mm_status invert_clips(mm_trainer *t, mm_error *error)
{
    for (int64_t i = 0; i < t->clip_count; i++) {
        if (!t->clip[i].inversion)
            MM_TRY(invert_clip(t, &t->clip[i], error));
    }
    return MM_OK;
}

/* A run that goes on after a stop has its texts already. */
static mm_status encode_once(mm_trainer *t, const char *text, float **out, mm_error *error)
{
    return *out ? MM_OK : mm_model_encode_text(t->model, text, out, error);
}

/* Texts are encoded while the text encoder may still be in memory. */
mm_status mm_trainer_prepare_validation(mm_trainer *t, mm_error *error)
{
    mm_trainer_validation *v = &t->validation;
    const mm_text_list *prompts = &t->config->validation_prompt;
    if (!v->planned)
        return MM_OK;
    if (!v->prompt)
        v->prompt = mm_calloc(prompts->count + 1, sizeof(*v->prompt));
    if (!v->prompt)
        return mm_fail_memory(error, "validation prompts", prompts->count * sizeof(*v->prompt));
    for (size_t i = 0; i < prompts->count; i++)
        MM_TRY(encode_once(t, prompts->item[i], &v->prompt[i], error));
    MM_TRY(encode_once(t, "", &v->empty, error));
    return t->config->noise_prior > 0 ? invert_clips(t, error) : MM_OK;
}

static mm_status write_sample(mm_trainer *t, int64_t step, size_t prompt, const float *latents,
                              mm_error *error)
{
    const char *text = t->config->validation_prompt.item[prompt];
    char *name = mm_prompt_file_name(text);
    char *path = name ? mm_format("%s/samples/%lld_%zu_%s_%lld.mp4", t->directory, (long long)step,
                                  prompt, name, (long long)t->config->seed)
                      : NULL;
    mm_video *video = NULL;
    mm_status status = path ? mm_drawing_decode(&t->validation.drawing, latents, 8.0, &video, error)
                            : mm_fail_memory(error, "a path", strlen(text));
    if (status == MM_OK)
        status = mm_media_write(path, &video->frames, &t->model->context->logger, error);
    if (status == MM_OK)
        mm_context_emit_output(t->model->context, path);
    mm_video_free(&video);
    mm_free(path);
    mm_free(name);
    return status;
}

static mm_status draw_sample(mm_trainer *t, int64_t step, size_t prompt, float *latents,
                             mm_error *error)
{
    mm_trainer_validation *v = &t->validation;
    size_t count = mm_latent_elements(&v->drawing.latents);
    mm_rng rng = {(uint64_t)t->config->seed, MM_STREAM_SAMPLING_NOISE, 0};
    mm_rng_normal(&rng, 0, latents, count);
    if (t->config->noise_prior > 0)
        mm_noise_prior(t->config->noise_prior, t->clip[0].inversion, latents, count);
    MM_TRY(mm_drawing_sample(&v->drawing, v->prompt[prompt], v->empty, latents, step_progress, t,
                             error));
    return write_sample(t, step, prompt, latents, error);
}

mm_status mm_trainer_validate(mm_trainer *t, int64_t step, mm_error *error)
{
    size_t bytes = mm_latent_elements(&t->validation.drawing.latents) * sizeof(float);
    float *latents = mm_malloc(bytes);
    mm_status status = latents ? MM_OK : mm_fail_memory(error, "latents", bytes);
    if (t->config->validation_prompt.count)
        mm_context_emit_stage(t->model->context, "drawing validation samples");
    for (size_t i = 0; status == MM_OK && i < t->config->validation_prompt.count; i++)
        status = draw_sample(t, step, i, latents, error);
    mm_component_release(&t->model->parts.vae, t->model->context->backend);
    mm_free(latents);
    if (status == MM_OK)
        mm_context_emit_stage(t->model->context, "training");
    return status;
}

void mm_trainer_free_validation(mm_trainer *t)
{
    mm_trainer_validation *v = &t->validation;
    for (size_t i = 0; v->prompt && i < t->config->validation_prompt.count; i++)
        mm_free(v->prompt[i]);
    mm_free(v->prompt);
    mm_free(v->empty);
    mm_drawing_free(&v->drawing);
    *v = (mm_trainer_validation){0};
}

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

static bool follows_clip(const mm_trainer *t, const mm_latent_shape *sample)
{
    return sample->frames == t->latents.frames && sample->height == t->latents.height &&
           sample->width == t->latents.width;
}

/* The inversion of the clip and the samples are drawn by one drawing, so they have one size. */
mm_status mm_trainer_plan_validation(mm_trainer *t, size_t other_bytes, mm_error *error)
{
    const mm_train_config *c = t->config;
    mm_trainer_validation *v = &t->validation;
    if (!wanted(t))
        return MM_OK;
    v->use = (mm_lora_use){.set = &t->lora, .scale = 1.0f};
    v->stack = (mm_lora_stack){&v->use, 1};
    mm_drawing_settings settings = {
        .frames = given(c->validation_num_frames, c->num_frames),
        .width = given(c->validation_width, c->width),
        .height = given(c->validation_height, c->height),
        .steps = c->validation_num_steps,
        .guidance_scale = c->validation_guidance_scale,
        .min_timestep = c->min_timestep,
        .loras = &v->stack,
        .invert_base = c->noise_prior > 0,
        .other_bytes = other_bytes,
    };
    MM_TRY(mm_model_check_size(t->model, settings.width, settings.height, error));
    MM_TRY(mm_drawing_create(&v->drawing, t->model, &settings, error));
    v->planned = true;
    if (c->noise_prior > 0 && !follows_clip(t, &v->drawing.latents))
        return mm_fail(error, MM_ERR_USAGE,
                       "a noise prior needs validation samples of the clip's own size");
    return MM_OK;
}

static mm_status step_progress(void *user, const mm_chain_step *step)
{
    mm_trainer *t = user;
    mm_context_emit_substep(t->model->context, step->step, step->of, step->seconds);
    return mm_context_stopping(t->model->context) ? MM_ERR_CANCELLED : MM_OK;
}

/* Before the LoRA is trained, as the released code does. */
static mm_status invert_clips(mm_trainer *t, mm_error *error)
{
    size_t bytes = mm_latent_elements(&t->latents) * sizeof(float);
    for (int64_t i = 0; i < t->clip_count; i++) {
        mm_trainer_clip *clip = &t->clip[i];
        if (clip->inversion)
            continue;
        mm_context_emit_stage(t->model->context, "inverting the reference");
        clip->inversion = mm_malloc(bytes);
        if (!clip->inversion)
            return mm_fail_memory(error, "inverted noise", bytes);
        memcpy(clip->inversion, clip->clip.latents, bytes);
        MM_TRY(mm_drawing_invert(&t->validation.drawing, t->validation.empty, false,
                                 clip->inversion, step_progress, t, error));
    }
    return MM_OK;
}

/* Texts are encoded while the text encoder may still be in memory. */
mm_status mm_trainer_prepare_validation(mm_trainer *t, mm_error *error)
{
    mm_trainer_validation *v = &t->validation;
    if (!v->planned)
        return MM_OK;
    size_t count = t->config->validation_prompt.count;
    v->prompt = mm_calloc(count, sizeof(*v->prompt));
    if (!v->prompt)
        return mm_fail_memory(error, "validation prompts", count * sizeof(*v->prompt));
    for (size_t i = 0; i < count; i++)
        MM_TRY(mm_model_encode_text(t->model, t->config->validation_prompt.item[i], &v->prompt[i],
                                    error));
    MM_TRY(mm_model_encode_text(t->model, "", &v->empty, error));
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

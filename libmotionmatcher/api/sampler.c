/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/sampler_internal.h"

#include <math.h>
#include <string.h>

#include "api/status_internal.h"
#include "base/memory.h"
#include "base/rng.h"
#include "motion/inversion.h"

void mm_sampler_free(mm_sampler **sampler)
{
    if (!sampler || !*sampler)
        return;
    mm_sampler *s = *sampler;
    mm_drawing_free(&s->drawing);
    for (int32_t i = 0; i < s->stack.count; i++)
        mm_lora_set_free(&s->lora[i]);
    mm_free(s->lora);
    mm_free(s->use);
    mm_video_free(&s->video);
    mm_free(s->reference);
    mm_tensor_free(&s->inverted);
    mm_tensor_free(&s->latents);
    mm_free(s->start);
    mm_free(s->prompt);
    mm_free(s->negative);
    mm_free(s->empty);
    mm_options_free(&s->options);
    mm_model_free(&s->model);
    mm_free(s);
    *sampler = NULL;
}

static mm_status make_drawing(mm_sampler *s, mm_error *error)
{
    const mm_sample_config *c = s->config;
    mm_drawing_settings settings = {
        .frames = c->num_frames,
        .width = c->width,
        .height = c->height,
        .steps = c->num_steps,
        .guidance_scale = c->guidance_scale,
        .min_timestep = s->min_timestep,
        .loras = &s->stack,
        .invert = s->noise_prior > 0 || c->save_inversion,
        .invert_with_lora = c->inversion_lora,
    };
    for (int32_t i = 0; i < s->stack.count; i++)
        settings.other_bytes += mm_lora_set_bytes(&s->lora[i]);
    return mm_drawing_create(&s->drawing, s->model, &settings, error);
}

static mm_status check_config(const mm_sampler *s, mm_error *error)
{
    const mm_sample_config *c = s->config;
    MM_TRY(mm_model_check_size(s->model, c->width, c->height, error));
    if (c->num_steps > 0)
        MM_TRY(mm_scheduler_check_steps(&s->model->scheduler, c->num_steps, error));
    if (c->num_steps == 0 && (s->noise_prior > 0 || c->save_inversion))
        return mm_fail(error, MM_ERR_USAGE,
                       "an inversion takes as many steps as the sampling: num_steps 0 has none");
    if (!c->prompt)
        return mm_fail(error, MM_ERR_USAGE, "a prompt is needed");
    return MM_OK;
}

/* What can fail fails here, before weights are loaded: wrong texts too. */
static mm_status check_texts(const mm_sampler *s, mm_error *error)
{
    int64_t ids[MM_PROMPT_TOKENS];
    const mm_logger *logger = &s->model->context->logger;
    MM_TRY(mm_tokenize_prompt(&s->model->parts, NULL, s->config->prompt, ids, error));
    if (!s->config->negative_prompt)
        return MM_OK;
    return mm_tokenize_prompt(&s->model->parts, logger, s->config->negative_prompt, ids, error);
}

static mm_status setup(mm_sampler *s, const mm_options *options, mm_error *error)
{
    MM_TRY(mm_options_copy(&s->options, options, error));
    s->config = mm_options_sample(s->options);
    s->noise_prior = isnan(s->config->noise_prior) ? 0.0 : s->config->noise_prior;
    MM_TRY(check_config(s, error));
    MM_TRY(check_texts(s, error));
    MM_TRY(mm_sampler_check_outputs(s, error));
    MM_TRY(mm_sampler_read_loras(s, error));
    MM_TRY(make_drawing(s, error));
    MM_TRY(mm_sampler_read_latents(s, error));
    return mm_sampler_read_reference(s, error);
}

static mm_status create(mm_sampler **out, mm_model *model, const mm_options *options,
                        mm_error *error)
{
    MM_TRY(mm_context_check_process(model->context, error));
    mm_sampler *s = mm_calloc(1, sizeof(*s));
    if (!s)
        return mm_fail_memory(error, "a sampler", sizeof(*s));
    s->model = mm_model_retain(model);
    mm_status status = setup(s, options, error);
    if (status != MM_OK)
        mm_sampler_free(&s);
    *out = s;
    return status;
}

mm_status mm_sampler_create(mm_sampler **out, mm_model *model, const mm_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !options || !mm_options_sample(options))
        return mm_api_misuse(__func__, "out, model and options of table \"sample\" are needed");
    mm_error error = {0};
    return mm_api_return(create(out, model, options, &error), &error);
}

mm_status mm_sampler_plan(mm_sampler *sampler)
{
    if (!sampler)
        return mm_api_misuse(__func__, "sampler must not be NULL");
    mm_context_emit_plan(sampler->model->context, sampler->drawing.planned_peak_bytes);
    return MM_OK;
}

static mm_status encode_texts(mm_sampler *s, mm_error *error)
{
    const char *negative = s->config->negative_prompt ? s->config->negative_prompt : "";
    if (s->prompt)
        return MM_OK;
    mm_context_emit_stage(s->model->context, "encoding the prompt");
    MM_TRY(mm_model_encode_text(s->model, s->config->prompt, &s->prompt, error));
    MM_TRY(mm_model_encode_text(s->model, negative, &s->negative, error));
    return s->drawing.settings.invert ? mm_model_encode_text(s->model, "", &s->empty, error)
                                      : MM_OK;
}

static mm_status on_sampling_step(void *user, const mm_chain_step *step)
{
    mm_sampler *s = user;
    mm_context_emit_step(s->model->context, step->step, step->of, step->seconds);
    return mm_context_stopping(s->model->context) ? MM_ERR_CANCELLED : MM_OK;
}

static mm_status on_inversion_step(void *user, const mm_chain_step *step)
{
    mm_sampler *s = user;
    mm_context_emit_substep(s->model->context, step->step, step->of, step->seconds);
    return mm_context_stopping(s->model->context) ? MM_ERR_CANCELLED : MM_OK;
}

static mm_status invert_reference(mm_sampler *s, mm_error *error)
{
    size_t bytes = mm_latent_elements(&s->drawing.latents) * sizeof(float);
    if (!s->reference || s->inverted)
        return MM_OK;
    mm_context_emit_stage(s->model->context, "inverting the reference");
    float *inverted = mm_malloc(bytes);
    if (!inverted)
        return mm_fail_memory(error, "inverted noise", bytes);
    memcpy(inverted, s->reference, bytes);
    mm_status status =
        mm_drawing_invert(&s->drawing, s->empty, inverted, on_inversion_step, s, error);
    if (status == MM_OK)
        return mm_latents_wrap(&s->inverted, &s->drawing.latents, inverted, error);
    mm_free(inverted);
    return status;
}

/* Where a video starts: given latents or normal numbers of its seed, mixed with the noise prior. */
static void make_start(const mm_sampler *s, int64_t seed, float *latents)
{
    size_t count = mm_latent_elements(&s->drawing.latents);
    mm_rng rng = {(uint64_t)seed, MM_STREAM_SAMPLING_NOISE, 0};
    if (s->start)
        memcpy(latents, s->start, count * sizeof(float));
    else
        mm_rng_normal(&rng, 0, latents, count);
    if (s->noise_prior > 0 && s->inverted)
        mm_noise_prior(s->noise_prior, s->inverted->data, latents, count);
}

/* What was drawn before may be in use elsewhere: every video's latents are new ones. */
static mm_status draw_latents(mm_sampler *s, int64_t seed, mm_error *error)
{
    size_t bytes = mm_latent_elements(&s->drawing.latents) * sizeof(float);
    mm_tensor_free(&s->latents);
    float *latents = mm_malloc(bytes);
    if (!latents)
        return mm_fail_memory(error, "latents", bytes);
    make_start(s, seed, latents);
    mm_context_emit_stage(s->model->context, "sampling");
    mm_status status =
        mm_drawing_sample(&s->drawing, s->prompt, s->negative, latents, on_sampling_step, s, error);
    if (status == MM_OK)
        return mm_latents_wrap(&s->latents, &s->drawing.latents, latents, error);
    mm_free(latents);
    return status;
}

static mm_status draw(mm_sampler *s, int64_t repeat, mm_video **out, mm_error *error)
{
    int64_t seed = s->config->seed + repeat;
    MM_TRY(draw_latents(s, seed, error));
    return mm_sampler_write(s, seed, out, error);
}

static bool writes_something(const mm_sample_config *c)
{
    return c->output || c->output_dir || c->save_latents || c->save_inversion || c->save_frames;
}

static mm_status run(mm_sampler *s, mm_video **out, mm_error *error)
{
    MM_TRY(mm_context_check_process(s->model->context, error));
    if (!writes_something(s->config) && !out && !s->config->steps_only)
        return mm_fail(error, MM_ERR_USAGE,
                       "nothing to write: set output_dir, output or a save option, or take the "
                       "video");
    MM_TRY(encode_texts(s, error));
    MM_TRY(mm_sampler_encode_reference(s, error));
    MM_TRY(invert_reference(s, error));
    for (int64_t i = 0; i < s->config->repeat_num; i++) {
        if (mm_context_stopping(s->model->context))
            return mm_fail(error, MM_ERR_CANCELLED, "stopped after %lld videos", (long long)i);
        MM_TRY(draw(s, i, out, error));
    }
    return MM_OK;
}

mm_status mm_sampler_set_init_latents(mm_sampler *sampler, const mm_tensor *latents)
{
    if (!sampler)
        return mm_api_misuse(__func__, "sampler must not be NULL");
    mm_error error = {0};
    float *start = NULL;
    mm_status status = MM_OK;
    if (latents)
        status = mm_latents_from_tensor(&start, latents, &sampler->drawing.latents, "init latents",
                                        &error);
    if (status == MM_OK) {
        mm_free(sampler->start);
        sampler->start = start;
    }
    return mm_api_return(status, &error);
}

mm_status mm_sampler_latents(const mm_sampler *sampler, mm_tensor **out)
{
    if (out)
        *out = NULL;
    if (!sampler || !out)
        return mm_api_misuse(__func__, "sampler and out must not be NULL");
    if (!sampler->latents)
        return mm_api_misuse(__func__, "nothing was drawn yet; mm_sampler_run() draws");
    *out = mm_tensor_retain(sampler->latents);
    return MM_OK;
}

mm_status mm_sampler_inversion(const mm_sampler *sampler, mm_tensor **out)
{
    if (out)
        *out = NULL;
    if (!sampler || !out)
        return mm_api_misuse(__func__, "sampler and out must not be NULL");
    if (!sampler->inverted)
        return mm_api_misuse(__func__, "nothing was inverted");
    *out = mm_tensor_retain(sampler->inverted);
    return MM_OK;
}

mm_status mm_sampler_run(mm_sampler *sampler, mm_video **out)
{
    if (out)
        *out = NULL;
    if (!sampler)
        return mm_api_misuse(__func__, "sampler must not be NULL");
    mm_error error = {0};
    mm_status status = run(sampler, out, &error);
    if (status != MM_OK)
        mm_video_free(out); /* an earlier one of several */
    return mm_api_return(status, &error);
}

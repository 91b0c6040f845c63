/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/extractor_internal.h"

#include <math.h>
#include <string.h>

#include "api/status_internal.h"
#include "api/video_internal.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"

static void drop_maps(mm_extractor *x)
{
    mm_tensor_free(&x->ca);
    mm_tensor_free(&x->tsa);
}

static void drop_clip(mm_extractor *x)
{
    drop_maps(x);
    mm_free(x->clip.prompt);
    mm_free(x->clip.hidden_states);
    mm_free(x->clip.latents);
    mm_frames_free(&x->clip.frames);
    x->clip = (mm_extractor_clip){0};
}

void mm_extractor_free(mm_extractor **extractor)
{
    if (!extractor || !*extractor)
        return;
    mm_extractor *x = *extractor;
    drop_clip(x);
    mm_feature_pass_free(&x->pass);
    mm_free(x->noise);
    mm_options_free(&x->options);
    mm_model_free(&x->model);
    mm_free(x);
    *extractor = NULL;
}

static mm_status check_timestep(const mm_extractor *x, int64_t timestep, mm_error *error)
{
    int64_t last = x->model->scheduler.train_steps - 1;
    if (timestep >= 0 && timestep <= last)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE, "timestep %lld: this model's timesteps are 0..%lld",
                   (long long)timestep, (long long)last);
}

static mm_status check_outputs(const mm_feature_config *c, mm_error *error)
{
    if (c->output)
        MM_TRY(mm_output_file_check(c->output, error));
    if (!c->pictures)
        return MM_OK;
    MM_TRY(mm_media_check_path("tsa.png", error));
    return mm_directory_check_creatable(c->pictures, error);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Text and frames are encoded before the UNet is loaded. kernels: memory that compiling took. */
static mm_status plan(mm_extractor *x, size_t kernels, mm_error *error)
{
    const mm_feature_config *c = x->config;
    mm_diffusion_model *parts = &x->model->parts;
    mm_backend *backend = x->model->context->backend;
    mm_vae_slicing encoder;
    MM_TRY(mm_vae_plan(parts, backend, false, c->num_frames, c->height, c->width, &encoder, error));
    size_t bytes = (size_t)(c->num_frames * c->height * c->width) * 3;
    size_t kept = x->model->baseline_bytes + kernels + bytes +
                  8 * mm_latent_elements(&x->shape) * sizeof(float);
    size_t maps = (size_t)(mm_shape_elements(mm_feature_pass_ca_shape(x->pass)) +
                           mm_shape_elements(mm_feature_pass_tsa_shape(x->pass))) *
                  sizeof(float);
    x->encoding_bytes = kept + mm_component_bytes(&parts->text, backend) +
                        mm_component_bytes(&parts->vae, backend) + encoder.arena_bytes +
                        bytes * sizeof(float);
    size_t features = kept + mm_component_bytes(&parts->unet, backend) +
                      mm_feature_pass_arena_bytes(x->pass) + maps;
    x->planned_peak_bytes = larger(x->encoding_bytes, features);
    if (x->planned_peak_bytes <= x->model->context->memory_budget)
        return MM_OK;
    return mm_fail(error, MM_ERR_MEMORY,
                   "the features of %lld frames of %lldx%lld need %.2f GiB, the memory budget is "
                   "%.2f GiB",
                   (long long)c->num_frames, (long long)c->width, (long long)c->height,
                   (double)x->planned_peak_bytes * 0x1p-30,
                   (double)x->model->context->memory_budget * 0x1p-30);
}

static mm_status make_pass(mm_extractor *x, mm_error *error)
{
    const mm_feature_config *c = x->config;
    mm_feature_pass_settings settings = {
        .frames = x->shape.frames,
        .height = x->shape.height,
        .width = x->shape.width,
        .scales = {c->spatial_scale_factor, c->temporal_scale_factor},
    };
    size_t before = mm_resident_bytes();
    MM_TRY(mm_feature_pass_create(&x->pass, &x->model->parts, x->model->context->backend, &settings,
                                  error));
    size_t after = mm_resident_bytes();
    return plan(x, after > before ? after - before : 0, error);
}

static mm_status setup(mm_extractor *x, const mm_options *options, mm_error *error)
{
    MM_TRY(mm_options_copy(&x->options, options, error));
    const mm_feature_config *c = x->config = mm_options_features(x->options);
    MM_TRY(mm_model_check_size(x->model, c->width, c->height, error));
    int64_t factor = mm_model_vae_factor(x->model);
    x->shape = (mm_latent_shape){c->num_frames, c->height / factor, c->width / factor,
                                 x->model->parts.vae_config.latent_channels};
    if (c->timestep != MM_NOT_GIVEN)
        MM_TRY(check_timestep(x, c->timestep, error));
    MM_TRY(check_outputs(c, error));
    MM_TRY(make_pass(x, error));
    return c->noise ? mm_latents_read_exact(c->noise, "noise", &x->shape, &x->noise, error) : MM_OK;
}

static mm_status create(mm_extractor **out, mm_model *model, const mm_options *options,
                        mm_error *error)
{
    MM_TRY(mm_context_check_process(model->context, error));
    mm_extractor *x = mm_calloc(1, sizeof(*x));
    if (!x)
        return mm_fail_memory(error, "an extractor", sizeof(*x));
    x->model = mm_model_retain(model);
    mm_status status = setup(x, options, error);
    if (status != MM_OK)
        mm_extractor_free(&x);
    *out = x;
    return status;
}

mm_status mm_extractor_create(mm_extractor **out, mm_model *model, const mm_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !options || !mm_options_features(options))
        return mm_api_misuse(__func__, "out, model and options of table \"features\" are needed");
    mm_error error = {0};
    return mm_api_return(create(out, model, options, &error), &error);
}

mm_status mm_extractor_plan(mm_extractor *extractor)
{
    if (!extractor)
        return mm_api_misuse(__func__, "extractor must not be NULL");
    mm_context_emit_plan(extractor->model->context, extractor->planned_peak_bytes);
    return MM_OK;
}

static mm_status check_stop(const mm_extractor *x, mm_error *error)
{
    return mm_context_stopping(x->model->context) ? mm_fail(error, MM_ERR_CANCELLED, "stopped")
                                                  : MM_OK;
}

/* The UNet of an earlier run stays in memory where there is room for it. */
static void make_room_for_encoding(mm_extractor *x)
{
    mm_backend *backend = x->model->context->backend;
    size_t unet = mm_component_bytes(&x->model->parts.unet, backend);
    mm_feature_pass_release(x->pass);
    if (x->encoding_bytes + unet > x->model->context->memory_budget)
        mm_component_release(&x->model->parts.unet, backend);
}

static mm_status set_text(mm_extractor *x, const char *prompt, mm_error *error)
{
    MM_TRY(mm_context_check_process(x->model->context, error));
    mm_extractor_clip *clip = &x->clip;
    const mm_diffusion_model *parts = &x->model->parts;
    MM_TRY(check_stop(x, error));
    MM_TRY(mm_tokenize_prompt(parts, NULL, prompt, clip->ids, error));
    clip->tokens = (int64_t)mm_tokenizer_unpadded(parts->tokenizer, clip->ids, MM_PROMPT_TOKENS);
    clip->prompt = mm_strdup(prompt);
    if (!clip->prompt)
        return mm_fail_memory(error, "a prompt", strlen(prompt));
    make_room_for_encoding(x);
    mm_context_emit_stage(x->model->context, "encoding the prompt");
    return mm_model_encode_text(x->model, prompt, &clip->hidden_states, error);
}

static mm_status copy_frames(mm_extractor *x, const mm_frames *frames, mm_error *error)
{
    size_t bytes = (size_t)frames->count * (size_t)frames->height * (size_t)frames->width * 3;
    uint8_t *data = mm_malloc(bytes);
    if (!data)
        return mm_fail_memory(error, "frames", bytes);
    memcpy(data, frames->data, bytes);
    x->clip.frames = *frames;
    x->clip.frames.data = data;
    return MM_OK;
}

static mm_status set_video(mm_extractor *x, const mm_video *video, const char *prompt,
                           mm_error *error)
{
    const mm_feature_config *c = x->config;
    MM_TRY(mm_video_check_size(video, c->num_frames, c->width, c->height, error));
    MM_TRY(set_text(x, prompt, error));
    MM_TRY(copy_frames(x, &video->frames, error));
    mm_context_emit_stage(x->model->context, "encoding the video");
    return mm_model_encode_video(x->model, video, &x->clip.latents, error);
}

mm_status mm_extractor_set_video(mm_extractor *extractor, const mm_video *video, const char *prompt)
{
    if (!extractor || !video || !prompt)
        return mm_api_misuse(__func__, "extractor, video and prompt must not be NULL");
    mm_error error = {0};
    drop_clip(extractor);
    mm_status status = set_video(extractor, video, prompt, &error);
    if (status != MM_OK)
        drop_clip(extractor);
    return mm_api_return(status, &error);
}

static mm_status set_latents(mm_extractor *x, const mm_tensor *latents, const char *prompt,
                             mm_error *error)
{
    float *copy = NULL;
    MM_TRY(mm_latents_from_tensor(&copy, latents, &x->shape, "latents", error));
    mm_status status = set_text(x, prompt, error);
    x->clip.latents = copy;
    return status;
}

mm_status mm_extractor_set_latents(mm_extractor *extractor, const mm_tensor *latents,
                                   const char *prompt)
{
    if (!extractor || !latents || !prompt)
        return mm_api_misuse(__func__, "extractor, latents and prompt must not be NULL");
    mm_error error = {0};
    drop_clip(extractor);
    mm_status status = set_latents(extractor, latents, prompt, &error);
    if (status != MM_OK)
        drop_clip(extractor);
    return mm_api_return(status, &error);
}

static mm_status allocate_maps(mm_extractor *x, mm_error *error)
{
    int64_t height, width, frames = x->shape.frames;
    mm_feature_pass_tsa_places(x->pass, &height, &width);
    drop_maps(x);
    MM_TRY(mm_tensor_allocate(&x->ca, MM_F32, mm_feature_pass_ca_shape(x->pass), error));
    return mm_tensor_allocate(&x->tsa, MM_F32, &MM_SHAPE(height, width, frames, frames), error);
}

static mm_status check_finite(const char *name, const mm_tensor *map, mm_error *error)
{
    const float *values = map->data;
    for (int64_t i = 0; i < mm_shape_elements(&map->shape); i++) {
        if (!isfinite(values[i]))
            return mm_fail(error, MM_ERR_NONFINITE, "the map %s is not finite", name);
    }
    return MM_OK;
}

/* noise: in the layout of memory. */
static mm_status compute(mm_extractor *x, const float *noise, float *noisy, mm_error *error)
{
    mm_model *model = x->model;
    mm_runtime runtime = mm_model_runtime(model);
    mm_model_release_coders(model);
    MM_TRY(mm_component_load(&model->parts.unet, &runtime, error));
    mm_context_emit_stage(model->context, "computing the features");
    mm_scheduler_add_noise(&model->scheduler, x->timestep, x->clip.latents, noise, noisy,
                           mm_latent_elements(&x->shape));
    MM_TRY(allocate_maps(x, error));
    MM_TRY(mm_feature_pass_run(x->pass, noisy, x->timestep, x->clip.hidden_states, x->ca->data,
                               x->tsa->data, &model->context->cancel, error));
    mm_feature_pass_release(x->pass);
    MM_TRY(check_finite("ca", x->ca, error));
    return check_finite("tsa", x->tsa, error);
}

/* The caller's noise, else the file's, else the seed's; fresh, in the layout of memory. */
static mm_status make_noise(mm_extractor *x, const mm_tensor *given, float **out, mm_error *error)
{
    size_t count = mm_latent_elements(&x->shape);
    x->seeded = !given && !x->noise;
    if (given)
        return mm_latents_from_tensor(out, given, &x->shape, "numbers of the noise", error);
    *out = mm_malloc(count * sizeof(float));
    if (!*out)
        return mm_fail_memory(error, "noise", count * sizeof(float));
    mm_rng rng = {(uint64_t)x->config->seed, MM_STREAM_FEATURE_NOISE, 0};
    if (x->noise)
        memcpy(*out, x->noise, count * sizeof(float));
    else
        mm_rng_normal(&rng, 0, *out, count);
    return MM_OK;
}

static mm_status run_at(mm_extractor *x, int64_t timestep, const mm_tensor *given, mm_error *error)
{
    MM_TRY(mm_context_check_process(x->model->context, error));
    if (!x->clip.latents)
        return mm_fail(error, MM_ERR_USAGE, "there is no clip; mm_extractor_set_video() sets one");
    MM_TRY(check_timestep(x, timestep, error));
    MM_TRY(check_stop(x, error));
    float *noise = NULL;
    x->timestep = timestep;
    mm_status status = make_noise(x, given, &noise, error);
    if (status == MM_OK)
        status = compute(x, noise, noise, error);
    if (status != MM_OK)
        drop_maps(x);
    mm_free(noise);
    return status;
}

mm_status mm_extractor_run_at(mm_extractor *extractor, int64_t timestep, const mm_tensor *noise)
{
    if (!extractor)
        return mm_api_misuse(__func__, "extractor must not be NULL");
    mm_error error = {0};
    return mm_api_return(run_at(extractor, timestep, noise, &error), &error);
}

mm_status mm_extractor_run(mm_extractor *extractor)
{
    if (!extractor)
        return mm_api_misuse(__func__, "extractor must not be NULL");
    if (extractor->config->timestep == MM_NOT_GIVEN)
        return mm_api_misuse(__func__, "the option timestep is not given");
    return mm_extractor_run_at(extractor, extractor->config->timestep, NULL);
}

mm_status mm_extractor_ca(const mm_extractor *extractor, mm_tensor **out)
{
    if (out)
        *out = NULL;
    if (!extractor || !out)
        return mm_api_misuse(__func__, "extractor and out must not be NULL");
    if (!extractor->ca)
        return mm_api_misuse(__func__, "there are no maps yet; mm_extractor_run() computes them");
    *out = mm_tensor_retain(extractor->ca);
    return MM_OK;
}

mm_status mm_extractor_tsa(const mm_extractor *extractor, mm_tensor **out)
{
    if (out)
        *out = NULL;
    if (!extractor || !out)
        return mm_api_misuse(__func__, "extractor and out must not be NULL");
    if (!extractor->tsa)
        return mm_api_misuse(__func__, "there are no maps yet; mm_extractor_run() computes them");
    *out = mm_tensor_retain(extractor->tsa);
    return MM_OK;
}

int64_t mm_extractor_tokens(const mm_extractor *extractor)
{
    return extractor ? extractor->clip.tokens : 0;
}

const char *mm_extractor_token(const mm_extractor *extractor, int64_t index)
{
    if (!extractor || index < 0 || index >= extractor->clip.tokens)
        return NULL;
    return mm_tokenizer_token(extractor->model->parts.tokenizer, extractor->clip.ids[index]);
}

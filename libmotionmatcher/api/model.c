/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/model_internal.h"

#include "api/status_internal.h"
#include "api/video_internal.h"
#include "base/file.h"
#include "base/memory.h"

static mm_status load_scheduler(mm_model *model, const char *directory, mm_error *error)
{
    char *path = mm_format("%s/scheduler/scheduler_config.json", directory);
    if (!path)
        return mm_fail_memory(error, "a path", 0);
    mm_status status = mm_scheduler_load(&model->scheduler, path, error);
    mm_free(path);
    return status;
}

static void destroy(mm_model *model)
{
    mm_backend *backend = model->context->backend;
    mm_component_release(&model->parts.unet, backend);
    mm_component_release(&model->parts.vae, backend);
    mm_component_release(&model->parts.text, backend);
    mm_diffusion_model_close(&model->parts);
    mm_scheduler_free(&model->scheduler);
    mm_context_free(&model->context);
    mm_free(model);
}

/* What the libraries below come to hold once kernels run: 20 to 35 MiB were measured. */
enum { LIBRARIES_BYTES = 36 << 20 };

static mm_status open_model(mm_model **out, mm_context *context, const char *directory,
                            mm_error *error)
{
    MM_TRY(mm_context_check_process(context, error));
    mm_model *model = mm_calloc(1, sizeof(*model));
    if (!model)
        return mm_fail_memory(error, "a model", sizeof(*model));
    atomic_init(&model->references, 1);
    model->context = mm_context_retain(context);
    model->baseline_bytes = mm_resident_bytes() + LIBRARIES_BYTES;
    mm_status status = mm_diffusion_model_open(&model->parts, directory, context->network_type,
                                               &context->logger, error);
    if (status == MM_OK)
        status = load_scheduler(model, directory, error);
    if (status != MM_OK) {
        destroy(model);
        return status;
    }
    *out = model;
    return MM_OK;
}

mm_status mm_model_open(mm_model **out, mm_context *context, const char *directory)
{
    if (out)
        *out = NULL;
    if (!out || !context || !directory)
        return mm_api_misuse(__func__, "out, context and directory must not be NULL");
    mm_error error = {0};
    return mm_api_return(open_model(out, context, directory, &error), &error);
}

mm_model *mm_model_retain(mm_model *model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

void mm_model_free(mm_model **model)
{
    if (!model || !*model)
        return;
    if (atomic_fetch_sub(&(*model)->references, 1) == 1)
        destroy(*model);
    *model = NULL;
}

int64_t mm_model_vae_factor(const mm_model *model)
{
    return model ? mm_vae_factor(&model->parts.vae_config) : 0;
}

mm_status mm_model_tokenize(mm_model *model, const char *prompt, int64_t ids[77])
{
    if (!model || !prompt || !ids)
        return mm_api_misuse(__func__, "model, prompt and ids must not be NULL");
    mm_error error = {0};
    return mm_api_return(
        mm_tokenize_prompt(&model->parts, &model->context->logger, prompt, ids, &error), &error);
}

static void report_loaded(void *user, double seconds)
{
    mm_context_emit_loaded(user, seconds);
}

mm_runtime mm_model_runtime(mm_model *model)
{
    mm_context *context = model->context;
    return (mm_runtime){context->backend, &context->logger, &context->cancel, report_loaded,
                        context};
}

mm_status mm_model_check_size(const mm_model *model, int64_t width, int64_t height, mm_error *error)
{
    int64_t factor = mm_model_vae_factor(model);
    if (width % factor == 0 && height % factor == 0)
        return MM_OK;
    return mm_fail(
        error, MM_ERR_USAGE,
        "%lldx%lld: width and height must be multiples of %lld for this model; %lldx%lld "
        "would do",
        (long long)width, (long long)height, (long long)factor,
        (long long)((width + factor - 1) / factor * factor),
        (long long)((height + factor - 1) / factor * factor));
}

mm_status mm_model_encode_text(mm_model *model, const char *prompt, float **out, mm_error *error)
{
    int64_t ids[MM_PROMPT_TOKENS];
    mm_runtime runtime = mm_model_runtime(model);
    size_t bytes = MM_PROMPT_TOKENS * (size_t)model->parts.text_config.width * sizeof(float);
    MM_TRY(mm_tokenize_prompt(&model->parts, runtime.logger, prompt, ids, error));
    *out = mm_malloc(bytes);
    if (!*out)
        return mm_fail_memory(error, "a prompt", bytes);
    mm_status status = mm_encode_prompt(&model->parts, &runtime, ids, *out, error);
    if (status != MM_OK) {
        mm_free(*out);
        *out = NULL;
    }
    return status;
}

static void scaled_means(const float *moments, size_t places, size_t channels, float scaling,
                         float *out)
{
    for (size_t p = 0; p < places; p++) {
        for (size_t c = 0; c < channels; c++)
            out[p * channels + c] = scaling * moments[p * 2 * channels + c];
    }
}

mm_status mm_model_encode_video(mm_model *model, const mm_video *video, float **out,
                                mm_error *error)
{
    const mm_frames *f = &video->frames;
    const mm_vae_config *vae = &model->parts.vae_config;
    mm_runtime runtime = mm_model_runtime(model);
    int64_t factor = mm_vae_factor(vae);
    size_t channels = (size_t)vae->latent_channels;
    size_t places = (size_t)(f->count * (f->height / factor) * (f->width / factor));
    size_t bytes = places * channels * sizeof(float);
    float *pixels = NULL, *moments = mm_malloc(2 * bytes);
    *out = mm_malloc(bytes);
    mm_status status = moments && *out ? mm_video_to_floats(video, &pixels, error)
                                       : mm_fail_memory(error, "latents", 3 * bytes);
    if (status == MM_OK)
        status = mm_encode_frames(&model->parts, &runtime, pixels, f->count, f->height, f->width,
                                  moments, error);
    if (status == MM_OK)
        scaled_means(moments, places, channels, (float)vae->scaling_factor, *out);
    mm_free(pixels);
    mm_free(moments);
    if (status != MM_OK) {
        mm_free(*out);
        *out = NULL;
    }
    return status;
}

void mm_model_release_coders(mm_model *model)
{
    mm_component_release(&model->parts.text, model->context->backend);
    mm_component_release(&model->parts.vae, model->context->backend);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/drawing.h"

#include <string.h>

#include "api/video_internal.h"
#include "base/memory.h"
#include "motion/inversion.h"

static mm_status make_denoiser(mm_drawing *d, bool adapted, mm_denoiser **out, mm_error *error)
{
    mm_denoiser_settings settings = {
        .frames = d->latents.frames,
        .height = d->latents.height,
        .width = d->latents.width,
        .adapter = adapted ? mm_lora_adapt : NULL,
        .adapter_user = d->settings.loras,
    };
    MM_TRY(mm_denoiser_create(out, &d->model->parts, d->model->context->backend, &settings, error));
    size_t bytes = mm_denoiser_arena_bytes(*out);
    d->arena_bytes = bytes > d->arena_bytes ? bytes : d->arena_bytes;
    return MM_OK;
}

/* kernels: memory that compiling took. */
static mm_status plan(mm_drawing *d, size_t kernels, mm_error *error)
{
    mm_model *model = d->model;
    mm_backend *backend = model->context->backend;
    MM_TRY(mm_vae_plan(&model->parts, backend, true, d->settings.frames, d->settings.height,
                       d->settings.width, &d->decoder, error));
    size_t text = mm_component_bytes(&model->parts.text, backend);
    size_t unet = mm_component_bytes(&model->parts.unet, backend);
    size_t vae = mm_component_bytes(&model->parts.vae, backend);
    size_t arena =
        d->arena_bytes > d->decoder.arena_bytes ? d->arena_bytes : d->decoder.arena_bytes;
    size_t work = unet + vae + arena > text ? unet + vae + arena : text;
    size_t frames = (size_t)(d->settings.frames * d->settings.height * d->settings.width) * 3;
    d->planned_peak_bytes = model->baseline_bytes + kernels + d->settings.other_bytes + work +
                            frames + 8 * mm_latent_elements(&d->latents) * sizeof(float);
    if (d->planned_peak_bytes <= model->context->memory_budget)
        return MM_OK;
    return mm_fail(error, MM_ERR_MEMORY,
                   "drawing %lld frames of %lldx%lld needs %.2f GiB, the memory budget is %.2f GiB",
                   (long long)d->settings.frames, (long long)d->settings.width,
                   (long long)d->settings.height, (double)d->planned_peak_bytes * 0x1p-30,
                   (double)model->context->memory_budget * 0x1p-30);
}

static mm_status create(mm_drawing *d, mm_error *error)
{
    const mm_drawing_settings *s = &d->settings;
    bool loras = s->loras && s->loras->count > 0;
    size_t before = mm_resident_bytes();
    if (loras)
        MM_TRY(make_denoiser(d, true, &d->adapted, error));
    if (!loras || s->min_timestep > 0 || s->invert_base)
        MM_TRY(make_denoiser(d, false, &d->base, error));
    size_t after = mm_resident_bytes();
    return plan(d, after > before ? after - before : 0, error);
}

mm_status mm_drawing_create(mm_drawing *out, mm_model *model, const mm_drawing_settings *settings,
                            mm_error *error)
{
    int64_t factor = mm_model_vae_factor(model);
    *out = (mm_drawing){.model = model, .settings = *settings};
    out->latents =
        (mm_latent_shape){settings->frames, settings->height / factor, settings->width / factor,
                          model->parts.vae_config.latent_channels};
    mm_status status = create(out, error);
    if (status != MM_OK)
        mm_drawing_free(out);
    return status;
}

static void release_arena(mm_drawing *d)
{
    mm_backend *backend = d->model->context->backend;
    if (d->arena)
        backend->table->release(backend, d->arena, d->arena_bytes);
    d->arena = NULL;
}

void mm_drawing_free(mm_drawing *drawing)
{
    mm_denoiser_free(&drawing->adapted);
    mm_denoiser_free(&drawing->base);
    if (drawing->model)
        release_arena(drawing);
    *drawing = (mm_drawing){0};
}

/* Both denoisers work in one block, which exists only while they do. */
static mm_status take_arena(mm_drawing *d, mm_error *error)
{
    mm_backend *backend = d->model->context->backend;
    mm_runtime runtime = mm_model_runtime(d->model);
    mm_component_release(&d->model->parts.text, backend);
    MM_TRY(mm_component_load(&d->model->parts.unet, &runtime, error));
    if (!d->arena)
        MM_TRY(backend->table->allocate(backend, d->arena_bytes, &d->arena, error));
    if (d->adapted)
        MM_TRY(mm_denoiser_share(d->adapted, d->arena, error));
    return d->base ? mm_denoiser_share(d->base, d->arena, error) : MM_OK;
}

static mm_chain make_chain(mm_drawing *d, const float *prompt, const float *negative,
                           mm_drawing_progress progress, void *user)
{
    return (mm_chain){
        .scheduler = &d->model->scheduler,
        .adapted = d->adapted,
        .base = d->base,
        .min_timestep = d->settings.min_timestep,
        .steps = d->settings.steps,
        .guidance_scale = d->settings.guidance_scale,
        .prompt = prompt,
        .negative = negative,
        .elements = mm_latent_elements(&d->latents),
        .cancel = &d->model->context->cancel,
        .on_step = progress,
        .user = user,
    };
}

mm_status mm_drawing_sample(mm_drawing *drawing, const float *prompt, const float *negative,
                            float *latents, mm_drawing_progress progress, void *user,
                            mm_error *error)
{
    if (drawing->settings.steps == 0)
        return MM_OK;
    MM_TRY(take_arena(drawing, error));
    mm_chain chain = make_chain(drawing, prompt, negative, progress, user);
    return mm_chain_sample(&chain, latents, error);
}

mm_status mm_drawing_invert(mm_drawing *drawing, const float *empty, bool with_lora, float *latents,
                            mm_drawing_progress progress, void *user, mm_error *error)
{
    MM_TRY(take_arena(drawing, error));
    mm_chain chain = make_chain(drawing, empty, NULL, progress, user);
    /* The released code keeps the LoRA on at all timesteps here. */
    if (with_lora && drawing->adapted)
        chain.base = NULL;
    else
        chain.adapted = NULL;
    return mm_ddim_invert(&chain, latents, error);
}

mm_status mm_drawing_decode(mm_drawing *drawing, const float *latents, double fps, mm_video **out,
                            mm_error *error)
{
    const mm_drawing_settings *s = &drawing->settings;
    mm_runtime runtime = mm_model_runtime(drawing->model);
    size_t bytes = (size_t)(s->frames * s->height * s->width) * 3;
    release_arena(drawing);
    mm_frames frames = {s->frames, (int32_t)s->width, (int32_t)s->height, fps, mm_malloc(bytes)};
    if (!frames.data)
        return mm_fail_memory(error, "frames", bytes);
    mm_status status = mm_decode_latents(&drawing->model->parts, &runtime, latents, s->frames,
                                         s->height, s->width, frames.data, error);
    if (status == MM_OK)
        return mm_video_wrap(out, &frames, error);
    mm_frames_free(&frames);
    return status;
}

static bool unsafe_in_names(unsigned char c)
{
    return c < 0x20 || c == 0x7f || strchr("/\\:*?\"<>|'`$&;!", c) != NULL;
}

char *mm_prompt_file_name(const char *prompt)
{
    char *name = mm_malloc(strlen(prompt) + 8);
    size_t n = 0, characters = 0;
    if (!name)
        return NULL;
    for (const unsigned char *p = (const unsigned char *)prompt; *p; p++) {
        bool continues = (*p & 0xc0) == 0x80, blank = *p == ' ' || (*p >= '\t' && *p <= '\r');
        if (*p == ',' || *p == '.' || (blank && (n == 0 || name[n - 1] == '_')))
            continue;
        /* File systems count bytes: a name ends at 255 of them, with seed and ending. */
        if (!continues && (++characters > 80 || n > 200))
            break;
        name[n++] = blank || unsafe_in_names(*p) ? '_' : (char)*p;
    }
    while (n && name[n - 1] == '_')
        n--;
    name[n] = '\0';
    if (n == 0)
        strcpy(name, "video");
    return name;
}

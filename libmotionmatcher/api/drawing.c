/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/drawing.h"

#include <string.h>

#include "api/video_internal.h"
#include "base/memory.h"
#include "motion/inversion.h"

/* How a drawing uses memory to save time. */
typedef struct approach {
    bool pair;  /* both branches of the guidance at a time */
    bool merge; /* the LoRAs are put into the weights */
} approach;

static mm_status make_denoiser(mm_drawing *d, bool adapted, int64_t prompts, mm_denoiser **out,
                               mm_error *error)
{
    mm_denoiser_settings settings = {
        .frames = d->latents.frames,
        .height = d->latents.height,
        .width = d->latents.width,
        .prompts = prompts,
        .adapter = adapted ? mm_lora_adapt : NULL,
        .adapter_user = d->settings.loras,
    };
    MM_TRY(mm_denoiser_create(out, &d->model->parts, d->model->context->backend, &settings, error));
    size_t bytes = mm_denoiser_arena_bytes(*out);
    d->arena_bytes = bytes > d->arena_bytes ? bytes : d->arena_bytes;
    return MM_OK;
}

static bool has_loras(const mm_drawing *d)
{
    return d->settings.loras && d->settings.loras->count > 0;
}

static mm_status make_denoisers(mm_drawing *d, approach how, mm_error *error)
{
    const mm_drawing_settings *s = &d->settings;
    bool beside = has_loras(d) && !how.merge;
    int64_t prompts = how.pair ? 2 : 1;
    if (beside)
        MM_TRY(make_denoiser(d, true, prompts, &d->adapted, error));
    if (!beside || s->min_timestep > 0 || (s->invert && !s->invert_with_lora))
        MM_TRY(make_denoiser(d, false, prompts, &d->base, error));
    if (how.pair && s->invert)
        MM_TRY(make_denoiser(d, false, 1, &d->single, error));
    if (!how.merge)
        return MM_OK;
    return mm_merged_lora_create(&d->merge, s->loras, &d->model->parts.unet.weights,
                                 d->model->context->backend, error);
}

static void free_denoisers(mm_drawing *d)
{
    mm_denoiser_free(&d->adapted);
    mm_denoiser_free(&d->base);
    mm_denoiser_free(&d->single);
    mm_merged_lora_free(&d->merge);
    d->arena_bytes = 0;
}

/* kernels: memory that compiling took. */
static size_t plan_peak(const mm_drawing *d, size_t kernels)
{
    mm_model *model = d->model;
    mm_backend *backend = model->context->backend;
    mm_dtype unet_type = mm_diffusion_model_precision(&model->parts);
    size_t text = mm_component_bytes(&model->parts.text, backend);
    size_t unet = mm_component_bytes(&model->parts.unet, backend);
    size_t vae = mm_component_bytes(&model->parts.vae, backend);
    size_t sampling =
        d->arena_bytes + (d->merge ? mm_merged_lora_bytes(d->settings.loras, unet_type) : 0);
    size_t decoding = d->decoder.arena_bytes;
    size_t work = unet + vae + (sampling > decoding ? sampling : decoding);
    size_t frames = (size_t)(d->settings.frames * d->settings.height * d->settings.width) * 3;
    return model->baseline_bytes + kernels + d->settings.other_bytes + (work > text ? work : text) +
           frames + 8 * mm_latent_elements(&d->latents) * sizeof(float);
}

static mm_status make(mm_drawing *d, approach how, mm_error *error)
{
    size_t before = mm_resident_bytes();
    MM_TRY(make_denoisers(d, how, error));
    size_t after = mm_resident_bytes();
    d->planned_peak_bytes = plan_peak(d, after > before ? after - before : 0);
    return MM_OK;
}

/* The fastest approach that the memory budget allows. */
static mm_status create(mm_drawing *d, mm_error *error)
{
    const mm_drawing_settings *s = &d->settings;
    const approach fastest = {s->guidance_scale > 1.0, has_loras(d)};
    const approach order[] = {fastest, {false, fastest.merge}, {false, false}};
    size_t budget = d->model->context->memory_budget;
    MM_TRY(mm_vae_plan(&d->model->parts, d->model->context->backend, true, s->frames, s->height,
                       s->width, &d->decoder, error));
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (i > 0 && order[i].pair == order[i - 1].pair && order[i].merge == order[i - 1].merge)
            continue;
        free_denoisers(d);
        MM_TRY(make(d, order[i], error));
        if (d->planned_peak_bytes <= budget)
            return MM_OK;
    }
    return mm_fail(error, MM_ERR_MEMORY,
                   "drawing %lld frames of %lldx%lld needs %.2f GiB, the memory budget is %.2f GiB",
                   (long long)s->frames, (long long)s->width, (long long)s->height,
                   (double)d->planned_peak_bytes * 0x1p-30, (double)budget * 0x1p-30);
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
    free_denoisers(drawing);
    if (drawing->model)
        release_arena(drawing);
    *drawing = (mm_drawing){0};
}

/* The denoisers work in one block, which exists only while they do. */
static mm_status take_arena(mm_drawing *d, mm_error *error)
{
    mm_backend *backend = d->model->context->backend;
    mm_runtime runtime = mm_model_runtime(d->model);
    mm_denoiser *const all[] = {d->adapted, d->base, d->single};
    mm_component_release(&d->model->parts.text, backend);
    MM_TRY(mm_component_load(&d->model->parts.unet, &runtime, error));
    if (!d->arena)
        MM_TRY(backend->table->allocate(backend, d->arena_bytes, &d->arena, error));
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i])
            MM_TRY(mm_denoiser_share(all[i], d->arena, error));
    }
    return MM_OK;
}

static mm_status adapt(void *user, bool on, mm_error *error)
{
    return mm_merged_lora_set(user, on, error);
}

static mm_chain make_chain(mm_drawing *d, const float *prompt, const float *negative,
                           mm_drawing_progress progress, void *user)
{
    return (mm_chain){
        .scheduler = &d->model->scheduler,
        .adapted = d->merge ? d->base : d->adapted,
        .base = d->base,
        .adapt = d->merge ? adapt : NULL,
        .adapt_user = d->merge,
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

/* The weights belong to the model: they are its own again, however the chain ended. */
static mm_status restore_weights(const mm_drawing *d, mm_status status, mm_error *error)
{
    if (!d->merge)
        return status;
    mm_error *own = status == MM_OK ? error : NULL;
    mm_status restored = mm_merged_lora_set(d->merge, false, own);
    return status == MM_OK ? restored : status;
}

mm_status mm_drawing_sample(mm_drawing *drawing, const float *prompt, const float *negative,
                            float *latents, mm_drawing_progress progress, void *user,
                            mm_error *error)
{
    if (drawing->settings.steps == 0)
        return MM_OK;
    MM_TRY(take_arena(drawing, error));
    mm_chain chain = make_chain(drawing, prompt, negative, progress, user);
    return restore_weights(drawing, mm_chain_sample(&chain, latents, error), error);
}

mm_status mm_drawing_invert(mm_drawing *drawing, const float *empty, float *latents,
                            mm_drawing_progress progress, void *user, mm_error *error)
{
    MM_TRY(take_arena(drawing, error));
    mm_chain chain = make_chain(drawing, empty, NULL, progress, user);
    if (drawing->single)
        chain.base = chain.adapted = drawing->single;
    /* The released code keeps the LoRA on at all timesteps here. */
    if (drawing->settings.invert_with_lora && (drawing->merge || drawing->adapted))
        chain.base = NULL;
    else
        chain.adapted = NULL;
    return restore_weights(drawing, mm_ddim_invert(&chain, latents, error), error);
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

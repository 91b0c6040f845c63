/* SPDX-License-Identifier: BSD-2-Clause */
#include "sampling/denoiser.h"

#include <string.h>

#include "base/memory.h"

struct mm_denoiser {
    mm_graph *graph;
    mm_executable *executable;
    mm_node *latents, *timestep, *context, *output;
    int64_t prompts;
    size_t latent_bytes, context_bytes; /* of one prompt */
    char *contexts;                     /* staging for all prompts */
    mm_plan_summary plan;
};

static mm_status build(mm_denoiser *d, mm_diffusion_model *model,
                       const mm_denoiser_settings *settings, mm_error *error)
{
    const mm_unet_config *config = &model->unet_config;
    mm_builder builder = {
        .graph = d->graph,
        .weights = &model->unet.weights,
        .sites = &model->sites,
        .adapter = settings->adapter,
        .adapter_user = settings->adapter_user,
        .frames = settings->frames,
        .path = "",
    };
    mm_shape latents =
        MM_SHAPE(settings->frames, settings->height, settings->width, config->in_channels);
    mm_shape context = MM_SHAPE(settings->prompts, MM_PROMPT_TOKENS, config->cross_attention_dim);
    d->latents = mm_input(d->graph, "latents", MM_F32, &latents);
    d->timestep = mm_input(d->graph, "timestep", MM_F32, &MM_SHAPE(1));
    d->context = mm_input(d->graph, "encoder hidden states", MM_F32, &context);
    mm_unet_inputs inputs = {d->latents, d->timestep, d->context};
    d->output = mm_unet_build(&builder, config, &inputs, NULL);
    MM_TRY(mm_graph_status(d->graph, error));
    d->latent_bytes = (size_t)mm_shape_elements(&latents) * sizeof(float);
    size_t contexts = (size_t)mm_shape_elements(&context) * sizeof(float);
    d->prompts = settings->prompts;
    d->context_bytes = contexts / (size_t)d->prompts;
    d->contexts = mm_malloc(contexts);
    return d->contexts ? MM_OK : mm_fail_memory(error, "hidden states", contexts);
}

mm_status mm_denoiser_create(mm_denoiser **out, mm_diffusion_model *model, mm_backend *backend,
                             const mm_denoiser_settings *settings, mm_error *error)
{
    *out = NULL;
    mm_denoiser *d = mm_calloc(1, sizeof(*d));
    if (!d)
        return mm_fail_memory(error, "a denoiser", sizeof(*d));
    mm_compile_options options = {.arena_budget = settings->arena_budget};
    mm_status status = mm_graph_create(&d->graph, mm_diffusion_model_precision(model), error);
    if (status == MM_OK)
        status = build(d, model, settings, error);
    if (status == MM_OK)
        status =
            mm_executable_create(&d->executable, d->graph, &d->output, 1, backend, &options, error);
    if (status != MM_OK) {
        mm_denoiser_free(&d);
        return status;
    }
    mm_executable_summary(d->executable, &d->plan);
    *out = d;
    return MM_OK;
}

void mm_denoiser_free(mm_denoiser **denoiser)
{
    if (!*denoiser)
        return;
    mm_executable_free(&(*denoiser)->executable);
    mm_graph_free(&(*denoiser)->graph);
    mm_free((*denoiser)->contexts);
    mm_free(*denoiser);
    *denoiser = NULL;
}

size_t mm_denoiser_arena_bytes(const mm_denoiser *denoiser)
{
    return denoiser->plan.arena_bytes;
}

mm_status mm_denoiser_share(mm_denoiser *denoiser, void *arena, mm_error *error)
{
    return mm_executable_allocate(denoiser->executable, arena, error);
}

int64_t mm_denoiser_prompts(const mm_denoiser *denoiser)
{
    return denoiser->prompts;
}

mm_status mm_denoiser_run(mm_denoiser *d, const float *latents, int64_t timestep,
                          const float *const *hidden_states, float *output,
                          const atomic_int *cancel, mm_error *error)
{
    float t = (float)timestep;
    size_t prompts = (size_t)d->prompts;
    mm_run_control control = {.cancel = cancel};
    MM_TRY(mm_executable_write(d->executable, d->latents, latents, d->latent_bytes, error));
    MM_TRY(mm_executable_write(d->executable, d->timestep, &t, sizeof(t), error));
    for (size_t i = 0; i < prompts; i++)
        memcpy(d->contexts + i * d->context_bytes, hidden_states[i], d->context_bytes);
    MM_TRY(mm_executable_write(d->executable, d->context, d->contexts, prompts * d->context_bytes,
                               error));
    MM_TRY(mm_executable_run(d->executable, &control, error));
    return mm_executable_read(d->executable, d->output, output, prompts * d->latent_bytes, error);
}

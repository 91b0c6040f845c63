/* SPDX-License-Identifier: BSD-2-Clause */
#include "motion/feature_pass.h"

#include "base/memory.h"

struct mm_feature_pass {
    mm_graph *graph;
    mm_executable *executable;
    mm_node *noisy, *timestep, *context;
    mm_motion_features features;
};

static mm_status check_scales(const mm_unet_config *config, mm_feature_scales scales,
                              mm_error *error)
{
    int32_t level;
    MM_TRY(mm_feature_level(config, "spatial_scale_factor", scales.spatial, &level, error));
    return mm_feature_level(config, "temporal_scale_factor", scales.temporal, &level, error);
}

static mm_status build(mm_feature_pass *p, mm_diffusion_model *model,
                       const mm_feature_pass_settings *s, mm_error *error)
{
    const mm_unet_config *config = &model->unet_config;
    mm_builder frozen = {
        .graph = p->graph,
        .weights = &model->unet.weights,
        .sites = &model->sites,
        .frames = s->frames,
        .path = "",
    };
    MM_TRY(check_scales(config, s->scales, error));
    mm_shape latents = MM_SHAPE(s->frames, s->height, s->width, config->in_channels);
    mm_shape context = MM_SHAPE(1, MM_PROMPT_TOKENS, config->cross_attention_dim);
    p->noisy = mm_input(p->graph, "latents", MM_F32, &latents);
    p->timestep = mm_input(p->graph, "timestep", MM_F32, &MM_SHAPE(1));
    p->context = mm_input(p->graph, "encoder hidden states", MM_F32, &context);
    mm_unet_inputs inputs = {p->noisy, p->timestep, p->context};
    p->features = mm_motion_features_build(&frozen, config, s->scales, &inputs, true);
    return mm_graph_status(p->graph, error);
}

static mm_status compile(mm_feature_pass *p, mm_backend *backend, mm_error *error)
{
    mm_node *outputs[] = {p->features.ca, p->features.tsa};
    return mm_executable_create(&p->executable, p->graph, outputs, 2, backend,
                                &(mm_compile_options){0}, error);
}

mm_status mm_feature_pass_create(mm_feature_pass **out, mm_diffusion_model *model,
                                 mm_backend *backend, const mm_feature_pass_settings *settings,
                                 mm_error *error)
{
    mm_feature_pass *p = mm_calloc(1, sizeof(*p));
    *out = NULL;
    if (!p)
        return mm_fail_memory(error, "a feature pass", sizeof(*p));
    mm_status status = mm_graph_create(&p->graph, mm_diffusion_model_precision(model), error);
    if (status == MM_OK)
        status = build(p, model, settings, error);
    if (status == MM_OK)
        status = compile(p, backend, error);
    if (status != MM_OK)
        mm_feature_pass_free(&p);
    *out = p;
    return status;
}

void mm_feature_pass_free(mm_feature_pass **pass)
{
    if (!*pass)
        return;
    mm_executable_free(&(*pass)->executable);
    mm_graph_free(&(*pass)->graph);
    mm_free(*pass);
    *pass = NULL;
}

size_t mm_feature_pass_arena_bytes(const mm_feature_pass *pass)
{
    mm_plan_summary summary;
    mm_executable_summary(pass->executable, &summary);
    return summary.arena_bytes;
}

void mm_feature_pass_release(mm_feature_pass *pass)
{
    mm_executable_release(pass->executable);
}

const mm_shape *mm_feature_pass_ca_shape(const mm_feature_pass *pass)
{
    return &pass->features.ca->shape;
}

const mm_shape *mm_feature_pass_tsa_shape(const mm_feature_pass *pass)
{
    return &pass->features.tsa->shape;
}

void mm_feature_pass_tsa_places(const mm_feature_pass *pass, int64_t *height, int64_t *width)
{
    *height = pass->features.tsa_height;
    *width = pass->features.tsa_width;
}

static size_t node_bytes(const mm_node *node)
{
    return (size_t)mm_shape_elements(&node->shape) * sizeof(float);
}

mm_status mm_feature_pass_run(mm_feature_pass *p, const float *noisy, int64_t timestep,
                              const float *hidden_states, float *ca, float *tsa,
                              const atomic_int *cancel, mm_error *error)
{
    float t = (float)timestep;
    mm_executable *e = p->executable;
    mm_run_control control = {.cancel = cancel};
    MM_TRY(mm_executable_write(e, p->noisy, noisy, node_bytes(p->noisy), error));
    MM_TRY(mm_executable_write(e, p->timestep, &t, sizeof(t), error));
    MM_TRY(mm_executable_write(e, p->context, hidden_states, node_bytes(p->context), error));
    MM_TRY(mm_executable_run(e, &control, error));
    MM_TRY(mm_executable_read(e, p->features.ca, ca, node_bytes(p->features.ca), error));
    return mm_executable_read(e, p->features.tsa, tsa, node_bytes(p->features.tsa), error);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "motion/objective.h"

#include <math.h>

#include "motion/features.h"

/* Places in the coefficients' input. */
enum {
    STEP_X = 0, /* v = STEP_X z_t + STEP_M m, for an unclipped step */
    STEP_M,
    CLEAN_X, /* x0 = CLEAN_X z_t + CLEAN_M m */
    CLEAN_M,
    NOISE_X, /* sqrt(1 - a_prev) eps = NOISE_X z_t + NOISE_M m */
    NOISE_M,
    PREVIOUS_SIGNAL, /* sqrt(a_prev) */
    ONE
};

/*
 * One DDIM step, eta 0, from t to t - n (Song et al., eq. 12):
 *   v = sqrt(a_{t-n}) x0(z_t, m) + sqrt(1 - a_{t-n}) eps(z_t, m),
 * linear in z_t and the model's output m. Keeping the two coefficients in one place loses nothing
 * to cancellation; only clipping x0 needs it apart.
 */
static void ddim_coefficients(const mm_scheduler *scheduler, const mm_train_config *config,
                              int64_t t, float coefficients[8], float *feature_timestep)
{
    int64_t previous = t - config->num_denoise_steps;
    mm_prediction_terms terms = mm_scheduler_terms(scheduler, t);
    double alpha_bar = mm_scheduler_alpha_bar(scheduler, previous);
    double signal = sqrt(alpha_bar), noise = sqrt(1.0 - alpha_bar);
    coefficients[STEP_X] = (float)(signal * terms.x0_x + noise * terms.eps_x);
    coefficients[STEP_M] = (float)(signal * terms.x0_m + noise * terms.eps_m);
    coefficients[CLEAN_X] = (float)terms.x0_x;
    coefficients[CLEAN_M] = (float)terms.x0_m;
    coefficients[NOISE_X] = (float)(noise * terms.eps_x);
    coefficients[NOISE_M] = (float)(noise * terms.eps_m);
    coefficients[PREVIOUS_SIGNAL] = (float)signal;
    coefficients[ONE] = 1.0f;
    *feature_timestep = (float)previous;
}

static mm_node *ddim_step(mm_graph *g, const mm_scheduler *scheduler, const mm_step_nodes *nodes,
                          mm_node *output)
{
    mm_node *c = nodes->coefficients, *noisy = nodes->noisy;
    if (!scheduler->clip_sample)
        return mm_combine(g, c, noisy, STEP_X, output, STEP_M);
    float range = (float)scheduler->clip_sample_range;
    mm_node *clean = mm_combine(g, c, noisy, CLEAN_X, output, CLEAN_M);
    mm_node *noise = mm_combine(g, c, noisy, NOISE_X, output, NOISE_M);
    return mm_combine(g, c, mm_clamp(g, clean, -range, range), PREVIOUS_SIGNAL, noise, ONE);
}

static mm_node *term(mm_graph *g, mm_node *predicted, mm_node *target, double weight)
{
    if (!predicted || !target)
        return NULL;
    return mm_scale(g, mm_mean_squared_error(g, predicted, target), (float)weight);
}

/* 0 for a term without weight. */
static mm_feature_scales chosen_scales(const mm_train_config *config)
{
    return (mm_feature_scales){
        .spatial = config->spatial_weight > 0 ? config->spatial_scale_factor : 0,
        .temporal = config->temporal_weight > 0 ? config->temporal_scale_factor : 0,
    };
}

static mm_status check(const mm_diffusion_model *model, const mm_train_config *config,
                       mm_error *error)
{
    int32_t level;
    mm_feature_scales scales = chosen_scales(config);
    if (!scales.spatial && !scales.temporal)
        return mm_fail(error, MM_ERR_USAGE,
                       "spatial_weight and temporal_weight are both 0: nothing to train on");
    if (scales.spatial)
        MM_TRY(mm_feature_level(&model->unet_config, "spatial_scale_factor", scales.spatial, &level,
                                error));
    if (scales.temporal)
        MM_TRY(mm_feature_level(&model->unet_config, "temporal_scale_factor", scales.temporal,
                                &level, error));
    return MM_OK;
}

/* M(v) and M(v_theta) of the frozen network, side by side: they differ little. */
static void build_features(mm_builder *frozen, const mm_unet_config *unet, mm_feature_scales scales,
                           mm_node *v, mm_node *v_theta, mm_step_nodes *nodes)
{
    mm_unet_inputs inputs = {v, nodes->feature_timestep, nodes->context};
    mm_graph_begin_twins(frozen->graph, v, v_theta);
    mm_motion_features target = mm_motion_features_build(frozen, unet, scales, &inputs, true);
    mm_graph_end_twins(frozen->graph);
    nodes->target_ca = target.ca, nodes->target_tsa = target.tsa;
    nodes->predicted_ca = target.ca ? target.ca->twin : NULL;
    nodes->predicted_tsa = target.tsa ? target.tsa->twin : NULL;
}

/* The value of one node with the gradient of another that is nearly the same. */
static mm_node *with_gradient_of(mm_graph *g, mm_node *value, mm_node *path)
{
    if (!value || !path)
        return NULL;
    return mm_add(g, value, mm_difference(g, path, mm_detach(g, path), MM_F32));
}

/* The loss needs exact values of both features, its gradient only about those of v_theta: they are
   computed once more as any other activations, so that nothing of the exact passes is kept. */
static void build_gradient_path(mm_builder *frozen, const mm_unet_config *unet,
                                mm_feature_scales scales, mm_node *v_theta, mm_step_nodes *nodes)
{
    mm_graph *g = frozen->graph;
    mm_unet_inputs inputs = {v_theta, nodes->feature_timestep, nodes->context};
    mm_motion_features path = mm_motion_features_build(frozen, unet, scales, &inputs, false);
    mm_graph_end_segment(g);
    nodes->predicted_ca = with_gradient_of(g, nodes->predicted_ca, path.ca);
    nodes->predicted_tsa = with_gradient_of(g, nodes->predicted_tsa, path.tsa);
}

static void build_loss(mm_graph *g, const mm_train_config *config, mm_step_nodes *nodes)
{
    mm_graph_set_scope(g, "loss");
    nodes->loss_spatial = term(g, nodes->predicted_ca, nodes->target_ca, config->spatial_weight);
    nodes->loss_temporal =
        term(g, nodes->predicted_tsa, nodes->target_tsa, config->temporal_weight);
    nodes->loss = nodes->loss_spatial && nodes->loss_temporal
                      ? mm_add(g, nodes->loss_spatial, nodes->loss_temporal)
                  : nodes->loss_spatial ? nodes->loss_spatial
                                        : nodes->loss_temporal;
}

static mm_status build(const mm_diffusion_model *model, const mm_scheduler *scheduler,
                       const mm_train_config *config, mm_builder *builder, mm_step_nodes *nodes,
                       mm_error *error)
{
    MM_TRY(check(model, config, error));
    mm_feature_scales scales = chosen_scales(config);
    const mm_unet_config *unet = &model->unet_config;
    mm_graph *g = builder->graph;
    mm_builder frozen = *builder;
    frozen.adapter = NULL;
    frozen.conv_dropout = 0.0f;
    nodes->coefficients = mm_input(g, "coefficients", MM_F32, &MM_SHAPE(8));
    nodes->feature_timestep = mm_input(g, "feature timestep", MM_F32, &MM_SHAPE(1));

    mm_unet_inputs inputs = {nodes->noisy, nodes->timestep, nodes->context};
    nodes->prediction = mm_unet_build(builder, unet, &inputs, NULL);
    mm_graph_end_segment(g);
    mm_node *v = ddim_step(g, scheduler, nodes, nodes->target);
    mm_node *v_theta = ddim_step(g, scheduler, nodes, nodes->prediction);
    bool once_more = mm_graph_activations(g) != MM_F32;
    build_features(&frozen, unet, scales, v, once_more ? mm_detach(g, v_theta) : v_theta, nodes);
    if (once_more)
        build_gradient_path(&frozen, unet, scales, v_theta, nodes);
    mm_graph_end_segment(g);
    build_loss(g, config, nodes);
    return mm_graph_status(g, error);
}

const mm_objective mm_motion_objective = {
    .name = "motion",
    .check = check,
    .build = build,
    .coefficients = ddim_coefficients,
};

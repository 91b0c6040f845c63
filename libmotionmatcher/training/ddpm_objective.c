/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/objective.h"

/* Ho et al., "Denoising diffusion probabilistic models", eq. 14: |eps - eps_theta(z_t, t)|^2. */
static mm_status build(const mm_diffusion_model *model, const mm_scheduler *scheduler,
                       const mm_train_config *config, mm_builder *builder, mm_step_nodes *nodes,
                       mm_error *error)
{
    (void)scheduler;
    (void)config;
    mm_unet_inputs inputs = {nodes->noisy, nodes->timestep, nodes->context};
    nodes->prediction = mm_unet_build(builder, &model->unet_config, &inputs, NULL);
    mm_graph_end_segment(builder->graph);
    mm_graph_set_scope(builder->graph, "loss");
    nodes->loss = mm_mean_squared_error(builder->graph, nodes->prediction, nodes->target);
    return mm_graph_status(builder->graph, error);
}

const mm_objective mm_ddpm_objective = {.name = "ddpm", .build = build};

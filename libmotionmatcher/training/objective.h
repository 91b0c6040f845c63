/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a training step minimises. An objective builds the step's graph and computes, for given
 * noise and timestep, what the graph's inputs are. The trainer knows nothing else of it.
 */
#ifndef MM_TRAINING_OBJECTIVE_H
#define MM_TRAINING_OBJECTIVE_H

#include "models/diffusion_model.h"
#include "sampling/scheduler.h"
#include "training/config.h"

typedef struct mm_training_step mm_training_step;

/* Nodes of one training step. Latents are [frames, h, w, channels], for one clip. */
typedef struct mm_step_nodes {
    mm_node *noisy;            /* input: z_t */
    mm_node *target;           /* input: what the UNet should predict (noise or velocity) */
    mm_node *timestep;         /* input f32 [1]: t */
    mm_node *context;          /* input [1, 77, D] */
    mm_node *dropout_key;      /* input i32 [3]; NULL without dropout */
    mm_node *feature_timestep; /* input f32 [1]; NULL unless the objective asks for it */
    mm_node *coefficients;     /* input f32 [8]; likewise */
    mm_node *prediction;       /* the UNet's output */
    mm_node *loss;             /* f32 scalar */
    mm_node *loss_spatial, *loss_temporal; /* its weighted parts; NULL when dropped */
    mm_node *predicted_ca, *target_ca;     /* maps; NULL when dropped */
    mm_node *predicted_tsa, *target_tsa;
} mm_step_nodes;

typedef struct mm_objective {
    const char *name;
    /* Whether the settings make sense for this model: MM_ERR_USAGE. NULL: all do. */
    mm_status (*check)(const mm_diffusion_model *model, const mm_train_config *config,
                       mm_error *error);
    /* Appends everything from the inputs to nodes->loss. `builder` carries the LoRA's adapter. */
    mm_status (*build)(const mm_diffusion_model *model, const mm_scheduler *scheduler,
                       const mm_train_config *config, mm_builder *builder, mm_step_nodes *nodes,
                       mm_error *error);
    /* coefficients[8] and the feature timestep for a step at timestep t; NULL: the objective has
       neither. */
    void (*coefficients)(const mm_scheduler *scheduler, const mm_train_config *config, int64_t t,
                         float coefficients[8], float *feature_timestep);
} mm_objective;

/* The plain denoising objective: mean squared error of the prediction. */
extern const mm_objective mm_ddpm_objective;

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* One training step: the objective's graph differentiated and compiled once, run many times. */
#ifndef MM_TRAINING_STEP_H
#define MM_TRAINING_STEP_H

#include "training/lora.h"
#include "training/objective.h"

typedef struct mm_step_settings {
    mm_diffusion_model *model;
    const mm_scheduler *scheduler;
    const mm_objective *objective;
    const mm_train_config *config;
    mm_lora_set *lora;
    int64_t frames, height, width; /* of the latents */
    bool dropout;                  /* off for replays */
    size_t arena_budget;
    bool allow_over_budget;
} mm_step_settings;

/* What goes into one pass. Latents are [frames, h, w, channels]. */
typedef struct mm_step_input {
    const float *latents, *noise; /* z0 and eps */
    int64_t timestep;
    const float *hidden_states; /* [77, D] */
    uint64_t seed;              /* of the dropout */
    uint32_t pass;              /* the dropout's step */
} mm_step_input;

typedef struct mm_step_losses {
    double loss, spatial, temporal; /* 0 for a part that is dropped */
} mm_step_losses;

/* Plans; loads and allocates nothing large. */
mm_status mm_training_step_create(mm_training_step **out, const mm_step_settings *settings,
                                  mm_backend *backend, mm_error *error);
void mm_training_step_free(mm_training_step **step);
void mm_training_step_summary(const mm_training_step *step, mm_plan_summary *out);
/* Gives the arena back until the next run. */
void mm_training_step_release(mm_training_step *step);
const mm_step_nodes *mm_training_step_nodes(const mm_training_step *step);
const mm_graph *mm_training_step_graph(const mm_training_step *step);

/* Runs one pass, forward and backward. `control` may be NULL. */
mm_status mm_training_step_run(mm_training_step *step, const mm_step_input *input,
                               mm_step_losses *losses, const mm_run_control *control,
                               mm_error *error);

/* Copies an output node of the last run. */
mm_status mm_training_step_read(mm_training_step *step, const mm_node *node, float *out,
                                mm_error *error);
/* The gradient of one half of a module in the last run, in the layout of the module's buffer; zeros
   where the loss does not depend on it. */
mm_status mm_training_step_gradient(mm_training_step *step, int32_t module, bool up, float *out,
                                    mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The training loop: draws, steps, AdamW, metrics and checkpoints. */
#ifndef MM_TRAINING_TRAINER_H
#define MM_TRAINING_TRAINER_H

#include "training/adamw.h"
#include "training/step.h"

/* A reference clip, encoded. */
typedef struct mm_clip {
    float *latents;       /* [frames, h, w, channels], scaled */
    float *hidden_states; /* [77, D] of its prompt */
} mm_clip;

/* The LoRA with everything that AdamW keeps about it. */
typedef struct mm_training_state {
    mm_lora_set *lora;
    mm_lora_set gradient, first_moment, second_moment;
    int64_t done; /* optimizer steps finished */
} mm_training_state;

mm_status mm_training_state_create(mm_training_state *out, mm_lora_set *lora, mm_error *error);
void mm_training_state_free(mm_training_state *state);

typedef struct mm_step_report {
    int64_t step, of, timestep; /* step counts from 1; the timestep of the last pass */
    mm_step_losses losses;      /* mean over the passes */
    double seconds;
} mm_step_report;

typedef struct mm_training_run {
    const mm_train_config *config;
    const mm_scheduler *scheduler;
    mm_training_step *step;
    mm_training_state *state;
    const mm_clip *clip;
    int64_t clip_count;
    size_t latent_elements;
    const char *directory; /* NULL: nothing is written */
    const atomic_int *cancel;
    /* After every step; non-zero asks to stop. */
    bool (*on_step)(void *user, const mm_step_report *report);
    /* Draws samples after the step that was just finished; the step's arena is free meanwhile. */
    mm_status (*validate)(void *user, int64_t step, mm_error *error);
    void (*on_checkpoint)(void *user, const char *path);
    void *user;
} mm_training_run;

/* From state->done + 1 to config->steps. MM_ERR_CANCELLED: stopped with a checkpoint, or cancelled
   within a step; MM_ERR_NONFINITE; MM_ERR_RUNTIME. */
mm_status mm_training_run_steps(mm_training_run *run, mm_error *error);

/* One optimizer step on given passes, for the loop and for replays: gradients averaged, checked to
   be finite, clipped; then AdamW. */
mm_status mm_training_optimize(mm_training_step *step, mm_training_state *state,
                               const mm_train_config *config, const mm_step_input *passes,
                               int64_t pass_count, mm_step_losses *losses, const atomic_int *cancel,
                               mm_error *error);

#endif

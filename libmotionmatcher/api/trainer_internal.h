/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_TRAINER_INTERNAL_H
#define MM_API_TRAINER_INTERNAL_H

#include "api/drawing.h"
#include "api/options_internal.h"
#include "motionmatcher/trainer.h"
#include "training/trainer.h"

typedef struct mm_trainer_clip {
    char *prompt;
    mm_clip clip;
    float *moments;   /* [F, h, w, 2 C], unscaled */
    float *pixels;    /* [F, H, W, 3] in -1..1 */
    float *inversion; /* inverted noise, or NULL */
} mm_trainer_clip;

typedef struct mm_trainer_validation {
    mm_drawing drawing;
    mm_lora_use use;
    mm_lora_stack stack;
    float **prompt; /* hidden states, one for each validation prompt */
    float *empty;
    bool planned;
} mm_trainer_validation;

struct mm_trainer {
    mm_model *model;
    mm_options *options;
    const mm_train_config *config;
    const char *directory; /* of the run; NULL: nothing is written */
    bool resumed, directory_is_new;
    mm_latent_shape latents;
    mm_lora_set lora;
    mm_training_state state;
    mm_training_step *step;
    size_t planned_peak_bytes;
    mm_trainer_clip *clip;
    int64_t clip_count;
    mm_trainer_validation validation;
};

const mm_objective *mm_trainer_objective(const mm_train_config *config);
/* One step without dropout on latents of that shape. */
mm_step_settings mm_trainer_step_settings(mm_trainer *trainer, const mm_latent_shape *shape,
                                          size_t arena_budget);
/* Compiles the step within what the budget leaves; reports the plan. Idempotent. */
mm_status mm_trainer_make_plan(mm_trainer *trainer, mm_error *error);

/* trainer_files.c: what a run's directory holds besides checkpoints. */
mm_status mm_trainer_check_directory(const char *directory, mm_error *error);
mm_status mm_trainer_write_directory(mm_trainer *trainer, mm_error *error);
mm_status mm_trainer_write_config(mm_trainer *trainer, mm_error *error);
/* MM_ERR_USAGE where the run has other settings than the trainer. */
mm_status mm_trainer_check_settings(const mm_trainer *trainer, mm_error *error);
/* MM_ERR_USAGE where the run computed in another precision than the context. */
mm_status mm_trainer_check_precision(const mm_trainer *trainer, mm_error *error);
mm_status mm_trainer_read_clips(mm_trainer *trainer, mm_error *error);
mm_status mm_trainer_describe_lora(mm_trainer *trainer, mm_error *error);

/* Undoes mm_trainer_write_directory after a run that failed before its first step. */
void mm_trainer_remove_directory(const mm_trainer *trainer);

/* trainer_validation.c */
mm_status mm_trainer_settle_validation(mm_options *options, mm_error *error);
mm_status mm_trainer_check_validation(mm_trainer *trainer, mm_error *error);
mm_status mm_trainer_plan_validation(mm_trainer *trainer, size_t other_bytes, mm_error *error);
mm_status mm_trainer_prepare_validation(mm_trainer *trainer, mm_error *error);
mm_status mm_trainer_validate(mm_trainer *trainer, int64_t step, mm_error *error);
void mm_trainer_free_validation(mm_trainer *trainer);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DDIM noise schedule, as diffusers' DDIMScheduler computes it (Song et al., "Denoising
 * diffusion implicit models", eq. 12), from scheduler/scheduler_config.json.
 */
#ifndef MM_SAMPLING_SCHEDULER_H
#define MM_SAMPLING_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum mm_prediction { MM_PREDICTION_EPSILON = 0, MM_PREDICTION_V } mm_prediction;
typedef enum mm_spacing {
    MM_SPACING_LEADING = 0,
    MM_SPACING_TRAILING,
    MM_SPACING_LINSPACE
} mm_spacing;

typedef struct mm_scheduler {
    int64_t train_steps;
    float *
        alpha_bar; /* [train_steps] cumulative products of 1 - beta, rounded to f32 as torch does */
    float final_alpha_bar; /* used for timesteps below 0 */
    mm_prediction prediction;
    mm_spacing spacing;
    int64_t steps_offset;
    bool clip_sample;
    double clip_sample_range;
} mm_scheduler;

/* MM_ERR_UNSUPPORTED: another class, beta schedule, prediction type, or thresholding. */
mm_status mm_scheduler_load(mm_scheduler *out, const char *path, mm_error *error);
void mm_scheduler_free(mm_scheduler *scheduler);

/* alpha_bar at a timestep; final_alpha_bar below 0. */
double mm_scheduler_alpha_bar(const mm_scheduler *scheduler, int64_t timestep);
/* out = sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise. */
void mm_scheduler_add_noise(const mm_scheduler *scheduler, int64_t timestep, const float *clean,
                            const float *noise, float *out, size_t count);
/* MM_ERR_USAGE: not 1..train_steps, or steps_offset leads out of the schedule. */
mm_status mm_scheduler_check_steps(const mm_scheduler *scheduler, int64_t steps, mm_error *error);
/* The `steps` sampling timesteps, from noise to data. Fails as mm_scheduler_check_steps. */
mm_status mm_scheduler_timesteps(const mm_scheduler *scheduler, int64_t steps, int64_t *out,
                                 mm_error *error);
/* The timestep after `timestep` in a chain of `steps`: timestep - train_steps / steps. */
int64_t mm_scheduler_previous(const mm_scheduler *scheduler, int64_t timestep, int64_t steps);

/* What x0 and epsilon are, given the model's output m at a sample x: linear in x and m.
     x0 = x0_x x + x0_m m,  eps = eps_x x + eps_m m */
typedef struct mm_prediction_terms {
    double x0_x, x0_m, eps_x, eps_m;
} mm_prediction_terms;
mm_prediction_terms mm_scheduler_terms(const mm_scheduler *scheduler, int64_t timestep);

/* One DDIM step (eta 0) in place from alpha_bar of `from` to alpha_bar of `to`: clips x0 when the
   config says so. */
void mm_scheduler_step(const mm_scheduler *scheduler, int64_t from, int64_t to, float *sample,
                       const float *model_output, size_t count);
/* One DDIM inversion step in place, up from `from` to `to` (from < to), with the model's output for
   timestep `to`, which is split at the noise level of `from`, the sample's; never clips. */
void mm_scheduler_invert_step(const mm_scheduler *scheduler, int64_t from, int64_t to,
                              float *sample, const float *model_output, size_t count);

#endif

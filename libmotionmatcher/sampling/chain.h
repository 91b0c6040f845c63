/* SPDX-License-Identifier: BSD-2-Clause */
/* The chain from noise to latents: DDIM (eta 0) with classifier-free guidance. */
#ifndef MM_SAMPLING_CHAIN_H
#define MM_SAMPLING_CHAIN_H

#include "sampling/denoiser.h"
#include "sampling/scheduler.h"

typedef struct mm_chain_step {
    int64_t step, of, timestep; /* step counts from 1 */
    double seconds;
} mm_chain_step;

typedef struct mm_chain {
    const mm_scheduler *scheduler;
    mm_denoiser *adapted; /* used while timestep >= min_timestep; NULL: base everywhere */
    mm_denoiser *base;    /* used below; NULL: adapted everywhere */
    /* Where both are one denoiser: puts the adaptation into its weights, or takes it out. NULL
       where they are two. */
    mm_status (*adapt)(void *user, bool on, mm_error *error);
    void *adapt_user;
    int64_t min_timestep;
    int64_t steps;
    double guidance_scale; /* at 1 or less the negative prompt is not run */
    const float *prompt;   /* hidden states */
    const float *negative; /* hidden states; may be NULL without guidance */
    size_t elements;       /* of the latents */
    const atomic_int *cancel;
    /* Called after every step; non-MM_OK ends the chain with that status. May be NULL. */
    mm_status (*on_step)(void *user, const mm_chain_step *step);
    void *user;
} mm_chain;

/* Which denoiser is on at a timestep, its weights adapted or not. */
mm_status mm_chain_denoiser(const mm_chain *chain, int64_t timestep, mm_denoiser **out,
                            mm_error *error);

/* Runs in place. MM_ERR_NONFINITE names the step. */
mm_status mm_chain_sample(const mm_chain *chain, float *latents, mm_error *error);

/* MM_ERR_NONFINITE with the given name of what is not finite. */
mm_status mm_check_finite(const float *values, size_t count, const char *what, int64_t step,
                          mm_error *error);

#endif

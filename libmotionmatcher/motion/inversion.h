/* SPDX-License-Identifier: BSD-2-Clause */
/* DDIM inversion and the noise prior: where sampling starts when it is to follow a reference. */
#ifndef MM_MOTION_INVERSION_H
#define MM_MOTION_INVERSION_H

#include "sampling/chain.h"

/*
 * Runs the deterministic chain backwards, from latents z0 to the noise they come from, in place:
 *   for t upwards:  e = UNet(z, t, hidden states of the empty prompt)
 *                   z0' = (z - sqrt(1 - a_prev) e) / sqrt(a_prev)
 *                   z   = sqrt(a_t) z0' + sqrt(1 - a_t) e
 * with a = alpha_bar and a_prev that of t - train_steps / steps. The chain's prompt is the text
 * used (no guidance is applied), its steps should be those of the sampling.
 */
mm_status mm_ddim_invert(const mm_chain *chain, float *latents, mm_error *error);

/* The start of sampling, in place of `noise`: sqrt(b) * inverted + sqrt(1 - b) * noise. */
void mm_noise_prior(double b, const float *inverted, float *noise, size_t count);

#endif

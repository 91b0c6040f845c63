/* SPDX-License-Identifier: BSD-2-Clause */
/* The motion features of a noised video by themselves: their part of the UNet compiled for one size
   of clip, and run. */
#ifndef MM_MOTION_FEATURE_PASS_H
#define MM_MOTION_FEATURE_PASS_H

#include "models/diffusion_model.h"
#include "motion/features.h"

typedef struct mm_feature_pass mm_feature_pass;

typedef struct mm_feature_pass_settings {
    int64_t frames, height, width; /* of the latents */
    mm_feature_scales scales;
} mm_feature_pass_settings;

/* Plans; loads and allocates nothing large. */
mm_status mm_feature_pass_create(mm_feature_pass **out, mm_diffusion_model *model,
                                 mm_backend *backend, const mm_feature_pass_settings *settings,
                                 mm_error *error);
void mm_feature_pass_free(mm_feature_pass **pass);
size_t mm_feature_pass_arena_bytes(const mm_feature_pass *pass);
/* Gives the memory of a run back until the next one. */
void mm_feature_pass_release(mm_feature_pass *pass);

/* [frames, h', w', 77] and [h' w', frames, frames]. */
const mm_shape *mm_feature_pass_ca_shape(const mm_feature_pass *pass);
const mm_shape *mm_feature_pass_tsa_shape(const mm_feature_pass *pass);
/* h' and w' of the latter. */
void mm_feature_pass_tsa_places(const mm_feature_pass *pass, int64_t *height, int64_t *width);

/* noisy: [frames, h, w, channels] at the timestep's noise; hidden_states: [77,
   cross_attention_dim]; ca and tsa have the shapes above. */
mm_status mm_feature_pass_run(mm_feature_pass *pass, const float *noisy, int64_t timestep,
                              const float *hidden_states, float *ca, float *tsa,
                              const atomic_int *cancel, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The UNet compiled for one clip's size, run step after step: the base network, or with an adapter
   (LoRA). Latents are [frames, h, w, channels]. */
#ifndef MM_SAMPLING_DENOISER_H
#define MM_SAMPLING_DENOISER_H

#include "models/diffusion_model.h"

typedef struct mm_denoiser mm_denoiser;

typedef struct mm_denoiser_settings {
    int64_t frames, height, width; /* of the latents */
    int64_t prompts;               /* for which the same latents are denoised at a time */
    mm_adapter adapter;            /* NULL: the base network */
    void *adapter_user;            /* must outlive the denoiser */
    size_t arena_budget;           /* 0: no limit */
} mm_denoiser_settings;

/* Plans; loads and allocates nothing large. */
mm_status mm_denoiser_create(mm_denoiser **out, mm_diffusion_model *model, mm_backend *backend,
                             const mm_denoiser_settings *settings, mm_error *error);
void mm_denoiser_free(mm_denoiser **denoiser);
size_t mm_denoiser_arena_bytes(const mm_denoiser *denoiser);
/* Uses this block of arena_bytes, so that several denoisers share one; NULL: its own. */
mm_status mm_denoiser_share(mm_denoiser *denoiser, void *arena, mm_error *error);

int64_t mm_denoiser_prompts(const mm_denoiser *denoiser);

/* For each prompt, output = UNet(latents, timestep, hidden_states [77, cross_attention_dim]). */
mm_status mm_denoiser_run(mm_denoiser *denoiser, const float *latents, int64_t timestep,
                          const float *const *hidden_states, float *output,
                          const atomic_int *cancel, mm_error *error);

#endif

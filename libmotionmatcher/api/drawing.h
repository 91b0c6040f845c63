/* SPDX-License-Identifier: BSD-2-Clause */
/* Drawing videos from one model and one stack of LoRAs: what sampling and validation share. */
#ifndef MM_API_DRAWING_H
#define MM_API_DRAWING_H

#include "api/latents.h"
#include "api/model_internal.h"
#include "motionmatcher/video.h"
#include "sampling/chain.h"
#include "training/merged_lora.h"

typedef struct mm_drawing_settings {
    int64_t frames, width, height; /* in pixels */
    int64_t steps;
    double guidance_scale;
    int64_t min_timestep;          /* LoRAs are on at and above */
    mm_lora_stack *loras;          /* must outlive the drawing; may be empty */
    bool invert, invert_with_lora; /* latents will be inverted, with the LoRAs on or off */
    size_t other_bytes;            /* memory that is in use beside the drawing */
} mm_drawing_settings;

typedef struct mm_drawing {
    mm_model *model; /* borrowed */
    mm_drawing_settings settings;
    mm_latent_shape latents;
    mm_merged_lora *merge; /* puts the LoRAs into the weights; NULL: there are none, or the memory
                             budget leaves no room, and they lie beside in `adapted` */
    mm_denoiser *adapted, *base;
    mm_denoiser *single; /* for inversions, where the others take two prompts at a time */
    void *arena;
    size_t arena_bytes; /* of the largest denoiser */
    mm_vae_slicing decoder;
    size_t planned_peak_bytes; /* of the process while drawing */
} mm_drawing;

/* Plans; loads and allocates nothing large. MM_ERR_MEMORY when it does not fit the budget. */
mm_status mm_drawing_create(mm_drawing *out, mm_model *model, const mm_drawing_settings *settings,
                            mm_error *error);
void mm_drawing_free(mm_drawing *drawing);

typedef mm_status (*mm_drawing_progress)(void *user, const mm_chain_step *step);

/* Latents in place, from noise: prompt and negative are hidden states. */
mm_status mm_drawing_sample(mm_drawing *drawing, const float *prompt, const float *negative,
                            float *latents, mm_drawing_progress progress, void *user,
                            mm_error *error);
/* Latents in place, to the noise they come from; `empty` is the empty prompt's hidden states. */
mm_status mm_drawing_invert(mm_drawing *drawing, const float *empty, float *latents,
                            mm_drawing_progress progress, void *user, mm_error *error);
/* A video of the latents. The denoisers' memory is given back first. */
mm_status mm_drawing_decode(mm_drawing *drawing, const float *latents, double fps, mm_video **out,
                            mm_error *error);

/* "A lion, in the snow." -> "A_lion_in_the_snow", at most 80 characters, fresh. */
char *mm_prompt_file_name(const char *prompt);

#endif

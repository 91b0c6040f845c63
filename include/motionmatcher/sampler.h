/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file sampler.h
 * Draws videos: DDIM with classifier-free guidance, LoRAs on at high noise, DDIM inversion of a
 * reference as noise prior.
 */
#ifndef MOTIONMATCHER_SAMPLER_H
#define MOTIONMATCHER_SAMPLER_H

#include "motionmatcher/model.h"
#include "motionmatcher/video.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Draws videos from prompts. */
typedef struct mm_sampler mm_sampler;

/**
 * Completes options of table "sample" from a training run named by checkpoint_folder: model,
 * noise_prior, min_timestep. Values that were set stand.
 * @return MM_OK, also without a checkpoint_folder; MM_ERR_INPUT: no run or checkpoint there;
 *         MM_ERR_USAGE: no model in either; MM_ERR_MEMORY.
 */
MM_API mm_status mm_sampler_complete_options(mm_options *options);

/**
 * Opens every LoRA, latents and reference that the options name and checks them against the model.
 * @param out     receives the handle, which keeps the model alive; NULL on failure.
 * @param options of table "sample", copied.
 * @return MM_OK; MM_ERR_INPUT: a file is missing, damaged or for another model; MM_ERR_USAGE: sizes
 *         that are no multiple of the VAE's factor, a noise prior without a reference;
 *         MM_ERR_RUNTIME: an output cannot be created; MM_ERR_MEMORY.
 */
MM_API mm_status mm_sampler_create(mm_sampler **out, mm_model *model, const mm_options *options);
/** Sets *sampler to NULL; accepts NULL. */
MM_API void mm_sampler_free(mm_sampler **sampler);
/** The memory plan, without loading weights: reports MM_EVENT_PLAN. */
MM_API mm_status mm_sampler_plan(mm_sampler *sampler);
/**
 * Draws all videos (repeat_num) and writes what the options name. A stop is honoured after the
 * step at hand.
 * @param out receives the last video, to be freed with mm_video_free(), or NULL with steps_only;
 *            may be NULL.
 * @return MM_OK; MM_ERR_NONFINITE: a sample is not finite; MM_ERR_RUNTIME: a file cannot be
 * written; MM_ERR_USAGE: nothing to write, and out is NULL; MM_ERR_CANCELLED; MM_ERR_MEMORY;
 * MM_ERR_INPUT.
 */
MM_API mm_status mm_sampler_run(mm_sampler *sampler, mm_video **out);

#ifdef __cplusplus
}
#endif

#endif

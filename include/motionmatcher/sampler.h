/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file sampler.h
 * Draws videos: DDIM with classifier-free guidance, LoRAs on at high noise, DDIM inversion of a
 * reference as noise prior.
 */
#ifndef MOTIONMATCHER_SAMPLER_H
#define MOTIONMATCHER_SAMPLER_H

#include "motionmatcher/model.h"
#include "motionmatcher/tensor.h"
#include "motionmatcher/video.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Draws videos from prompts. */
typedef struct mm_sampler mm_sampler;

/**
 * Completes options of table "sample" from a training run named by checkpoint_folder: model, width,
 * height and num_frames as the run has them, checkpoint_index (the newest), and noise_prior 0.3.
 * Values that were set stand; without a checkpoint_folder nothing is to be completed. The model's
 * name is for whoever has it to open yet: mm_sampler_create() takes an open one, whatever the
 * option says. It does not complete options itself: without this a checkpoint_folder is a LoRA
 * alone.
 * @return MM_OK, also when there is still no model; MM_ERR_INPUT: no run or checkpoint there;
 *         MM_ERR_USAGE: NULL, options of another table; MM_ERR_MEMORY. On failure some options may
 *         be completed.
 */
MM_API mm_status mm_sampler_complete_options(mm_options *options);

/**
 * Opens every LoRA and latents that the options name (the log says "N of M tensors applied" of each
 * LoRA, as a warning where N is less), and the reference where the start takes
 * something of it, and checks them against the model. A prompt is needed, "" will do. save_latents
 * and init_latents are safetensors with one tensor, "latents", [1, channels, frames, height,
 * width].
 * @param out     receives the handle, which keeps the model alive; NULL on failure.
 * @param options of table "sample", copied.
 * @return MM_OK; MM_ERR_INPUT: a file is missing, damaged or for another model (a LoRA of which
 * nothing applies is); MM_ERR_USAGE: sizes that are no multiple of the VAE's factor, a noise prior
 * without a reference; MM_ERR_RUNTIME: an output cannot be created; MM_ERR_MEMORY. That the options
 * name no output is no error: the video can be had without one.
 */
MM_API mm_status mm_sampler_create(mm_sampler **out, mm_model *model, const mm_options *options);
/** Sets *sampler to NULL; accepts NULL. */
MM_API void mm_sampler_free(mm_sampler **sampler);
/** The memory plan, without loading weights: reports MM_EVENT_PLAN. */
MM_API mm_status mm_sampler_plan(mm_sampler *sampler);
/**
 * Latents that replace the random start, as a file of the option init_latents does.
 * @param latents [1, channels, num_frames, height, width] or without the 1, in latents' sizes,
 *                floating-point numbers; copied. NULL: the start is random again.
 * @return MM_OK; MM_ERR_USAGE: another shape or type; MM_ERR_MEMORY.
 */
MM_API mm_status mm_sampler_set_init_latents(mm_sampler *sampler, const mm_tensor *latents);
/**
 * Draws all videos (repeat_num) and writes what the options name. Called again, it draws the same
 * ones: the first has the option seed, each further one the next. A stop is honoured after the
 * step at hand.
 * @param out receives the last video, to be freed with mm_video_free(), or NULL with steps_only;
 *            may be NULL.
 * @return MM_OK; MM_ERR_NONFINITE: a sample is not finite; MM_ERR_RUNTIME: a file cannot be
 * written; MM_ERR_USAGE: nothing to write, and out is NULL, without steps_only; MM_ERR_CANCELLED;
 * MM_ERR_MEMORY; MM_ERR_INPUT.
 */
MM_API mm_status mm_sampler_run(mm_sampler *sampler, mm_video **out);
/**
 * The latents of the last video, before the VAE.
 * @param out receives f32 [1, channels, frames, height, width], which is not packed, to be freed
 *            with mm_tensor_free(); NULL on failure.
 * @return MM_OK; MM_ERR_USAGE: no video was drawn.
 */
MM_API mm_status mm_sampler_latents(const mm_sampler *sampler, mm_tensor **out);
/**
 * The noise that the reference was inverted to, shaped as the latents are.
 * @return MM_OK; MM_ERR_USAGE: nothing was inverted (yet).
 */
MM_API mm_status mm_sampler_inversion(const mm_sampler *sampler, mm_tensor **out);

#ifdef __cplusplus
}
#endif

#endif

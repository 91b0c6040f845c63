/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file extractor.h
 * The motion features of a clip (MotionMatcher, arXiv 2502.13234, section 4.2): attention maps that
 * the model forms while it looks at the clip with noise on it. Cross-attention (CA) tells where
 * each word of the prompt is seen in each frame, temporal self-attention (TSA) how the frames
 * relate at each place. No LoRA takes part.
 *
 * Order of calls: mm_extractor_create(); mm_extractor_set_video() or mm_extractor_set_latents();
 * mm_extractor_run() or mm_extractor_run_at(); then the maps. Another clip, or another timestep of
 * the same clip, may follow as often as wanted.
 */
#ifndef MOTIONMATCHER_EXTRACTOR_H
#define MOTIONMATCHER_EXTRACTOR_H

#include "motionmatcher/model.h"
#include "motionmatcher/tensor.h"
#include "motionmatcher/video.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Computes the motion features of clips. */
typedef struct mm_extractor mm_extractor;

/**
 * Checks every setting against the model, plans, and reads the file of the option noise. Weights
 * are loaded when they are needed. The options model, prompt, output and pictures are the caller's:
 * output and pictures are only checked to be writable here.
 * @param out     receives the handle, which keeps the model alive; NULL on failure.
 * @param options of table "features", copied.
 * @return MM_OK; MM_ERR_USAGE: sizes that are no multiple of the VAE's factor, a scale without
 * attention, a timestep beyond the model's; MM_ERR_INPUT: the noise file is missing, damaged or of
 *         another shape; MM_ERR_RUNTIME: an output cannot be created; MM_ERR_UNSUPPORTED: pictures
 *         in a build without FFmpeg; MM_ERR_MEMORY: also where the plan exceeds the budget.
 */
MM_API mm_status mm_extractor_create(mm_extractor **out, mm_model *model,
                                     const mm_options *options);
/** Sets *extractor to NULL; accepts NULL. */
MM_API void mm_extractor_free(mm_extractor **extractor);
/** The memory plan, without loading weights: reports MM_EVENT_PLAN. */
MM_API mm_status mm_extractor_plan(mm_extractor *extractor);

/**
 * The clip to look at, and what it shows. The clip is encoded (the mean of the VAE's posterior,
 * times the scaling factor), so nothing of the result is left to chance but the noise. Maps of an
 * earlier clip are dropped.
 * @param video of the options' size; copied.
 * @return MM_OK; MM_ERR_USAGE: the video's size is not the options', the prompt is not UTF-8;
 *         MM_ERR_INPUT: weights cannot be read; MM_ERR_MEMORY; MM_ERR_CANCELLED.
 */
MM_API mm_status mm_extractor_set_video(mm_extractor *extractor, const mm_video *video,
                                        const char *prompt);
/**
 * The same for a clip that is encoded already.
 * @param latents [1, channels, frames, height, width] or without the 1, floating-point numbers,
 *                scaled, as in a run's cached_latents; copied.
 * @return as above; MM_ERR_USAGE also: another shape or type.
 */
MM_API mm_status mm_extractor_set_latents(mm_extractor *extractor, const mm_tensor *latents,
                                          const char *prompt);

/**
 * Puts the noise of the options on the clip at the options' timestep, and computes the maps.
 * @return MM_OK; MM_ERR_USAGE: no clip yet, or no timestep in the options; MM_ERR_INPUT: weights
 * cannot be read; MM_ERR_NONFINITE: a map is not finite; MM_ERR_MEMORY; MM_ERR_CANCELLED: after
 * mm_context_stop() or mm_context_cancel().
 */
MM_API mm_status mm_extractor_run(mm_extractor *extractor);
/**
 * The same at a timestep of the caller's choice.
 * @param timestep 0 (hardly any noise) to the model's last, as a rule 999.
 * @param noise    standard normal numbers, shaped as in mm_extractor_set_latents(); or NULL for the
 *                 options' noise.
 * @return as above; MM_ERR_USAGE also: the timestep is not the model's, noise of another shape.
 */
MM_API mm_status mm_extractor_run_at(mm_extractor *extractor, int64_t timestep,
                                     const mm_tensor *noise);

/**
 * Cross-attention probabilities of the last run, averaged over heads and layers.
 * @param out receives f32 [frames, h', w', tokens (77)], whose sum over the tokens is 1, to be
 * freed with mm_tensor_free(); NULL on failure.
 * @return MM_OK; MM_ERR_USAGE: before a run.
 */
MM_API mm_status mm_extractor_ca(const mm_extractor *extractor, mm_tensor **out);
/**
 * Temporal self-attention probabilities of the last run, averaged over heads and layers.
 * @param out receives f32 [h', w', frame that looks, frame looked at], whose sum over the last
 * is 1.
 * @return as above.
 */
MM_API mm_status mm_extractor_tsa(const mm_extractor *extractor, mm_tensor **out);

/** Tokens of the prompt with its start and end token, without padding: at most 77; 0 without a
 * clip. */
MM_API int64_t mm_extractor_tokens(const mm_extractor *extractor);
/** The text of one of them ("circle"); owned by the handle, NULL when there is no such token. */
MM_API const char *mm_extractor_token(const mm_extractor *extractor, int64_t index);

/**
 * Writes the maps as safetensors: "ca" [F, h', w', 77] and "tsa" [h' w', F, F], f32, and what they
 * are of in the metadata (docs/file-formats.md). Reports MM_EVENT_OUTPUT.
 * @return MM_OK; MM_ERR_USAGE: before a run; MM_ERR_RUNTIME: cannot be written; MM_ERR_MEMORY.
 */
MM_API mm_status mm_extractor_write(mm_extractor *extractor, const char *path);
/**
 * Writes the maps as PNG pictures into a directory, which is created when it is missing: for each
 * token but the padding a strip of heat maps over the frames ("ca-03-circle.png"), all strips with
 * their words below the frames ("ca.png"), the frame-to-frame map averaged over places ("tsa.png")
 * and the maps of all places in their places ("tsa-places.png"). Reports MM_EVENT_OUTPUT for each.
 * @return MM_OK; MM_ERR_USAGE: before a run; MM_ERR_UNSUPPORTED: a build without FFmpeg;
 *         MM_ERR_RUNTIME: cannot be written; MM_ERR_MEMORY.
 */
MM_API mm_status mm_extractor_write_pictures(mm_extractor *extractor, const char *directory);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file trainer.h
 * Trains a motion LoRA on one or more clips (MotionMatcher, arXiv 2502.13234).
 *
 * Order of calls: mm_trainer_create() or mm_trainer_resume(); mm_trainer_add_clip() for each clip
 * (not after a resume); mm_trainer_run().
 */
#ifndef MOTIONMATCHER_TRAINER_H
#define MOTIONMATCHER_TRAINER_H

#include "motionmatcher/lora.h"
#include "motionmatcher/model.h"
#include "motionmatcher/video.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A training run. */
typedef struct mm_trainer mm_trainer;

/**
 * A new run. With an output_dir in the options the directory is checked to be writable and to hold
 * no run yet; it is created when training begins, and removed again when the first step fails.
 * Without one nothing is written. Where width, height or num_frames come from a stronger source
 * than the validation_ option of the same name, validation samples take the clip's.
 * @param out     receives the handle, which keeps the model alive; NULL on failure.
 * @param options of table "train", copied. model, video and prompt are only written to the run's
 *                config.json; set them, so that tools and mm_sampler_complete_options() find the
 *                model again.
 * @return MM_OK; MM_ERR_USAGE: a setting that does not fit the model (sizes that are no multiple of
 * the VAE's factor, a scale without attention, validation samples that do not fit), or a directory
 * that already holds a run; MM_ERR_RUNTIME: the directory cannot be written; MM_ERR_MEMORY.
 */
MM_API mm_status mm_trainer_create(mm_trainer **out, mm_model *model, const mm_options *options);

/**
 * Settles what follows from other options: samples have the size of the clip where that comes from
 * a stronger source. mm_trainer_create() does the same with its copy.
 * @param options of table "train".
 * @return MM_OK; MM_ERR_USAGE: options of another table; MM_ERR_MEMORY.
 */
MM_API mm_status mm_trainer_complete_options(mm_options *options);

/**
 * Completes options from an existing run's config.json, as MM_SOURCE_FILE, and sets output_dir to
 * its directory. Options that were set before must agree with the run, except steps;
 * an output_dir may only repeat the directory. Options of a context get the run's precision.
 * @param options   of table "train", or of table "context".
 * @param directory of the run.
 * @return MM_OK; MM_ERR_INPUT: no run there, or damaged; MM_ERR_USAGE: settings disagree (the
 * message names the first); MM_ERR_MEMORY.
 */
MM_API mm_status mm_trainer_load_options(mm_options *options, const char *directory);
/**
 * Goes on with the run in the options' output_dir from its newest whole checkpoint, or from step 1
 * where there is none.
 * @param options as mm_trainer_load_options() left them; steps may be changed. With fewer steps
 *                than are done there is nothing to do.
 * @return as mm_trainer_create(), and MM_ERR_INPUT: no run there, or latents of another
 * configuration; MM_ERR_USAGE: no output_dir, settings that disagree with the run, the model's
 * context computes in another precision than the run.
 */
MM_API mm_status mm_trainer_resume(mm_trainer **out, mm_model *model, const mm_options *options);
/** Cancels nothing and writes nothing: what was not saved is lost. Sets *trainer to NULL. */
MM_API void mm_trainer_free(mm_trainer **trainer);

/**
 * Adds a reference clip and encodes it (VAE posterior sample, times the scaling factor).
 * @return MM_OK; MM_ERR_USAGE: the clip's size is not the options', the prompt is not UTF-8;
 *         MM_ERR_INPUT: weights cannot be read; MM_ERR_MEMORY; MM_ERR_CANCELLED.
 */
MM_API mm_status mm_trainer_add_clip(mm_trainer *trainer, const mm_video *video,
                                     const char *prompt);

/**
 * The memory plan of the training step, without loading weights: reports MM_EVENT_PLAN.
 * @return MM_OK; MM_ERR_MEMORY: does not fit the budget; the message says what needs how much.
 */
MM_API mm_status mm_trainer_plan(mm_trainer *trainer);

/**
 * Runs to the last step (no further than a stop that was asked for before): checkpoints,
 * metrics.jsonl and validation samples on the way. After MM_ERR_CANCELLED and mm_context_resume()
 * it can be called again and goes on; after the last step it does nothing.
 * @return MM_OK; MM_ERR_USAGE: there is no clip; MM_ERR_CANCELLED: after mm_context_stop() (the
 * step was finished and a checkpoint written) or mm_context_cancel() (the last checkpoint stands);
 * MM_ERR_NONFINITE names step and tensor; MM_ERR_RUNTIME: a file cannot be written; MM_ERR_MEMORY;
 * MM_ERR_INPUT.
 */
MM_API mm_status mm_trainer_run(mm_trainer *trainer);

/**
 * The LoRA as it stands after the last whole step, with the metadata that a checkpoint has. Before
 * the first step it adds nothing.
 * @param out receives a handle of its own, to be freed with mm_lora_free(), which later steps do
 * not change; NULL on failure.
 * @return MM_OK; MM_ERR_USAGE: NULL; MM_ERR_MEMORY.
 */
MM_API mm_status mm_trainer_lora(mm_trainer *trainer, mm_lora **out);

/**
 * Runs training steps on given numbers and writes what was computed; all dropout is off. Needs no
 * clip. Tensors of both files: docs/file-formats.md, "replay".
 * @return MM_OK; MM_ERR_INPUT: tensors missing or misshapen; MM_ERR_RUNTIME: cannot be written;
 *         MM_ERR_MEMORY; MM_ERR_NONFINITE; MM_ERR_CANCELLED.
 */
MM_API mm_status mm_trainer_replay(mm_trainer *trainer, const char *in_path, const char *out_path);

#ifdef __cplusplus
}
#endif

#endif

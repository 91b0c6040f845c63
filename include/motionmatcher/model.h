/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file model.h
 * A text-to-video diffusion model in the diffusers directory layout: unet, vae, text_encoder,
 * tokenizer, scheduler.
 *
 * Opening reads the configs and checks every weight file against the networks' own list of tensors;
 * no weight is loaded before it is needed, and a network whose work is done is released again.
 */
#ifndef MOTIONMATCHER_MODEL_H
#define MOTIONMATCHER_MODEL_H

#include "motionmatcher/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A text-to-video diffusion model. Its handles are used by one thread at a time, as all of one
 * context. Several models may be open at once.
 */
typedef struct mm_model mm_model;

/**
 * @param out       receives the handle, which keeps the context alive; NULL on failure.
 * @param directory path of the model directory (UTF-8).
 * @return MM_OK; MM_ERR_INPUT: missing or damaged files, tensors missing or misshapen, config
 * values out of range; MM_ERR_UNSUPPORTED: an architecture, block type, scheduler or archive that
 * is not supported; MM_ERR_MEMORY.
 */
MM_API mm_status mm_model_open(mm_model **out, mm_context *context, const char *directory);
/** Drops the caller's reference and sets *model to NULL; handles made from it keep it alive. */
MM_API void mm_model_free(mm_model **model);

/**
 * Pixels of a side for one latent. Width and height must be multiples of it.
 * @return 1 or more, 8 in ZeroScope; 0 for NULL.
 */
MM_API int64_t mm_model_vae_factor(const mm_model *model);
/**
 * What the text encoder receives for a prompt.
 * @param prompt UTF-8; "" is the empty prompt. What is beyond 77 tokens is cut, with a notice.
 * @param ids    receives start token, tokens, end token, then padding: always 77.
 * @return MM_OK; MM_ERR_USAGE: not UTF-8, or a NULL; MM_ERR_MEMORY.
 */
MM_API mm_status mm_model_tokenize(mm_model *model, const char *prompt, int64_t ids[77]);

#ifdef __cplusplus
}
#endif

#endif

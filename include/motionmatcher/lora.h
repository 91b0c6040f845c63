/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file lora.h
 * LoRA files: PEFT safetensors in and out, the released MotionMatcher code's positional
 * "<step>_unet.pt" in and out.
 */
#ifndef MOTIONMATCHER_LORA_H
#define MOTIONMATCHER_LORA_H

#include "motionmatcher/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mm_lora mm_lora;

/**
 * Reads a LoRA for a model and checks every name, shape and rank against it.
 * @param path a file, or a checkpoint directory of a run.
 * @return MM_OK; MM_ERR_INPUT: missing, damaged, for another model, or nothing in it applies;
 *         MM_ERR_UNSUPPORTED: a layout that is not read; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_open(mm_lora **out, mm_model *model, const char *path);
/** Sets *lora to NULL; accepts NULL. */
MM_API void mm_lora_free(mm_lora **lora);
/** Number of adapted linear layers; their largest rank. */
MM_API int64_t mm_lora_modules(const mm_lora *lora);
MM_API int64_t mm_lora_rank(const mm_lora *lora);
/** A metadata value of the file, NULL when absent; owned by the handle. */
MM_API const char *mm_lora_metadata(const mm_lora *lora, const char *key);
/**
 * Writes the LoRA: ".safetensors" with PEFT names, ".pt" as the released code's list.
 * @return MM_OK; MM_ERR_USAGE: another ending; MM_ERR_RUNTIME: cannot be written; MM_ERR_MEMORY.
 */
MM_API mm_status mm_lora_save(const mm_lora *lora, const char *path);

#ifdef __cplusplus
}
#endif

#endif

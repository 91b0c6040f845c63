/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checkpoints: <run>/checkpoint-<step>/ with lora.safetensors (what sampling uses) and
 * state.safetensors (AdamW's moments, and a checksum over both files' numbers). The directory
 * appears under its name only when both are whole.
 */
#ifndef MM_TRAINING_CHECKPOINT_H
#define MM_TRAINING_CHECKPOINT_H

#include "base/log.h"
#include "training/trainer.h"

/* *path (may be NULL) receives the directory's fresh path. MM_ERR_RUNTIME, MM_ERR_MEMORY. */
mm_status mm_checkpoint_save(const char *directory, mm_training_state *state, char **path,
                             mm_error *error);

/* Fills the state from the newest checkpoint that is whole and fits; a damaged one is passed over
   with a warning. Where there is none the state is that of the beginning: state->done is 0, the
   LoRA's values follow from the seed. */
mm_status mm_checkpoint_load_newest(const char *directory, mm_training_state *state, uint64_t seed,
                                    const mm_logger *logger, mm_error *error);

/* The steps of all checkpoint directories, newest first. Free with mm_free. */
mm_status mm_checkpoint_list(const char *directory, int64_t **steps, size_t *count,
                             mm_error *error);

#endif

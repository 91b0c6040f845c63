/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LoRAs added into a network's own weights, and taken out again exactly: the weights that they
 * change are kept meanwhile.
 */
#ifndef MM_TRAINING_MERGED_LORA_H
#define MM_TRAINING_MERGED_LORA_H

#include "graph/backend.h"
#include "training/lora.h"

typedef struct mm_merged_lora mm_merged_lora;

/* Bytes of the weights that the LoRAs change and of what changing them takes. */
size_t mm_merged_lora_bytes(const mm_lora_stack *stack, mm_dtype dtype);

/* All arguments must outlive the merge; takes no memory for weights before they are changed.
   MM_ERR_UNSUPPORTED: a weight is neither f32 nor bf16. */
mm_status mm_merged_lora_create(mm_merged_lora **out, const mm_lora_stack *stack,
                                const mm_weight_set *weights, mm_backend *backend, mm_error *error);
/* Does not take the LoRAs out. */
void mm_merged_lora_free(mm_merged_lora **merge);
/* Puts the LoRAs in, as they are now, or takes them out and gives the memory back; nothing happens
   where they are or are not in already. The weights must be loaded. After a failure they are out.
 */
mm_status mm_merged_lora_set(mm_merged_lora *merge, bool in, mm_error *error);

#endif

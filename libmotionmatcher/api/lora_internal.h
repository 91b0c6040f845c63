/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_LORA_INTERNAL_H
#define MM_API_LORA_INTERNAL_H

#include "api/model_internal.h"
#include "motionmatcher/lora.h"
#include "training/lora.h"

struct mm_lora {
    mm_model *model;
    mm_lora_set set;
};

/* The file behind a path: a checkpoint directory stands for its lora.safetensors, or the released
   code's lora/<step>_unet.pt. Fresh. MM_ERR_INPUT: neither is there. */
mm_status mm_lora_resolve_path(const char *path, char **out, mm_error *error);

#endif

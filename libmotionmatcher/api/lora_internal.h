/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_LORA_INTERNAL_H
#define MM_API_LORA_INTERNAL_H

#include "api/model_internal.h"
#include "motionmatcher/lora.h"
#include "weights/lora_layers.h"

struct mm_lora {
    mm_context *context;
    mm_model *model; /* NULL: opened alone */
    mm_lora_layers layers;
};

/* Without layers; `model` may be NULL. NULL without memory. */
mm_lora *mm_lora_make(mm_context *context, mm_model *model, mm_error *error);

/* The file behind a path: a directory stands for the LoRA that we, the released code, PEFT or
   diffusers saved to it. Fresh. MM_ERR_INPUT: none is there. */
mm_status mm_lora_resolve_path(const char *path, char **out, mm_error *error);

#endif

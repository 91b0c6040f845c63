/* SPDX-License-Identifier: BSD-2-Clause */
/* What the name of a tensor in a LoRA file says. Programs differ in prefixes, in the words for the
   two matrices, and in whether a module's path keeps its dots. */
#ifndef MM_WEIGHTS_LORA_NAME_H
#define MM_WEIGHTS_LORA_NAME_H

#include <stdbool.h>

#include "base/arena.h"

typedef enum mm_lora_naming {
    MM_LORA_PEFT,      /* [unet.]<path>.lora_A.weight, also behind base_model.model. */
    MM_LORA_DIFFUSERS, /* older ones: <path>.lora.down.weight, <path>.processor.to_q_lora.down */
    MM_LORA_KOHYA,     /* lora_unet_<path with _>.lora_down.weight, .alpha */
    MM_LORA_LIST       /* the released code's list without names */
} mm_lora_naming;

typedef enum mm_lora_part {
    MM_LORA_DOWN,
    MM_LORA_UP,
    MM_LORA_ALPHA,
    MM_LORA_NO_PART,    /* of another network, or nothing known */
    MM_LORA_UNSUPPORTED /* of an adapter that is more than two matrices: DoRA, LoHa, LoKr, ... */
} mm_lora_part;

typedef struct mm_lora_name {
    mm_lora_part part;
    mm_lora_naming naming;
    const char *path; /* of the module, "down_blocks.0....to_q"; set for the first three parts */
} mm_lora_name;

/* False without memory. */
bool mm_lora_name_read(mm_lora_name *out, const char *name, mm_arena *arena);
/* "lora_unet_" and the path with its dots as '_'; NULL without memory. */
char *mm_lora_kohya_name(const char *path, mm_arena *arena);

#endif

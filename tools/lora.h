/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of mm-lora, and what they share. */
#ifndef MM_TOOLS_LORA_H
#define MM_TOOLS_LORA_H

#include "common/cli.h"
#include "motionmatcher/lora.h"

extern const cli_command lora_info, lora_convert, lora_merge, lora_scale, lora_fuse;

/* The values of --model, --to and --overwrite. */
extern const char *lora_model, *lora_format;
extern bool lora_overwrite;

/* Rows of an array of extras. */
#define LORA_MODEL                                                                           \
    {                                                                                        \
        "model", "DIR",                                                                      \
            "the model that the LoRA is for: checks names and shapes, names a .pt's layers", \
            &lora_model, NULL                                                                \
    }
#define LORA_TO                                                                        \
    {                                                                                  \
        "to", "peft|pt|kohya",                                                         \
            "what is written: PEFT safetensors, the released code's list, or kohya's " \
            "safetensors (default: by the ending of OUT)",                             \
            &lora_format, NULL                                                         \
    }
#define LORA_OVERWRITE                                                       \
    {                                                                        \
        "overwrite", "", "replace OUT when it exists", NULL, &lora_overwrite \
    }

/* Creates the context and opens the model, when one was given. */
mm_status lora_begin(cli_state *cli, mm_model **model);
/* For that model, or alone. */
mm_status lora_open(cli_state *cli, mm_model *model, mm_lora **out, const char *path);
/* Both for a command that reads one LoRA. */
mm_status lora_open_one(cli_state *cli, mm_lora **out, const char *path);
/* Does the work of a command that takes least..most operands; answers --print-config. */
mm_status lora_run(cli_state *cli, size_t least, size_t most, mm_status (*work)(cli_state *cli));

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* PEFT's LoraConfig, which says by how much the matrices of a LoRA count: as diffusers keeps it in
   a file's metadata, or PEFT in adapter_config.json. */
#ifndef MM_WEIGHTS_LORA_CONFIG_H
#define MM_WEIGHTS_LORA_CONFIG_H

#include "base/json.h"

#define MM_LORA_CONFIG_KEY "lora_adapter_metadata"

typedef struct mm_lora_alpha_pattern {
    const char *path; /* a module's, or its end */
    double alpha;
    size_t place; /* the first that matches counts */
    bool whole;   /* only the whole path matches */
} mm_lora_alpha_pattern;

typedef struct mm_lora_config {
    mm_json_document document;
    double alpha;
    bool root_scaled;               /* divided by the rank's root instead of the rank */
    mm_lora_alpha_pattern *pattern; /* sorted by path */
    size_t count;
} mm_lora_config;

/* `text` is an object of LoraConfig's arguments, all with "unet." before them or none.
   MM_ERR_INPUT: malformed, an alpha that is no finite number; MM_ERR_UNSUPPORTED: DoRA, biases,
   regular expressions. */
mm_status mm_lora_config_parse(mm_lora_config *out, const char *name, const char *text,
                               mm_error *error);
mm_status mm_lora_config_load(mm_lora_config *out, const char *path, mm_error *error);
void mm_lora_config_free(mm_lora_config *config);
/* The alpha that makes alpha / rank the factor of a layer. */
double mm_lora_config_alpha(const mm_lora_config *config, const char *path, int64_t rank);

#endif

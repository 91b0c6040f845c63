/* SPDX-License-Identifier: BSD-2-Clause */
/* CLIPModel: texts and pictures as features of one space. */
#ifndef MM_MODELS_CLIP_H
#define MM_MODELS_CLIP_H

#include "base/json.h"
#include "models/networks.h"

/* CLIPVisionModel: "vision_config" of config.json. */
typedef struct mm_clip_vision_config {
    int64_t width, intermediate, layers, heads;
    int64_t image_size, patch_size;
    double norm_eps;
    mm_activation_kind activation;
} mm_clip_vision_config;

typedef struct mm_clip_config {
    mm_clip_text_config text;
    mm_clip_vision_config vision;
    int64_t projection_dim; /* of the features */
    int64_t end_token;      /* eos_token_id of the text encoder */
} mm_clip_config;

/* What the layers of an encoder have in common. */
typedef struct mm_clip_stack {
    int64_t width, intermediate, heads;
    double norm_eps;
    mm_activation_kind activation;
    bool causal;
} mm_clip_stack;

/* "encoder.layers.<index>" of either encoder: x [texts or pictures, tokens, width]. */
mm_node *mm_clip_layer(mm_builder *builder, const mm_clip_stack *stack, int32_t index, mm_node *x);

/* Sizes that the file leaves out are those of ViT-B/32. */
mm_status mm_clip_config_load(mm_clip_config *out, const char *path, mm_error *error);
/* Files of 2022 spell a section twice, and then "<key>_dict" counts. NULL when there is none. */
const mm_json *mm_clip_section(const mm_json_document *document, const char *key);
mm_status mm_clip_vision_config_read(mm_clip_vision_config *out, const mm_json_document *document,
                                     const mm_json *section, mm_error *error);

/* Squares of a side of a picture. */
int64_t mm_clip_patches(const mm_clip_vision_config *config);
/* patches [pictures, patches, 3 size size], zeros i64 [pictures] -> the class token's state after
   the last norm [pictures, width]. */
mm_node *mm_clip_vision_build(mm_builder *builder, const mm_clip_vision_config *config,
                              mm_node *patches, mm_node *zeros);
/* The same, projected: [pictures, projection_dim]. */
mm_node *mm_clip_image_features(mm_builder *builder, const mm_clip_config *config, mm_node *patches,
                                mm_node *zeros);
/* ids i64 [1, tokens] that end with the token whose state stands for the text -> [1,
   projection_dim]. */
mm_node *mm_clip_text_features(mm_builder *builder, const mm_clip_config *config, mm_node *ids);
/* Which of the ids that is: the first end token, or, where the config names the id 2 as files of
   before July 2023 do, the first of the largest ids. */
int64_t mm_clip_pooled_position(const mm_clip_config *config, const int64_t *ids, int64_t count);
mm_status mm_clip_declare(const mm_clip_config *config, mm_weight_set *weights, mm_error *error);

#endif

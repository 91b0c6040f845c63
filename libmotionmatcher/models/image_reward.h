/* SPDX-License-Identifier: BSD-2-Clause */
/* ImageReward: how well a picture fits a text, from a vision transformer whose tokens a BERT looks
   at while it reads the text. */
#ifndef MM_MODELS_IMAGE_REWARD_H
#define MM_MODELS_IMAGE_REWARD_H

#include "models/builder.h"
#include "weights/tensor_file.h"

#define MM_REWARD_HEAD_LAYERS 5

typedef struct mm_image_reward_config {
    struct {
        int64_t width, intermediate, layers, heads;
        int64_t image_size, patch_size;
    } vision;
    struct {
        int64_t vocabulary, positions, width, intermediate, layers, heads;
        double norm_eps;
        mm_activation_kind activation;
    } text;
    int64_t head[MM_REWARD_HEAD_LAYERS]; /* outputs of each layer behind BERT; the last is 1 */
} mm_image_reward_config;

/* The text encoder's sizes come from med_config.json, all others from the tensors' shapes.
   vision_heads 0: one for every 64 channels. MM_ERR_INPUT, MM_ERR_UNSUPPORTED, MM_ERR_MEMORY. */
mm_status mm_image_reward_config_load(mm_image_reward_config *out, const char *med_config_path,
                                      const mm_tensor_file *file, int64_t vision_heads,
                                      mm_error *error);

/* patches [pictures, patches, 3 size size], zeros i64 [pictures], ids i64 [pictures, tokens]
   without padding -> the head's output [pictures, 1]. */
mm_node *mm_image_reward_build(mm_builder *builder, const mm_image_reward_config *config,
                               mm_node *patches, mm_node *zeros, mm_node *ids);
mm_status mm_image_reward_declare(const mm_image_reward_config *config, mm_weight_set *weights,
                                  mm_error *error);

#endif

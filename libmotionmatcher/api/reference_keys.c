/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/reference_keys.h"

#include <string.h>

#define ALIAS(key, option)                               \
    {                                                    \
        key, MM_REFERENCE_ALIAS, option, &mm_train_table \
    }
#define SPEED(key)                                     \
    {                                                  \
        key, MM_REFERENCE_SPEED, NULL, &mm_train_table \
    }
#define NO_EFFECT(key, why)                               \
    {                                                     \
        key, MM_REFERENCE_NO_EFFECT, why, &mm_train_table \
    }
#define EXPECT(what, key, words)                                \
    {                                                           \
        key, MM_REFERENCE_EXPECT_##what, words, &mm_train_table \
    }

static const mm_reference_key keys[] = {
    ALIAS("pretrained_model_path", "model"),
    ALIAS("lora_rank", "rank"),
    ALIAS("lora_unet_dropout", "lora_dropout"),
    ALIAS("train_data.width", "width"),
    ALIAS("train_data.height", "height"),
    ALIAS("train_data.sample_start_idx", "start_frame"),
    ALIAS("train_data.frame_step", "frame_step"),
    ALIAS("train_data.n_sample_frames", "num_frames"),
    ALIAS("train_data.single_video_path", "video"),
    ALIAS("train_data.single_video_prompt", "prompt"),
    ALIAS("validation_data.prompt", "validation_prompt"),
    ALIAS("validation_data.num_frames", "validation_num_frames"),
    ALIAS("validation_data.width", "validation_width"),
    ALIAS("validation_data.height", "validation_height"),
    ALIAS("validation_data.num_inference_steps", "validation_num_steps"),
    ALIAS("validation_data.guidance_scale", "validation_guidance_scale"),
    ALIAS("validation_data.noise_prior", "noise_prior"),
    ALIAS("motion_extractor.num_denoise_steps", "num_denoise_steps"),
    ALIAS("motion_extractor.spatial_scale_factor", "spatial_scale_factor"),
    ALIAS("motion_extractor.temporal_scale_factor", "temporal_scale_factor"),
    ALIAS("loss_weights.spatial_loss", "spatial_weight"),
    ALIAS("loss_weights.temporal_loss", "temporal_weight"),
    ALIAS("adam_weight_decay", "weight_decay"),
    ALIAS("max_grad_norm", "max_gradient_norm"),
    ALIAS("max_train_steps", "steps"),
    ALIAS("checkpointing_steps", "checkpoint_every"),
    ALIAS("validation_steps", "validation_every"),
    ALIAS("gradient_accumulation_steps", "gradient_accumulation"),
    {"lr_warmup_steps", MM_REFERENCE_WARMUP, "warmup_steps", &mm_train_table},
    {"validation_data.sample_preview", MM_REFERENCE_PREVIEW, "validation_every", &mm_train_table},
    {"mixed_precision", MM_REFERENCE_PRECISION, "no|fp16|bf16", &mm_context_table},

    SPEED("gradient_checkpointing"),
    SPEED("text_encoder_gradient_checkpointing"),
    SPEED("enable_xformers_memory_efficient_attention"),
    SPEED("enable_torch_2_attn"),
    SPEED("allow_tf32"),
    SPEED("cache_latents"),
    NO_EFFECT("train_data.fps", "a single video's frames are taken one by one, whatever its rate"),
    NO_EFFECT("validation_data.lora_scale", "the released code overrides it at every step"),
    NO_EFFECT("lora_text_dropout", "the text encoder is not trained"),
    NO_EFFECT("offset_noise_strength", "there is no offset noise"),
    NO_EFFECT("logger_type", "metrics are written to metrics.jsonl"),

    EXPECT(FALSE, "train_data.use_bucketing", NULL),
    EXPECT(NOTHING, "train_data.path", NULL),
    EXPECT(NOTHING, "train_data.video_dir", NULL),
    EXPECT(NOTHING, "train_data.json_path", NULL),
    EXPECT(NOTHING, "train_data.fallback_prompt", NULL),
    EXPECT(NOTHING, "cached_latent_dir", NULL),
    EXPECT(TRUE, "use_unet_lora", NULL),
    EXPECT(FALSE, "use_text_lora", NULL),
    EXPECT(FALSE, "save_pretrained_model", NULL),
    EXPECT(FALSE, "save_lora_for_webui", NULL),
    EXPECT(FALSE, "only_lora_for_webui", NULL),
    EXPECT(FALSE, "use_offset_noise", NULL),
    EXPECT(FALSE, "rescale_schedule", NULL),
    EXPECT(FALSE, "use_8bit_adam", NULL),
    EXPECT(FALSE, "scale_lr", NULL),
    EXPECT(FALSE, "extend_dataset", NULL),
    EXPECT(FALSE, "train_text_encoder", NULL),
    EXPECT(NOTHING, "trainable_modules", NULL),
    EXPECT(NOTHING, "trainable_text_modules", NULL),
    EXPECT(NOTHING, "extra_train_data", NULL),
    EXPECT(NOTHING, "extra_train_params", NULL),
    EXPECT(NOTHING, "extra_unet_params", NULL),
    EXPECT(NOTHING, "extra_text_encoder_params", NULL),
    EXPECT(NOTHING, "unet_lora_modules", NULL),
    EXPECT(NOTHING, "text_encoder_lora_modules", NULL),
    EXPECT(NOTHING, "lora_path", NULL),
    EXPECT(NOTHING, "resume_from_checkpoint", NULL),
    EXPECT(NOTHING, "resume_step", NULL),
    EXPECT(WORD, "train_batch_size", "1"),
    EXPECT(WORD, "dataset_types", "single_video"),
    EXPECT(WORD, "lora_version", "cloneofsimo"),
    EXPECT(WORD, "lora_bias", "none"),
    EXPECT(WORD, "lr_scheduler", "constant|" MM_WARMUP_SCHEDULER),
};

#define KEY_COUNT (sizeof(keys) / sizeof(*keys))

const mm_reference_key *mm_reference_key_find(const mm_option_table *table, const char *key)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].table == table && mm_option_names_equal(keys[i].key, key))
            return &keys[i];
    }
    return NULL;
}

static const char *const sections[] = {"train_data", "validation_data", "motion_extractor",
                                       "loss_weights"};

#define SECTION_COUNT (sizeof(sections) / sizeof(*sections))

bool mm_reference_section_known(const mm_option_table *table, const char *section)
{
    for (size_t i = 0; i < SECTION_COUNT && table == &mm_train_table; i++) {
        if (strcmp(sections[i], section) == 0)
            return true;
    }
    return false;
}

void mm_reference_key_offer(const mm_option_table *table, mm_nearest *nearest)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].table == table)
            mm_nearest_offer(nearest, keys[i].key);
    }
    for (size_t i = 0; i < SECTION_COUNT && table == &mm_train_table; i++)
        mm_nearest_offer(nearest, sections[i]);
}

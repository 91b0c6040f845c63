/* SPDX-License-Identifier: BSD-2-Clause */
/* The networks of a text-to-video diffusion model: configs from their JSON files, and builders. */
#ifndef MM_MODELS_NETWORKS_H
#define MM_MODELS_NETWORKS_H

#include "base/log.h"
#include "models/builder.h"

#define MM_MAX_LEVELS 8
#define MM_MAX_LAYERS 32 /* of a block */

/* UNet3DConditionModel: unet/config.json. */
typedef struct mm_unet_config {
    int64_t in_channels, out_channels;
    int32_t levels;
    int64_t block_out_channels[MM_MAX_LEVELS];
    bool down_attention[MM_MAX_LEVELS]; /* CrossAttnDownBlock3D or DownBlock3D */
    bool up_attention[MM_MAX_LEVELS];
    int64_t layers_per_block;
    int64_t cross_attention_dim, head_width; /* attention_head_dim */
    int64_t norm_groups;
    double norm_eps, mid_block_scale;
    int64_t downsample_padding;
    mm_activation_kind activation;
} mm_unet_config;

mm_status mm_unet_config_load(mm_unet_config *out, const char *path, mm_error *error);

/* All f32, as the results are, whatever the type of the activations between. */
typedef struct mm_unet_inputs {
    mm_node *latents;  /* [clips * frames, h, w, in_channels]; with one clip for several contexts,
                          what does not depend on the context is computed once */
    mm_node *timestep; /* f32 [clips of the latents] */
    mm_node *context;  /* encoder hidden states [clips, tokens, cross_attention_dim] */
} mm_unet_inputs;

/* Which attention maps to collect in the down path, and where building stops. */
typedef struct mm_unet_maps {
    int32_t spatial_level, temporal_level; /* index of the down block; -1: none of this kind */
    bool stop;    /* build nothing after the last map; the noise prediction is then NULL */
    mm_node *ca;  /* out: cross-attention maps averaged over heads and layers,
                     [clips * frames, h', w', tokens] */
    mm_node *tsa; /* out: temporal self-attention maps (attn1 and attn2 of every temporal
                     transformer), likewise averaged, [clips * h' * w', frames, frames] */
    int64_t tsa_height, tsa_width; /* out: their h' and w' */
} mm_unet_maps;

/* Returns the prediction [clips * frames, h, w, out_channels]; NULL after an error, or when stopped
   after the maps. maps may be NULL. A level without attention there is MM_ERR_USAGE in the graph.
 */
mm_node *mm_unet_build(mm_builder *builder, const mm_unet_config *config,
                       const mm_unet_inputs *inputs, mm_unet_maps *maps);
/* One throwaway build that declares every weight and site. */
mm_status mm_unet_declare(const mm_unet_config *config, mm_weight_set *weights, mm_site_list *sites,
                          mm_error *error);

/* AutoencoderKL: vae/config.json. */
typedef struct mm_vae_config {
    int64_t in_channels, out_channels, latent_channels;
    int32_t levels;
    int64_t block_out_channels[MM_MAX_LEVELS];
    int64_t layers_per_block, norm_groups;
    double scaling_factor; /* latents = sample * scaling_factor */
    mm_activation_kind activation;
    bool quant_conv, post_quant_conv, mid_attention;
} mm_vae_config;

mm_status mm_vae_config_load(mm_vae_config *out, const char *path, mm_error *error);
/* Pixels of a side for one latent: 2^(levels - 1). */
int64_t mm_vae_factor(const mm_vae_config *config);
/* pixels [F, H, W, 3] in -1..1 -> moments [F, h, w, 2 * latent] (mean, log-variance), unscaled. */
mm_node *mm_vae_build_encoder(mm_builder *builder, const mm_vae_config *config, mm_node *pixels);
/* latents [F, h, w, latent], unscaled -> pixels [F, H, W, 3]. */
mm_node *mm_vae_build_decoder(mm_builder *builder, const mm_vae_config *config, mm_node *latents);
mm_status mm_vae_declare(const mm_vae_config *config, mm_weight_set *weights, mm_error *error);

/* CLIPTextModel: text_encoder/config.json. */
typedef struct mm_clip_text_config {
    int64_t vocabulary, positions, width, intermediate, layers, heads;
    double norm_eps;
    mm_activation_kind activation;
} mm_clip_text_config;

mm_status mm_clip_text_config_load(mm_clip_text_config *out, const char *path, mm_error *error);
/* ids i64 [B, tokens] -> last hidden state after the final norm [B, tokens, width]. */
mm_node *mm_clip_text_build(mm_builder *builder, const mm_clip_text_config *config, mm_node *ids);
mm_status mm_clip_text_declare(const mm_clip_text_config *config, mm_weight_set *weights,
                               mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* AutoencoderKL: encoder and decoder, frame by frame. */
#include "models/layers.h"
#include "models/networks.h"

#define EPS 1e-6

typedef struct vae {
    mm_builder *b;
    const mm_vae_config *config;
    mm_resnet resnet;
} vae;

static vae start(mm_builder *b, const mm_vae_config *config)
{
    return (vae){b, config,
                 .resnet = {.groups = config->norm_groups,
                            .eps = EPS,
                            .scale = 1.0,
                            .activation = config->activation}};
}

static mm_node *resnet(vae *v, int32_t index, mm_node *x, int64_t out)
{
    const char *outer = mm_enter(v->b, "resnets.%d", index);
    x = mm_layer_resnet(v->b, &v->resnet, x, out);
    mm_leave(v->b, outer);
    return x;
}

/* One head as wide as the channels. */
static mm_node *attention(vae *v, mm_node *x)
{
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    if (!x)
        return NULL;
    const int64_t *dim = x->shape.dim;
    const char *outer = mm_enter(v->b, "attentions.0");
    mm_node *h = mm_layer_group_norm(v->b, "group_norm", x, v->config->norm_groups, EPS, dim[0],
                                     MM_ACTIVATION_NONE);
    h = mm_layer_linears(v->b, 3, qkv, h, dim[3], true, NULL);
    h = mm_attention(v->b->graph, h, (mm_sequences){dim[0], dim[1] * dim[2], 1}, 1, dim[3], false);
    x = mm_layer_linear(v->b, "to_out.0", h, dim[3], true, x);
    mm_leave(v->b, outer);
    return x;
}

static mm_node *mid_block(vae *v, mm_node *x)
{
    int64_t channels = v->config->block_out_channels[v->config->levels - 1];
    const char *outer = mm_enter(v->b, "mid_block");
    x = resnet(v, 0, x, channels);
    if (v->config->mid_attention)
        x = attention(v, x);
    x = resnet(v, 1, x, channels);
    mm_leave(v->b, outer);
    return x;
}

static mm_node *down_block(vae *v, int32_t level, mm_node *x)
{
    static const int32_t after[] = {0, 0, 1, 1};
    int64_t channels = v->config->block_out_channels[level];
    const char *outer = mm_enter(v->b, "down_blocks.%d", level);
    for (int32_t i = 0; i < v->config->layers_per_block; i++)
        x = resnet(v, i, x, channels);
    if (level + 1 < v->config->levels)
        x = mm_layer_conv(v->b, "downsamplers.0.conv", x, channels, 2, after, NULL);
    mm_leave(v->b, outer);
    return x;
}

static mm_node *up_block(vae *v, int32_t index, mm_node *x)
{
    int64_t channels = v->config->block_out_channels[v->config->levels - 1 - index];
    const char *outer = mm_enter(v->b, "up_blocks.%d", index);
    for (int32_t i = 0; i < v->config->layers_per_block + 1; i++)
        x = resnet(v, i, x, channels);
    if (x && index + 1 < v->config->levels)
        x = mm_layer_upsample(v->b, "upsamplers.0.conv", x, 2 * x->shape.dim[1],
                              2 * x->shape.dim[2]);
    mm_leave(v->b, outer);
    return x;
}

static mm_node *convolve_out(vae *v, mm_node *x, int64_t channels)
{
    if (!x)
        return NULL;
    x = mm_layer_group_norm(v->b, "conv_norm_out", x, v->config->norm_groups, EPS, x->shape.dim[0],
                            MM_ACTIVATION_SILU);
    return mm_layer_conv_same(v->b, "conv_out", x, channels, NULL);
}

static bool check_input(mm_builder *b, const mm_node *x, int64_t channels, int64_t factor)
{
    if (!x)
        return false;
    const int64_t *dim = x->shape.dim;
    if (x->shape.rank == 4 && dim[3] == channels && dim[1] % factor == 0 && dim[2] % factor == 0)
        return true;
    char shape[128];
    mm_graph_fail(b->graph, MM_ERR_INPUT,
                  "the VAE takes pictures of %lld channels with sides that are multiples of %lld, "
                  "not %s",
                  (long long)channels, (long long)factor,
                  mm_shape_text(&x->shape, shape, sizeof(shape)));
    return false;
}

mm_node *mm_vae_build_encoder(mm_builder *b, const mm_vae_config *config, mm_node *pixels)
{
    vae v = start(b, config);
    if (!check_input(b, pixels, config->in_channels, mm_vae_factor(config)))
        return NULL;
    const char *outer = mm_enter(b, "encoder");
    mm_node *x = mm_layer_conv_same(b, "conv_in", pixels, config->block_out_channels[0], NULL);
    for (int32_t i = 0; i < config->levels; i++)
        x = down_block(&v, i, x);
    x = mid_block(&v, x);
    x = convolve_out(&v, x, 2 * config->latent_channels);
    mm_leave(b, outer);
    return config->quant_conv ? mm_layer_conv_1x1(b, "quant_conv", x, 2 * config->latent_channels)
                              : x;
}

mm_node *mm_vae_build_decoder(mm_builder *b, const mm_vae_config *config, mm_node *latents)
{
    vae v = start(b, config);
    if (!check_input(b, latents, config->latent_channels, 1))
        return NULL;
    mm_node *x = config->post_quant_conv
                     ? mm_layer_conv_1x1(b, "post_quant_conv", latents, config->latent_channels)
                     : latents;
    const char *outer = mm_enter(b, "decoder");
    x = mm_layer_conv_same(b, "conv_in", x, config->block_out_channels[config->levels - 1], NULL);
    x = mid_block(&v, x);
    for (int32_t i = 0; i < config->levels; i++)
        x = up_block(&v, i, x);
    x = convolve_out(&v, x, config->out_channels);
    mm_leave(b, outer);
    return x;
}

mm_status mm_vae_declare(const mm_vae_config *config, mm_weight_set *weights, mm_error *error)
{
    mm_graph *g;
    MM_TRY(mm_graph_create(&g, MM_F32, error));
    mm_builder b = {.graph = g, .weights = weights, .frames = 1, .path = ""};
    int64_t factor = mm_vae_factor(config);
    mm_vae_build_encoder(
        &b, config,
        mm_input(g, "pixels", MM_F32, &MM_SHAPE(1, factor, factor, config->in_channels)));
    mm_vae_build_decoder(
        &b, config, mm_input(g, "latents", MM_F32, &MM_SHAPE(1, 1, 1, config->latent_channels)));
    mm_status status = mm_graph_status(g, error);
    mm_graph_free(&g);
    return status;
}

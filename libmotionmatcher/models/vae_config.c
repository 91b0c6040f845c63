/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/config_file.h"
#include "models/networks.h"

static const mm_vae_config class_defaults = {.levels = 1, .block_out_channels = {64}};

static mm_status read_blocks(mm_vae_config *c, const mm_json_document *d, mm_error *error)
{
    bool unused[MM_MAX_LEVELS];
    MM_TRY(mm_config_levels(d, MM_MAX_LEVELS, c->block_out_channels, &c->levels, error));
    MM_TRY(mm_config_blocks(d, "down_block_types", NULL, "DownEncoderBlock2D", c->levels, 1, unused,
                            error));
    MM_TRY(mm_config_blocks(d, "up_block_types", NULL, "UpDecoderBlock2D", c->levels, 1, unused,
                            error));
    return mm_json_get_int(d, d->root, "layers_per_block", 1, 1, MM_MAX_LAYERS,
                           &c->layers_per_block, error);
}

static mm_status read_channels(mm_vae_config *c, const mm_json_document *d, mm_error *error)
{
    MM_TRY(mm_config_channels(d, "in_channels", 3, &c->in_channels, error));
    MM_TRY(mm_config_channels(d, "out_channels", 3, &c->out_channels, error));
    if (c->in_channels != 3 || c->out_channels != 3)
        return mm_fail(error, MM_ERR_UNSUPPORTED,
                       "%s: only pictures of 3 channels are supported, not %lld in and %lld out",
                       d->path, (long long)c->in_channels, (long long)c->out_channels);
    return mm_config_channels(d, "latent_channels", 4, &c->latent_channels, error);
}

static mm_status read(mm_vae_config *c, const mm_json_document *d, mm_error *error)
{
    const mm_json *root = d->root;
    MM_TRY(mm_config_refuse(d, "latents_mean", error));
    MM_TRY(mm_config_refuse(d, "latents_std", error));
    MM_TRY(mm_config_refuse(d, "shift_factor", error));
    MM_TRY(read_blocks(c, d, error));
    MM_TRY(read_channels(c, d, error));
    MM_TRY(mm_config_groups(d, c->block_out_channels, c->levels, &c->norm_groups, error));
    MM_TRY(mm_config_activation(d, &c->activation, error));
    MM_TRY(mm_json_get_double(d, root, "scaling_factor", 0.18215, 1e-6, 1e6, &c->scaling_factor,
                              error));
    MM_TRY(mm_json_get_bool(d, root, "use_quant_conv", true, &c->quant_conv, error));
    MM_TRY(mm_json_get_bool(d, root, "use_post_quant_conv", true, &c->post_quant_conv, error));
    return mm_json_get_bool(d, root, "mid_block_add_attention", true, &c->mid_attention, error);
}

mm_status mm_vae_config_load(mm_vae_config *out, const char *path, mm_error *error)
{
    mm_json_document document;
    *out = class_defaults;
    MM_TRY(mm_config_open(&document, path, "AutoencoderKL", error));
    mm_status status = read(out, &document, error);
    mm_json_free(&document);
    return status;
}

int64_t mm_vae_factor(const mm_vae_config *config)
{
    return (int64_t)1 << (config->levels - 1);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/config_file.h"
#include "models/networks.h"

static const mm_unet_config class_defaults = {
    .levels = 4,
    .block_out_channels = {320, 640, 1280, 1280},
    .down_attention = {true, true, true, false},
    .up_attention = {false, true, true, true},
};

static mm_status read_blocks(mm_unet_config *c, const mm_json_document *d, mm_error *error)
{
    int32_t defaults = class_defaults.levels;
    MM_TRY(mm_config_levels(d, MM_MAX_LEVELS, c->block_out_channels, &c->levels, error));
    MM_TRY(mm_config_blocks(d, "down_block_types", "CrossAttnDownBlock3D", "DownBlock3D", c->levels,
                            defaults, c->down_attention, error));
    MM_TRY(mm_config_blocks(d, "up_block_types", "CrossAttnUpBlock3D", "UpBlock3D", c->levels,
                            defaults, c->up_attention, error));
    return mm_json_get_int(d, d->root, "layers_per_block", 2, 1, MM_MAX_LAYERS,
                           &c->layers_per_block, error);
}

/* A level whose transformers would have no head at all. The mid block always has a transformer. */
static mm_status check_heads(const mm_unet_config *c, const mm_json_document *d, mm_error *error)
{
    for (int32_t i = 0; i < c->levels; i++) {
        bool used =
            c->down_attention[i] || c->up_attention[c->levels - 1 - i] || i + 1 == c->levels;
        if (used && c->block_out_channels[i] < c->head_width)
            return mm_fail(error, MM_ERR_INPUT,
                           "%s: heads of width %lld (attention_head_dim) do not fit into %lld "
                           "channels",
                           d->path, (long long)c->head_width, (long long)c->block_out_channels[i]);
    }
    return MM_OK;
}

static mm_status read_numbers(mm_unet_config *c, const mm_json_document *d, mm_error *error)
{
    MM_TRY(mm_config_channels(d, "in_channels", 4, &c->in_channels, error));
    MM_TRY(mm_config_channels(d, "out_channels", 4, &c->out_channels, error));
    MM_TRY(mm_config_channels(d, "cross_attention_dim", 1024, &c->cross_attention_dim, error));
    MM_TRY(mm_json_get_int(d, d->root, "attention_head_dim", 64, 1, 1024, &c->head_width, error));
    MM_TRY(mm_config_groups(d, c->block_out_channels, c->levels, &c->norm_groups, error));
    MM_TRY(mm_json_get_double(d, d->root, "norm_eps", 1e-5, 0.0, 1.0, &c->norm_eps, error));
    MM_TRY(mm_json_get_double(d, d->root, "mid_block_scale_factor", 1.0, 1e-6, 1e6,
                              &c->mid_block_scale, error));
    return mm_json_get_int(d, d->root, "downsample_padding", 1, 0, 1, &c->downsample_padding,
                           error);
}

static mm_status read(mm_unet_config *c, const mm_json_document *d, mm_error *error)
{
    MM_TRY(mm_config_refuse(d, "num_attention_heads", error));
    MM_TRY(mm_config_refuse(d, "time_cond_proj_dim", error));
    MM_TRY(read_blocks(c, d, error));
    MM_TRY(read_numbers(c, d, error));
    MM_TRY(mm_config_activation(d, &c->activation, error));
    return check_heads(c, d, error);
}

mm_status mm_unet_config_load(mm_unet_config *out, const char *path, mm_error *error)
{
    mm_json_document document;
    *out = class_defaults;
    MM_TRY(mm_config_open(&document, path, "UNet3DConditionModel", error));
    mm_status status = read(out, &document, error);
    mm_json_free(&document);
    return status;
}

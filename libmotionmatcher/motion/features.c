/* SPDX-License-Identifier: BSD-2-Clause */
#include "motion/features.h"

mm_status mm_feature_level(const mm_unet_config *config, const char *option, int64_t scale,
                           int32_t *level, mm_error *error)
{
    int32_t log2 = 0;
    while (log2 < 62 && ((int64_t)1 << log2) < scale)
        log2++;
    if (scale != (int64_t)1 << log2)
        return mm_fail(error, MM_ERR_USAGE, "%s %lld is not a power of 2", option,
                       (long long)scale);
    if (log2 >= config->levels)
        return mm_fail(error, MM_ERR_USAGE, "%s %lld: this UNet has %d levels, so at most %lld",
                       option, (long long)scale, config->levels,
                       (long long)1 << (config->levels - 1));
    if (!config->down_attention[log2])
        return mm_fail(error, MM_ERR_USAGE,
                       "%s %lld: the UNet's down block %d has no attention to read maps from",
                       option, (long long)scale, log2);
    *level = log2;
    return MM_OK;
}

static int32_t level_of(const mm_unet_config *config, int64_t scale)
{
    int32_t level = -1;
    if (scale > 0 && mm_feature_level(config, "scale", scale, &level, NULL) != MM_OK)
        return -1;
    return level;
}

mm_motion_features mm_motion_features_build(mm_builder *frozen, const mm_unet_config *config,
                                            mm_feature_scales scales, const mm_unet_inputs *inputs,
                                            bool precise)
{
    mm_unet_maps maps = {
        .spatial_level = level_of(config, scales.spatial),
        .temporal_level = level_of(config, scales.temporal),
        .stop = true,
    };
    mm_graph_set_precise(frozen->graph, precise);
    mm_unet_build(frozen, config, inputs, &maps);
    mm_graph_set_precise(frozen->graph, false);
    return (mm_motion_features){maps.ca, maps.tsa, maps.tsa_height, maps.tsa_width};
}

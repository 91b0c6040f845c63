/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Motion features M(v) of a noised video v (MotionMatcher, section 4.2): read from the frozen
 * UNet's down path while it denoises v, CA:  softmax probabilities of the spatial transformers'
 * cross-attention, averaged over heads and layers, [frames, h', w', tokens]: where things are; TSA:
 * softmax probabilities of the temporal transformers' self-attention (attn1 and attn2), likewise
 * averaged, [h' w', frames, frames]: how frames relate at each place.
 */
#ifndef MM_MOTION_FEATURES_H
#define MM_MOTION_FEATURES_H

#include "models/networks.h"

typedef struct mm_feature_scales {
    int64_t spatial, temporal; /* maps at 1/s of the latents' size; 0: none of this kind */
} mm_feature_scales;

typedef struct mm_motion_features {
    mm_node *ca, *tsa;             /* NULL when not asked for */
    int64_t tsa_height, tsa_width; /* h' and w' of tsa */
} mm_motion_features;

/* The down block whose resolution is 1/scale: log2(scale). MM_ERR_USAGE: not a power of 2, deeper
   than the network, or a block without attention; names the option. */
mm_status mm_feature_level(const mm_unet_config *config, const char *option, int64_t scale,
                           int32_t *level, mm_error *error);

/* Appends the feature pass on v at a timestep; nothing after the last map is built. The builder has
   no adapter: features are the frozen network's. Features that are compared with others that differ
   little must be precise. */
mm_motion_features mm_motion_features_build(mm_builder *frozen, const mm_unet_config *config,
                                            mm_feature_scales scales, const mm_unet_inputs *inputs,
                                            bool precise);

#endif

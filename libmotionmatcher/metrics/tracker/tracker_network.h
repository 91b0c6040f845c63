/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracker's three networks: features of a frame, tokens of points, and their update. */
#ifndef MM_METRICS_TRACKER_NETWORK_H
#define MM_METRICS_TRACKER_NETWORK_H

#include "metrics/tracker/tracker.h"
#include "models/builder.h"
#include "weights/tensor_file.h"

#define MM_TRACKER_STAGES 4
#define MM_TRACKER_HEAD_WIDTH 48
#define MM_TRACKER_FREQUENCIES 10
/* Of a token: two raw logits first (visibility, confidence), the correlations of every level, then
   the point's displacements to its next and previous place and their sinusoids. */
#define MM_TRACKER_STATE 2
#define MM_TRACKER_MOTION (4 + 2 * 4 * MM_TRACKER_FREQUENCIES)

typedef struct mm_tracker_config {
    int64_t width, height;            /* of the scaled video */
    int64_t stem;                     /* channels after the first convolution */
    int64_t stage[MM_TRACKER_STAGES]; /* channels of the residual stages */
    int64_t fused, features;          /* channels of the last two convolutions */
    int32_t radius;                   /* of a correlation patch */
    int64_t correlation_hidden, correlation;
    int64_t window; /* frames of the stored time embedding */
    int64_t token, hidden, feed_forward;
    int64_t virtual_tracks, depth;
} mm_tracker_config;

/* Every size but width and height from the shapes in the file. MM_ERR_INPUT. */
mm_status mm_tracker_config_read(mm_tracker_config *config, const mm_tensor_file *file,
                                 mm_error *error);
/* Of a side of a level's feature map. */
static inline int64_t mm_tracker_map_side(int64_t pixels, int32_t level)
{
    return pixels / MM_TRACKER_STRIDE >> level;
}

/* What normalisation without scale and shift multiplies with and adds: inputs of ones and zeros,
   [mm_tracker_widest()] each. */
typedef struct mm_tracker_units {
    mm_node *one, *zero;
} mm_tracker_units;

int64_t mm_tracker_widest(const mm_tracker_config *config);
mm_tracker_units mm_tracker_build_units(mm_builder *builder, const mm_tracker_config *config);

/* pixels [F, H, W, 3] in -1..1, of any size -> [F, h, w, features], not normalised yet. */
mm_node *mm_tracker_build_features(mm_builder *builder, const mm_tracker_config *config,
                                   mm_tracker_units units, mm_node *pixels);

typedef struct mm_tracker_token_inputs {
    mm_node *map[MM_TRACKER_LEVELS]; /* [F, h, w, features] */
    mm_node *origins;                /* [P, 2] in pixels of the first map */
    mm_node *places;                 /* [F, P, 2], likewise */
    mm_node *state;                  /* [F, P, MM_TRACKER_STATE] */
    mm_node *motion;                 /* [F, P, MM_TRACKER_MOTION] */
    mm_node *time;                   /* [F, token] */
} mm_tracker_token_inputs;

mm_tracker_token_inputs mm_tracker_token_inputs_create(mm_builder *builder,
                                                       const mm_tracker_config *config,
                                                       int64_t frames, int64_t points);
/* -> [F, P, hidden] */
mm_node *mm_tracker_build_tokens(mm_builder *builder, const mm_tracker_config *config,
                                 const mm_tracker_token_inputs *inputs);

typedef struct mm_tracker_update {
    mm_node *flow, *state; /* [F, N, 2]: to be added to the places and logits */
} mm_tracker_update;

/* tokens [F, N, hidden] of all points. */
mm_tracker_update mm_tracker_build_update(mm_builder *builder, const mm_tracker_config *config,
                                          mm_tracker_units units, mm_node *tokens);

/* One throwaway build that declares every weight. */
mm_status mm_tracker_declare(const mm_tracker_config *config, mm_weight_set *weights,
                             mm_error *error);

#endif

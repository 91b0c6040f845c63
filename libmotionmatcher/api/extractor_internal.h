/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_EXTRACTOR_INTERNAL_H
#define MM_API_EXTRACTOR_INTERNAL_H

#include "api/latents.h"
#include "api/model_internal.h"
#include "api/options_internal.h"
#include "media/media.h"
#include "motion/feature_pass.h"
#include "motionmatcher/extractor.h"

/* What is looked at. */
typedef struct mm_extractor_clip {
    char *prompt;
    int64_t ids[MM_PROMPT_TOKENS];
    int64_t tokens;       /* before the padding */
    float *hidden_states; /* [77, D] */
    float *latents;       /* [F, h, w, C]; NULL: no clip */
    mm_frames frames;     /* none for a clip that came as latents */
} mm_extractor_clip;

struct mm_extractor {
    mm_model *model;
    mm_options *options;
    const mm_feature_config *config;
    mm_latent_shape shape;
    mm_feature_pass *pass;
    size_t encoding_bytes, planned_peak_bytes; /* of the process */
    float *noise;                              /* of the options' file, or NULL */
    mm_extractor_clip clip;
    mm_tensor *ca;    /* of the last run [F, h', w', 77]; NULL before */
    mm_tensor *tsa;   /* [h', w', F, F] */
    int64_t timestep; /* of the last run */
    bool seeded;      /* its noise came from the seed */
};

#endif

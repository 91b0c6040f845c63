/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_SAMPLER_INTERNAL_H
#define MM_API_SAMPLER_INTERNAL_H

#include "api/drawing.h"
#include "api/options_internal.h"
#include "motionmatcher/sampler.h"

struct mm_sampler {
    mm_model *model;
    mm_options *options;
    const mm_sample_config *config;
    mm_lora_set *lora; /* the sets themselves */
    mm_lora_use *use;
    mm_lora_stack stack;
    int64_t min_timestep;
    double noise_prior;
    mm_drawing drawing;
    mm_video *video;     /* the reference, where a video was given */
    float *reference;    /* its latents, which the noise prior inverts; NULL: no noise prior */
    mm_tensor *inverted; /* the noise they come from, once it is known */
    float *start;        /* given start, or NULL */
    float *prompt, *negative, *empty; /* hidden states */
    mm_tensor *latents;               /* of the last video; NULL before */
};

/* sampler_inputs.c: everything that the options name is opened and checked before anything runs. */
mm_status mm_sampler_read_loras(mm_sampler *sampler, mm_error *error);
mm_status mm_sampler_read_latents(mm_sampler *sampler, mm_error *error);
/* Reads the reference's latents, or decodes its video. */
mm_status mm_sampler_read_reference(mm_sampler *sampler, mm_error *error);
/* Encodes the video; does nothing where the latents are known. */
mm_status mm_sampler_encode_reference(mm_sampler *sampler, mm_error *error);
mm_status mm_sampler_check_outputs(const mm_sampler *sampler, mm_error *error);

/* "<folder>/checkpoint-<index>", the newest when no index was given. Fresh. */
mm_status mm_sampler_checkpoint_path(const mm_sample_config *config, char **out, mm_error *error);

/* "path[:weight]"; the path is fresh. */
mm_status mm_sampler_split_weight(const char *text, char **path, double *weight, mm_error *error);

/* sampler_outputs.c */
mm_status mm_sampler_write(mm_sampler *sampler, int64_t seed, mm_video **video, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A text-to-video model directory: its networks' configs and schemas, checked against the files at
 * opening; weights come and go with the work (text, then frames, then the UNet), so that they are
 * never in memory together unless a task needs them together.
 */
#ifndef MM_MODELS_DIFFUSION_MODEL_H
#define MM_MODELS_DIFFUSION_MODEL_H

#include "graph/executable.h"
#include "models/networks.h"
#include "text/tokenizer.h"

#define MM_PROMPT_TOKENS 77

/* A network's weights and the file they come from. */
typedef struct mm_component {
    mm_weight_set weights;
    char *path;
    bool loaded;
} mm_component;

typedef struct mm_diffusion_model {
    char *directory;
    mm_unet_config unet_config;
    mm_vae_config vae_config;
    mm_clip_text_config text_config;
    mm_component unet, vae, text;
    mm_site_list sites;
    mm_tokenizer *tokenizer;
} mm_diffusion_model;

/* What running a part of the model needs from the context. */
typedef struct mm_runtime {
    mm_backend *backend;
    const mm_logger *logger;
    const atomic_int *cancel;
    /* Called after a component's weights were read; may be NULL. */
    void (*loaded)(void *user, double seconds);
    void *user;
} mm_runtime;

/* precision: of the UNet's weights and activations, MM_F32 or MM_BF16. */
mm_status mm_diffusion_model_open(mm_diffusion_model *out, const char *directory,
                                  mm_dtype precision, const mm_logger *logger, mm_error *error);
static inline mm_dtype mm_diffusion_model_precision(const mm_diffusion_model *model)
{
    return model->unet.weights.dtype;
}
/* Components must have been released. */
void mm_diffusion_model_close(mm_diffusion_model *model);

mm_status mm_component_load(mm_component *component, const mm_runtime *runtime, mm_error *error);
void mm_component_release(mm_component *component, mm_backend *backend);
/* Bytes of the weights once loaded. */
size_t mm_component_bytes(const mm_component *component, const mm_backend *backend);

/* Token ids [77] of a prompt; a notice when it was cut. */
mm_status mm_tokenize_prompt(const mm_diffusion_model *model, const mm_logger *logger,
                             const char *prompt, int64_t *ids, mm_error *error);
/* Ids [77] -> encoder hidden states [77, cross_attention_dim]. Loads the text encoder when needed.
 */
mm_status mm_encode_prompt(mm_diffusion_model *model, const mm_runtime *runtime, const int64_t *ids,
                           float *hidden_states, mm_error *error);

/* Frames go through the VAE in slices, so that memory does not grow with their number. */
typedef struct mm_vae_slicing {
    int64_t frames; /* of one slice */
    size_t arena_bytes;
} mm_vae_slicing;

/* Plans one direction for pictures of the given size in pixels. */
mm_status mm_vae_plan(mm_diffusion_model *model, mm_backend *backend, bool decode, int64_t frames,
                      int64_t height, int64_t width, mm_vae_slicing *out, mm_error *error);
/* pixels [F, H, W, 3] in -1..1 -> moments [F, h, w, 2 * latent channels]. */
mm_status mm_encode_frames(mm_diffusion_model *model, const mm_runtime *runtime,
                           const float *pixels, int64_t frames, int64_t height, int64_t width,
                           float *moments, mm_error *error);
/* latents [F, h, w, latent channels], scaled -> RGB [F, H, W, 3], truncated to 8 bits as the
   released code does. */
mm_status mm_decode_latents(mm_diffusion_model *model, const mm_runtime *runtime,
                            const float *latents, int64_t frames, int64_t height, int64_t width,
                            uint8_t *rgb, mm_error *error);

#endif

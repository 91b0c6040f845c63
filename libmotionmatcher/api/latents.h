/* SPDX-License-Identifier: BSD-2-Clause */
/* Latents in files are [1, channels, frames, h, w], in memory [frames, h, w, channels]. */
#ifndef MM_API_LATENTS_H
#define MM_API_LATENTS_H

#include "base/tensor.h"
#include "weights/tensor_file.h"

typedef struct mm_latent_shape {
    int64_t frames, height, width, channels;
} mm_latent_shape;

size_t mm_latent_elements(const mm_latent_shape *shape);
void mm_latents_to_memory(const mm_latent_shape *shape, const float *file, float *memory);
void mm_latents_to_file(const mm_latent_shape *shape, const float *memory, float *file);

/* Reads tensor `name` [1, C, F, h, w] or [C, F, h, w] into fresh memory, `*shape` receives its
   shape. MM_ERR_INPUT: missing, another rank, or other channels than `channels`. */
mm_status mm_latents_read(const char *path, const char *name, int64_t channels,
                          mm_latent_shape *shape, float **out, mm_error *error);
/* As above with a shape it must have. */
mm_status mm_latents_read_exact(const char *path, const char *name, const mm_latent_shape *shape,
                                float **out, mm_error *error);
/* Writes one tensor [1, C, F, h, w] to a safetensors file. */
mm_status mm_latents_write(const char *path, const char *name, const mm_latent_shape *shape,
                           const float *latents, mm_error *error);

/* Latents in memory as a tensor [1, C, F, h, w]. Takes them over, also when it fails. */
mm_status mm_latents_wrap(mm_tensor **out, const mm_latent_shape *shape, float *latents,
                          mm_error *error);
/* A tensor [1, C, F, h, w] or [C, F, h, w] as latents in memory, fresh. MM_ERR_USAGE: another
   shape, or no floating-point numbers; `what` names them. */
mm_status mm_latents_from_tensor(float **out, const mm_tensor *tensor, const mm_latent_shape *shape,
                                 const char *what, mm_error *error);

#endif

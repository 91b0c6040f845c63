/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_MODEL_INTERNAL_H
#define MM_API_MODEL_INTERNAL_H

#include "api/context_internal.h"
#include "models/diffusion_model.h"
#include "motionmatcher/model.h"
#include "motionmatcher/video.h"
#include "sampling/scheduler.h"

struct mm_model {
    atomic_int references;
    mm_context *context;
    mm_diffusion_model parts;
    mm_scheduler scheduler;
    size_t baseline_bytes; /* resident without anything of this model */
};

/* Adds a reference for a child handle, which drops it with mm_model_free(). Returns model. */
mm_model *mm_model_retain(mm_model *model);
/* What running the model's parts needs. Reports loading through the context. */
mm_runtime mm_model_runtime(mm_model *model);
/* MM_ERR_USAGE unless both sides are multiples of the VAE's factor. */
mm_status mm_model_check_size(const mm_model *model, int64_t width, int64_t height,
                              mm_error *error);
/* Hidden states [77, D] of a text, fresh; the text encoder stays loaded until it is released. */
mm_status mm_model_encode_text(mm_model *model, const char *prompt, float **out, mm_error *error);
/* Latents of a video's frames, fresh: the mean of the VAE's posterior, scaled, [F, h, w, C]. The
   VAE stays loaded until it is released. */
mm_status mm_model_encode_video(mm_model *model, const mm_video *video, float **out,
                                mm_error *error);
/* Releases what is not needed while the UNet works. */
void mm_model_release_coders(mm_model *model);

#endif

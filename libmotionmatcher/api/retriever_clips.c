/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "api/retriever_internal.h"
#include "api/tracking.h"
#include "api/video_internal.h"
#include "base/memory.h"
#include "metrics/retrieval.h"

static void forget(mm_retrieved_clip *clip)
{
    mm_free(clip->ca);
    mm_free(clip->tsa);
    mm_free(clip->latents);
    mm_tracks_free(&clip->tracks);
    clip->ca = clip->tsa = clip->latents = NULL;
}

void mm_retriever_free_clips(mm_retriever *r)
{
    for (size_t i = 0; i < r->count; i++) {
        forget(&r->clip[i]);
        mm_free(r->clip[i].path);
    }
    mm_free(r->clip);
}

/* Whether both lead to one file, or are one text where there is no file. */
static bool same_file(const char *a, const char *b)
{
    if (strcmp(a, b) == 0)
        return true;
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool same = real_a && real_b && strcmp(real_a, real_b) == 0;
    free(real_a);
    free(real_b);
    return same;
}

mm_status mm_retriever_add_clip(mm_retriever *r, const char *path, mm_error *error)
{
    for (size_t i = 0; i < r->count; i++) {
        if (same_file(r->clip[i].path, path))
            return MM_OK;
    }
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        mm_retrieved_clip *grown = mm_realloc(r->clip, capacity * sizeof(*grown));
        if (!grown)
            return mm_fail_memory(error, "a list of videos", capacity * sizeof(*grown));
        r->clip = grown;
        r->capacity = capacity;
    }
    char *copy = mm_strdup(path);
    if (!copy)
        return mm_fail_memory(error, "a path", strlen(path));
    r->clip[r->count++] = (mm_retrieved_clip){.path = copy};
    return MM_OK;
}

static mm_status decode(const mm_retriever *r, const char *path, mm_video **out, mm_error *error)
{
    const mm_retrieve_config *c = r->config;
    mm_decode_request request = {.start_frame = c->start_frame,
                                 .frame_step = c->frame_step,
                                 .frame_count = c->num_frames,
                                 .width = (int32_t)c->width,
                                 .height = (int32_t)c->height,
                                 .scaling = (mm_scaling)c->scaling};
    return mm_video_decode_clip(out, path, &request, &r->model->context->logger, error);
}

/* What the option says, else the .json beside the video, else nothing; fresh. */
static mm_status find_prompt(mm_retriever *r, const char *path, char **out, mm_error *error)
{
    *out = NULL;
    if (!r->config->prompt)
        MM_TRY(mm_video_read_description_prompt(path, out, error));
    if (!r->config->prompt && !*out && !r->told_of_missing_prompt) {
        mm_log(&r->model->context->logger, MM_LOG_NOTICE,
               "%s: no .json beside it tells what it shows; such videos are looked at with an "
               "empty prompt",
               path);
        r->told_of_missing_prompt = true;
    }
    if (!*out)
        *out = mm_strdup(r->config->prompt ? r->config->prompt : "");
    return *out ? MM_OK : mm_fail_memory(error, "a prompt", 1);
}

static mm_status keep(float **out, const float *values, size_t count, mm_error *error)
{
    *out = mm_malloc(count * sizeof(float));
    if (!*out)
        return mm_fail_memory(error, "features", count * sizeof(float));
    memcpy(*out, values, count * sizeof(float));
    return MM_OK;
}

typedef struct feature_sizes {
    size_t ca, tsa, latents;
} feature_sizes;

static feature_sizes sizes_of(const mm_extractor *x)
{
    return (feature_sizes){(size_t)mm_shape_elements(mm_feature_pass_ca_shape(x->pass)),
                           (size_t)mm_shape_elements(mm_feature_pass_tsa_shape(x->pass)),
                           mm_latent_elements(&x->shape)};
}

static mm_status keep_features(mm_retriever *r, mm_retrieved_clip *clip, mm_error *error)
{
    const mm_extractor *x = r->extractor;
    feature_sizes n = sizes_of(x);
    MM_TRY(keep(&clip->ca, x->ca->data, n.ca, error));
    MM_TRY(keep(&clip->tsa, x->tsa->data, n.tsa, error));
    return keep(&clip->latents, x->clip.latents, n.latents, error);
}

/* A public function's failure, with the path before its message. */
static mm_status fail_again(mm_status status, const char *path, mm_error *error)
{
    return status == MM_OK ? MM_OK : mm_fail(error, status, "%s: %s", path, mm_last_error());
}

static mm_status extract(mm_retriever *r, mm_retrieved_clip *clip, const mm_video *video,
                         const char *prompt, mm_error *error)
{
    mm_status status = mm_extractor_set_video(r->extractor, video, prompt);
    if (status == MM_OK)
        status = mm_extractor_run(r->extractor);
    MM_TRY(fail_again(status, clip->path, error));
    return keep_features(r, clip, error);
}

mm_status mm_retriever_look(mm_retriever *r, mm_retrieved_clip *clip, mm_error *error)
{
    mm_video *video = NULL;
    char *prompt = NULL;
    forget(clip);
    MM_TRY(decode(r, clip->path, &video, error));
    mm_status status = find_prompt(r, clip->path, &prompt, error);
    if (status == MM_OK)
        status = extract(r, clip, video, prompt, error);
    if (status != MM_OK)
        forget(clip);
    mm_free(prompt);
    mm_video_free(&video);
    return status;
}

mm_status mm_retriever_track(mm_retriever *r, mm_retrieved_clip *clip, mm_error *error)
{
    mm_video *video = NULL;
    MM_TRY(decode(r, clip->path, &video, error));
    mm_runtime runtime = mm_model_runtime(r->model);
    mm_tracker_request request = {&video->frames, r->config->grid, mm_tracking_report,
                                  r->model->context};
    mm_tracks_free(&clip->tracks);
    mm_status status = mm_tracker_run(r->tracker, &runtime, &request, &clip->tracks, error);
    if (status != MM_OK)
        mm_error_prefix(error, "%s", clip->path);
    mm_video_free(&video);
    return status;
}

size_t mm_retriever_clip_bytes(const mm_retriever *r)
{
    feature_sizes n = sizes_of(r->extractor);
    size_t places = (size_t)(r->config->num_frames * r->config->grid * r->config->grid);
    return (n.ca + n.tsa + n.latents) * sizeof(float) + (r->tracker ? places * 9 : 0);
}

void mm_retriever_measure(const mm_retriever *r, const mm_retrieved_clip *a,
                          const mm_retrieved_clip *b, double distance[MM_DISTANCE_COUNT])
{
    feature_sizes n = sizes_of(r->extractor);
    size_t frames = (size_t)r->config->num_frames;
    distance[MM_DISTANCE_CA] = mm_mean_squared_distance(a->ca, b->ca, n.ca);
    distance[MM_DISTANCE_TSA] = mm_mean_squared_distance(a->tsa, b->tsa, n.tsa);
    distance[MM_DISTANCE_MOTION] = r->config->spatial_weight * distance[MM_DISTANCE_CA] +
                                   r->config->temporal_weight * distance[MM_DISTANCE_TSA];
    distance[MM_DISTANCE_LATENTS] = mm_mean_squared_distance(a->latents, b->latents, n.latents);
    distance[MM_DISTANCE_RESIDUALS] =
        mm_residual_distance(a->latents, b->latents, frames, n.latents / frames);
}

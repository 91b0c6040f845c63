/* SPDX-License-Identifier: BSD-2-Clause */
/* Small pieces of work through the public handles, whose results are a number that is the same for
   equal results. */
#ifndef MM_TESTS_EMBEDDING_H
#define MM_TESTS_EMBEDDING_H

#include "check.h"
#include "motionmatcher/extractor.h"
#include "motionmatcher/lora.h"
#include "motionmatcher/sampler.h"
#include "motionmatcher/trainer.h"

#define MODEL FIXTURES "/quickstart-model"
#define OTHER_MODEL FIXTURES "/tiny-v-model"
#define LORA FIXTURES "/lora/diffusers.safetensors"
#define FRAMES 2
#define SIDE 32

/* FNV-1a. */
static inline uint64_t work_sum(const void *data, size_t bytes)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return sum;
}

static inline mm_status work_context(mm_context **out, const char *threads)
{
    mm_options *options = NULL;
    mm_status status = mm_options_create(&options, "context");
    if (status == MM_OK)
        status = mm_options_set(options, "threads", threads, MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_context_create(out, options);
    mm_options_free(&options);
    return status;
}

/* Options of a table from name, value, ..., NULL. */
static inline mm_status work_options(mm_options **out, const char *table, const char *const *pairs)
{
    mm_status status = mm_options_create(out, table);
    for (; status == MM_OK && *pairs; pairs += 2)
        status = mm_options_set(*out, pairs[0], pairs[1], MM_SOURCE_SET);
    return status;
}

static inline mm_status work_video(mm_video **out)
{
    const int64_t shape[] = {FRAMES, SIDE, SIDE, 3};
    const size_t bytes = FRAMES * SIDE * SIDE * 3;
    uint8_t *frames = malloc(bytes);
    mm_tensor *tensor = NULL;
    assert_non_null(frames);
    for (size_t i = 0; i < bytes; i++)
        frames[i] = (uint8_t)(i * 7 + i / 1000 * 31);
    mm_status status = mm_tensor_wrap(&tensor, frames, "u8", 4, shape, NULL, free, frames);
    if (status != MM_OK) {
        free(frames);
        return status;
    }
    status = mm_video_from_tensor(out, tensor, 8.0);
    mm_tensor_free(&tensor);
    return status;
}

/* Of all bytes of a packed tensor; frees it. */
static inline uint64_t work_tensor_sum(mm_tensor *tensor, size_t element)
{
    size_t bytes = tensor ? element : 0;
    for (int32_t i = 0; i < mm_tensor_rank(tensor); i++)
        bytes *= (size_t)mm_tensor_shape(tensor)[i];
    uint64_t sum = work_sum(mm_tensor_data(tensor), bytes);
    mm_tensor_free(&tensor);
    return sum;
}

static inline mm_status work_sampler(mm_sampler **out, mm_model *model)
{
    static const char *const pairs[] = {
        "prompt", "a red circle",   "width", "32", "height", "32", "num_frames", "2", "num_steps",
        "3",      "guidance_scale", "4",     NULL};
    mm_options *options = NULL;
    mm_status status = work_options(&options, "sample", pairs);
    if (status == MM_OK)
        status = mm_sampler_create(out, model, options);
    mm_options_free(&options);
    return status;
}

static inline mm_status work_sampler_sum(mm_sampler *sampler, uint64_t *sum)
{
    mm_video *video = NULL;
    mm_tensor *frames = NULL;
    mm_status status = mm_sampler_run(sampler, &video);
    if (status == MM_OK)
        status = mm_video_tensor(video, &frames);
    *sum = work_tensor_sum(frames, 1);
    mm_video_free(&video);
    return status;
}

static inline mm_status work_sample(mm_model *model, uint64_t *sum)
{
    mm_sampler *sampler = NULL;
    mm_status status = work_sampler(&sampler, model);
    if (status == MM_OK)
        status = work_sampler_sum(sampler, sum);
    mm_sampler_free(&sampler);
    return status;
}

/* directory: NULL for a run that writes nothing. */
static inline mm_status work_trainer(mm_trainer **out, mm_model *model, const char *directory)
{
    const char *const pairs[] = {"width",
                                 "32",
                                 "height",
                                 "32",
                                 "num_frames",
                                 "2",
                                 "steps",
                                 "2",
                                 "rank",
                                 "2",
                                 "spatial_scale_factor",
                                 "2",
                                 "temporal_scale_factor",
                                 "2",
                                 "validation_every",
                                 "0",
                                 directory ? "output_dir" : NULL,
                                 directory,
                                 NULL};
    mm_options *options = NULL;
    mm_video *video = NULL;
    mm_status status = work_options(&options, "train", pairs);
    if (status == MM_OK)
        status = mm_trainer_create(out, model, options);
    if (status == MM_OK)
        status = work_video(&video);
    if (status == MM_OK)
        status = mm_trainer_add_clip(*out, video, "a red circle");
    mm_video_free(&video);
    mm_options_free(&options);
    return status;
}

static inline mm_status work_train(mm_model *model, const char *directory)
{
    mm_trainer *trainer = NULL;
    mm_status status = work_trainer(&trainer, model, directory);
    if (status == MM_OK)
        status = mm_trainer_run(trainer);
    mm_trainer_free(&trainer);
    return status;
}

static inline mm_status work_extractor(mm_extractor **out, mm_model *model)
{
    static const char *const pairs[] = {"width",
                                        "32",
                                        "height",
                                        "32",
                                        "num_frames",
                                        "2",
                                        "spatial_scale_factor",
                                        "2",
                                        "temporal_scale_factor",
                                        "2",
                                        NULL};
    mm_options *options = NULL;
    mm_video *video = NULL;
    mm_status status = work_options(&options, "features", pairs);
    if (status == MM_OK)
        status = mm_extractor_create(out, model, options);
    if (status == MM_OK)
        status = work_video(&video);
    if (status == MM_OK)
        status = mm_extractor_set_video(*out, video, "a red circle");
    mm_video_free(&video);
    mm_options_free(&options);
    return status;
}

static inline mm_status work_extractor_sum(mm_extractor *extractor, int64_t timestep, uint64_t *sum)
{
    mm_status status = mm_extractor_run_at(extractor, timestep, NULL);
    mm_tensor *ca = NULL;
    if (status == MM_OK)
        status = mm_extractor_ca(extractor, &ca);
    *sum = work_tensor_sum(ca, sizeof(float));
    return status;
}

static inline mm_status work_features(mm_model *model, uint64_t *sum)
{
    mm_extractor *extractor = NULL;
    mm_status status = work_extractor(&extractor, model);
    if (status == MM_OK)
        status = work_extractor_sum(extractor, 500, sum);
    mm_extractor_free(&extractor);
    return status;
}

#endif

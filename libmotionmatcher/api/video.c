/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/video_internal.h"

#include <math.h>
#include <string.h>

#include "api/context_internal.h"
#include "api/options_internal.h"
#include "api/status_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* The tensor is kept alive. */
static mm_status make_video(mm_video **out, const mm_tensor *tensor, double fps, mm_error *error)
{
    const int64_t *size = tensor->shape.dim;
    mm_video *video = *out = mm_malloc(sizeof(*video));
    if (!video)
        return mm_fail_memory(error, "a video", sizeof(*video));
    *video = (mm_video){
        .frames = {size[0], (int32_t)size[2], (int32_t)size[1], fps, tensor->data},
        .tensor = mm_tensor_retain(tensor),
    };
    return MM_OK;
}

mm_status mm_video_wrap(mm_video **out, mm_frames *frames, mm_error *error)
{
    mm_tensor *tensor = NULL;
    const mm_shape shape = MM_SHAPE(frames->count, frames->height, frames->width, 3);
    mm_status status =
        mm_tensor_make(&tensor, MM_U8, &shape, NULL, frames->data, mm_free, frames->data, error);
    if (status != MM_OK) {
        mm_frames_free(frames);
        return status;
    }
    status = make_video(out, tensor, frames->fps, error);
    mm_tensor_free(&tensor);
    *frames = (mm_frames){0};
    return status;
}

mm_status mm_video_decode_clip(mm_video **out, const char *path, const mm_decode_request *request,
                               const mm_logger *logger, mm_error *error)
{
    mm_frames frames = {0};
    MM_TRY(mm_media_decode(&frames, path, request, logger, error));
    return mm_video_wrap(out, &frames, error);
}

/* The options have the same names in every table that describes a clip. */
#define REQUEST(config)                           \
    ((mm_decode_request){                         \
        .start_frame = (config)->start_frame,     \
        .frame_step = (config)->frame_step,       \
        .frame_count = (config)->num_frames,      \
        .width = (int32_t)(config)->width,        \
        .height = (int32_t)(config)->height,      \
        .scaling = (mm_scaling)(config)->scaling, \
    })

/* False for a table without such options. */
static bool fill_request(const mm_options *options, mm_decode_request *out)
{
    const mm_train_config *train = mm_options_train(options);
    const mm_feature_config *features = mm_options_features(options);
    if (train)
        *out = REQUEST(train);
    else if (features)
        *out = REQUEST(features);
    return train || features;
}

mm_status mm_video_decode(mm_video **out, mm_context *context, const char *path,
                          const mm_options *options)
{
    if (out)
        *out = NULL;
    mm_decode_request request;
    if (!out || !context || !path || !options || !fill_request(options, &request))
        return mm_api_misuse(
            __func__,
            "out, context, path and options of table \"train\" or \"features\" are needed");
    mm_error error = {0};
    return mm_api_return(mm_video_decode_clip(out, path, &request, &context->logger, &error),
                         &error);
}

mm_status mm_video_probe(const char *path, mm_video_info *info)
{
    if (!path || !info || info->struct_size < sizeof(*info))
        return mm_api_misuse(__func__, "path and info with its struct_size set are needed");
    mm_media_info found;
    mm_error error = {0};
    mm_status status = mm_media_probe(&found, path, &error);
    if (status == MM_OK) {
        info->width = found.width;
        info->height = found.height;
        info->frames = found.frames;
        info->fps = found.fps;
        memcpy(info->codec, found.codec, sizeof(info->codec));
    }
    return mm_api_return(status, &error);
}

static mm_status check_frames(const mm_tensor *frames, mm_error *error)
{
    const int64_t *size = frames->shape.dim;
    char text[96];
    if (frames->dtype == MM_U8 && frames->shape.rank == 4 && size[3] == 3 && size[0] >= 1 &&
        size[1] >= 1 && size[2] >= 1 && size[1] <= INT32_MAX && size[2] <= INT32_MAX)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "the frames are %s of the shape %s; u8 [frames, height, width, 3] is needed",
                   mm_dtype_name(frames->dtype), mm_shape_text(&frames->shape, text, sizeof(text)));
}

static mm_status from_tensor(mm_video **out, const mm_tensor *frames, double fps, mm_error *error)
{
    mm_tensor *packed = NULL;
    MM_TRY(check_frames(frames, error));
    MM_TRY(mm_tensor_pack(&packed, frames, error));
    mm_status status = make_video(out, packed, fps, error);
    mm_tensor_free(&packed);
    return status;
}

mm_status mm_video_from_tensor(mm_video **out, const mm_tensor *frames, double fps)
{
    if (out)
        *out = NULL;
    if (!out || !frames)
        return mm_api_misuse(__func__, "out and frames must not be NULL");
    if (!(fps >= 0.0 && isfinite(fps)))
        return mm_api_misuse(__func__, "fps must be 0 (unknown) or more");
    mm_error error = {0};
    return mm_api_return(from_tensor(out, frames, fps, &error), &error);
}

void mm_video_free(mm_video **video)
{
    if (!video || !*video)
        return;
    mm_tensor_free(&(*video)->tensor);
    mm_free(*video);
    *video = NULL;
}

int64_t mm_video_frames(const mm_video *video)
{
    return video ? video->frames.count : 0;
}

int64_t mm_video_width(const mm_video *video)
{
    return video ? video->frames.width : 0;
}

int64_t mm_video_height(const mm_video *video)
{
    return video ? video->frames.height : 0;
}

double mm_video_fps(const mm_video *video)
{
    return video ? video->frames.fps : 0.0;
}

mm_status mm_video_tensor(const mm_video *video, mm_tensor **out)
{
    if (out)
        *out = NULL;
    if (!video || !out)
        return mm_api_misuse(__func__, "video and out must not be NULL");
    *out = mm_tensor_retain(video->tensor);
    return MM_OK;
}

mm_status mm_video_write(const mm_video *video, mm_context *context, const char *path)
{
    if (!video || !context || !path)
        return mm_api_misuse(__func__, "video, context and path must not be NULL");
    mm_error error = {0};
    return mm_api_return(mm_media_write(path, &video->frames, &context->logger, &error), &error);
}

mm_status mm_video_check_size(const mm_video *video, int64_t count, int64_t width, int64_t height,
                              mm_error *error)
{
    const mm_frames *frames = &video->frames;
    if (frames->count == count && frames->width == width && frames->height == height)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "the clip has %lld frames of %dx%d, the options say %lld of %lldx%lld",
                   (long long)frames->count, frames->width, frames->height, (long long)count,
                   (long long)width, (long long)height);
}

char *mm_video_description_path(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
    return mm_format("%.*s.json", (int)stem, path);
}

static mm_status read_prompt(const char *description, char **out, mm_error *error)
{
    mm_json_document document;
    const char *prompt = NULL;
    MM_TRY(mm_json_load(&document, description, error));
    mm_status status = mm_json_get_string(&document, document.root, "prompt", NULL, &prompt, error);
    if (status == MM_OK && prompt) {
        *out = mm_strdup(prompt);
        status = *out ? MM_OK : mm_fail_memory(error, "a prompt", strlen(prompt));
    }
    mm_json_free(&document);
    return status;
}

mm_status mm_video_read_description_prompt(const char *path, char **out, mm_error *error)
{
    *out = NULL;
    char *description = mm_video_description_path(path);
    mm_status status = MM_OK;
    if (!description)
        status = mm_fail_memory(error, "a path", strlen(path));
    else if (mm_path_is_file(description))
        status = read_prompt(description, out, error);
    mm_free(description);
    return status;
}

mm_status mm_video_read_prompt(const char *path, char **out)
{
    if (out)
        *out = NULL;
    if (!path || !out)
        return mm_api_misuse(__func__, "path and out must not be NULL");
    mm_error error = {0};
    return mm_api_return(mm_video_read_description_prompt(path, out, &error), &error);
}

const char *mm_video_backend_versions(void)
{
    return mm_media_versions();
}

mm_status mm_video_to_floats(const mm_video *video, float **out, mm_error *error)
{
    const mm_frames *frames = &video->frames;
    size_t count = (size_t)frames->count * (size_t)frames->width * (size_t)frames->height * 3;
    *out = mm_malloc(count * sizeof(float));
    if (!*out)
        return mm_fail_memory(error, "frames", count * sizeof(float));
    for (size_t i = 0; i < count; i++)
        (*out)[i] = (float)frames->data[i] / 127.5f - 1.0f;
    return MM_OK;
}

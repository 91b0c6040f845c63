/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "api/sampler_internal.h"
#include "api/video_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "motionmatcher/version.h"

static char *output_path(const mm_sampler *s, int64_t seed)
{
    if (s->config->output)
        return mm_strdup(s->config->output);
    char *name = mm_prompt_file_name(s->config->prompt);
    char *path =
        name ? mm_format("%s/%s_%lld.mp4", s->config->output_dir, name, (long long)seed) : NULL;
    mm_free(name);
    return path;
}

/* "video.mp4" -> "video.json". */
static char *sidecar_path(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
    return mm_format("%.*s.json", (int)stem, path);
}

/* The options that draw this one video again: a config for mm-infer. */
static mm_status describe(const mm_sampler *s, int64_t seed, char **json, mm_error *error)
{
    mm_options *one = NULL;
    char *text = mm_format("%lld", (long long)seed);
    mm_status status =
        text ? mm_options_copy(&one, s->options, error) : mm_fail_memory(error, "a seed", 0);
    if (status == MM_OK)
        status = mm_options_assign(one, "seed", text, MM_SOURCE_COMMAND_LINE, error);
    if (status == MM_OK)
        status = mm_options_assign(one, "repeat_num", "1", MM_SOURCE_COMMAND_LINE, error);
    if (status == MM_OK && mm_options_to_json(one, json) != MM_OK)
        status = mm_fail_memory(error, "a description", 0);
    mm_options_free(&one);
    mm_free(text);
    return status;
}

static mm_status write_sidecar(const mm_sampler *s, int64_t seed, const char *path, mm_error *error)
{
    char *sidecar = sidecar_path(path), *json = NULL;
    mm_status status =
        sidecar ? describe(s, seed, &json, error) : mm_fail_memory(error, "a path", strlen(path));
    if (status == MM_OK)
        status = mm_output_file_write_all(sidecar, json, strlen(json), error);
    mm_string_free(json);
    mm_free(sidecar);
    return status;
}

static mm_status write_frames(const char *path, const mm_frames *frames, mm_error *error)
{
    mm_tensor_entry entry = {
        "frames", MM_U8, MM_SHAPE(frames->count, frames->height, frames->width, 3), frames->data};
    return mm_safetensors_write(path, &entry, 1, NULL, 0, error);
}

static mm_status write_video(mm_sampler *s, int64_t seed, const mm_video *video, mm_error *error)
{
    char *path = output_path(s, seed);
    mm_status status = path
                           ? mm_media_write(path, &video->frames, &s->model->context->logger, error)
                           : mm_fail_memory(error, "a path", 0);
    if (status == MM_OK)
        status = write_sidecar(s, seed, path, error);
    if (status == MM_OK)
        mm_context_emit_output(s->model->context, path);
    mm_free(path);
    return status;
}

static mm_status write_tensors(mm_sampler *s, const float *latents, mm_error *error)
{
    const mm_sample_config *c = s->config;
    mm_context *context = s->model->context;
    if (c->save_latents) {
        MM_TRY(mm_latents_write(c->save_latents, "latents", &s->drawing.latents, latents, error));
        mm_context_emit_output(context, c->save_latents);
    }
    if (c->save_inversion && s->inverted) {
        MM_TRY(mm_latents_write(c->save_inversion, "inversion_noise", &s->drawing.latents,
                                s->inverted, error));
        mm_context_emit_output(context, c->save_inversion);
    }
    return MM_OK;
}

mm_status mm_sampler_write(mm_sampler *s, int64_t seed, const float *latents, mm_video **video,
                           mm_error *error)
{
    const mm_sample_config *c = s->config;
    MM_TRY(write_tensors(s, latents, error));
    if (c->steps_only || (!c->output && !c->output_dir && !c->save_frames && !video))
        return MM_OK;
    mm_video *drawn = NULL;
    mm_context_emit_stage(s->model->context, "decoding");
    MM_TRY(mm_drawing_decode(&s->drawing, latents, c->fps, &drawn, error));
    mm_status status = c->save_frames ? write_frames(c->save_frames, &drawn->frames, error) : MM_OK;
    if (status == MM_OK && c->save_frames)
        mm_context_emit_output(s->model->context, c->save_frames);
    if (status == MM_OK && (c->output || c->output_dir))
        status = write_video(s, seed, drawn, error);
    if (status == MM_OK && video) {
        mm_video_free(video);
        *video = drawn;
        drawn = NULL;
    }
    mm_video_free(&drawn);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/sampler_internal.h"
#include "api/video_internal.h"
#include "base/file.h"
#include "base/number.h"
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

static mm_status assign_int(mm_options *options, const char *key, int64_t value, mm_error *error)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return mm_options_assign(options, key, text, MM_SOURCE_COMMAND_LINE, error);
}

static mm_status assign_lora(mm_options *options, const char *item, mm_error *error)
{
    char *path = NULL, number[MM_DOUBLE_TEXT];
    double weight;
    MM_TRY(mm_sampler_split_weight(item, &path, &weight, error));
    char *absolute = realpath(path, NULL);
    char *text = mm_format("%s:%s", absolute ? absolute : path,
                           mm_double_text(weight, number, sizeof(number)));
    mm_status status = text
                           ? mm_options_assign(options, "lora", text, MM_SOURCE_COMMAND_LINE, error)
                           : mm_fail_memory(error, "a path", strlen(path));
    mm_free(text);
    free(absolute);
    mm_free(path);
    return status;
}

/* All that the drawing depends on, as it was settled, from whatever directory it is read. */
static mm_status pin_inputs(const mm_sampler *s, mm_options *one, mm_error *error)
{
    static const char *const files[] = {"model", "checkpoint_folder", "reference",
                                        "reference_latents", "init_latents"};
    char number[MM_DOUBLE_TEXT];
    MM_TRY(
        mm_options_assign(one, "model", s->model->parts.directory, MM_SOURCE_COMMAND_LINE, error));
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        MM_TRY(mm_options_make_absolute(one, files[i], error));
    mm_options_clear(one, "lora");
    for (size_t i = 0; i < s->config->lora.count; i++)
        MM_TRY(assign_lora(one, s->config->lora.item[i], error));
    MM_TRY(assign_int(one, "min_timestep", s->min_timestep, error));
    return mm_options_assign(one, "noise_prior",
                             mm_double_text(s->noise_prior, number, sizeof(number)),
                             MM_SOURCE_COMMAND_LINE, error);
}

/* The options that draw this one video again: a config for mm-infer. */
static mm_status describe(const mm_sampler *s, int64_t seed, mm_options *one, mm_error *error)
{
    static const char *const others[] = {"save_latents", "save_inversion", "save_frames"};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        mm_options_clear(one, others[i]);
    MM_TRY(pin_inputs(s, one, error));
    MM_TRY(assign_int(one, "seed", seed, error));
    return assign_int(one, "repeat_num", 1, error);
}

static mm_status write_sidecar(const mm_sampler *s, int64_t seed, const char *path, mm_error *error)
{
    mm_options *one = NULL;
    char *sidecar = mm_video_description_path(path);
    mm_status status = sidecar ? mm_options_copy(&one, s->options, error)
                               : mm_fail_memory(error, "a path", strlen(path));
    if (status == MM_OK)
        status = describe(s, seed, one, error);
    if (status == MM_OK)
        status = mm_options_write(one, s->model->context->precision, sidecar, error);
    mm_options_free(&one);
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
    if (!s->config->output)
        MM_TRY(mm_directory_create(s->config->output_dir, error));
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

static mm_status write_tensors(mm_sampler *s, mm_error *error)
{
    const mm_sample_config *c = s->config;
    mm_context *context = s->model->context;
    if (c->save_latents) {
        MM_TRY(mm_latents_write(c->save_latents, "latents", &s->drawing.latents, s->latents->data,
                                error));
        mm_context_emit_output(context, c->save_latents);
    }
    if (c->save_inversion && s->inverted) {
        MM_TRY(mm_latents_write(c->save_inversion, "inversion_noise", &s->drawing.latents,
                                s->inverted->data, error));
        mm_context_emit_output(context, c->save_inversion);
    }
    return MM_OK;
}

mm_status mm_sampler_write(mm_sampler *s, int64_t seed, mm_video **video, mm_error *error)
{
    const mm_sample_config *c = s->config;
    MM_TRY(write_tensors(s, error));
    if (c->steps_only || (!c->output && !c->output_dir && !c->save_frames && !video))
        return MM_OK;
    mm_video *drawn = NULL;
    mm_context_emit_stage(s->model->context, "decoding");
    MM_TRY(mm_drawing_decode(&s->drawing, s->latents->data, c->fps, &drawn, error));
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

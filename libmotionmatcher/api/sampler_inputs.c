/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/lora_internal.h"
#include "api/sampler_internal.h"
#include "api/status_internal.h"
#include "api/video_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "training/checkpoint.h"

static mm_status newest(const char *folder, int64_t *step, mm_error *error)
{
    int64_t *steps = NULL;
    size_t count = 0;
    MM_TRY(mm_checkpoint_list(folder, &steps, &count, error));
    if (count)
        *step = steps[0];
    mm_free(steps);
    return count ? MM_OK
                 : mm_fail(error, MM_ERR_INPUT, "%s: there is no checkpoint-<step> here", folder);
}

mm_status mm_sampler_checkpoint_path(const mm_sample_config *config, char **out, mm_error *error)
{
    int64_t step = config->checkpoint_index;
    *out = NULL;
    if (step == MM_NOT_GIVEN)
        MM_TRY(newest(config->checkpoint_folder, &step, error));
    *out = mm_format("%s/checkpoint-%lld", config->checkpoint_folder, (long long)step);
    if (!*out)
        return mm_fail_memory(error, "a path", strlen(config->checkpoint_folder));
    if (mm_path_is_directory(*out))
        return MM_OK;
    mm_status status = mm_fail(error, MM_ERR_INPUT, "%s: no such checkpoint", *out);
    mm_free(*out);
    *out = NULL;
    return status;
}

/* "file.safetensors:0.5": a weight is what follows the last colon, when it is a number and the
   whole text is no path itself. */
mm_status mm_sampler_split_weight(const char *text, char **path, double *weight, mm_error *error)
{
    const char *colon = strrchr(text, ':');
    *weight = 1.0;
    bool whole = mm_path_is_file(text) || mm_path_is_directory(text);
    bool number = !whole && colon && mm_parse_double(colon + 1, weight);
    if (number && (!isfinite(*weight) || fabs(*weight) > 1000.0))
        return mm_fail(error, MM_ERR_USAGE, "lora %s: the weight must lie in -1000..1000", text);
    *path = number ? mm_strndup(text, (size_t)(colon - text)) : mm_strdup(text);
    return *path ? MM_OK : mm_fail_memory(error, "a path", strlen(text));
}

static mm_status add_lora(mm_sampler *s, const char *path, double weight, mm_error *error)
{
    char *file = NULL;
    mm_lora_set *set = &s->lora[s->stack.count];
    MM_TRY(mm_lora_resolve_path(path, &file, error));
    mm_status status =
        mm_lora_set_load(set, &s->model->parts.sites, file, &s->model->context->logger, error);
    mm_free(file);
    MM_TRY(status);
    s->use[s->stack.count++] = (mm_lora_use){
        .set = set,
        .scale = (float)(weight * s->config->lora_scale),
    };
    return MM_OK;
}

static mm_status add_listed(mm_sampler *s, const char *text, mm_error *error)
{
    char *path = NULL;
    double weight;
    MM_TRY(mm_sampler_split_weight(text, &path, &weight, error));
    mm_status status = add_lora(s, path, weight, error);
    mm_free(path);
    return status;
}

static mm_status add_checkpoint(mm_sampler *s, mm_error *error)
{
    char *path = NULL;
    MM_TRY(mm_sampler_checkpoint_path(s->config, &path, error));
    mm_status status = add_lora(s, path, 1.0, error);
    mm_free(path);
    return status;
}

/* Explicit, else what the first LoRA that says so was trained with, else the method's own. */
static int64_t choose_min_timestep(const mm_sampler *s)
{
    int64_t value;
    if (s->config->min_timestep != MM_NOT_GIVEN)
        return s->config->min_timestep;
    for (int32_t i = 0; i < s->stack.count; i++) {
        const char *text = mm_lora_set_get_metadata(&s->lora[i], "mm_min_timestep");
        if (text && mm_parse_int(text, &value) && value >= 0)
            return value;
    }
    return s->config->checkpoint_folder ? 500 : 0;
}

mm_status mm_sampler_read_loras(mm_sampler *s, mm_error *error)
{
    size_t count = s->config->lora.count + 1;
    s->lora = mm_calloc(count, sizeof(*s->lora));
    s->use = mm_calloc(count, sizeof(*s->use));
    s->stack.use = s->use;
    if (!s->lora || !s->use)
        return mm_fail_memory(error, "LoRAs", count * sizeof(*s->lora));
    if (s->config->checkpoint_folder)
        MM_TRY(add_checkpoint(s, error));
    for (size_t i = 0; i < s->config->lora.count; i++)
        MM_TRY(add_listed(s, s->config->lora.item[i], error));
    s->min_timestep = choose_min_timestep(s);
    return MM_OK;
}

mm_status mm_sampler_read_latents(mm_sampler *s, mm_error *error)
{
    if (!s->config->init_latents)
        return MM_OK;
    return mm_latents_read_exact(s->config->init_latents, "latents", &s->drawing.latents, &s->start,
                                 error);
}

/* The run's cached latents, ours or the released code's. Fresh; NULL when there are none. */
static char *cached_latents(const char *folder)
{
    static const char *const names[] = {"cached_0.safetensors", "cached_0.pt"};
    for (size_t i = 0; i < 2; i++) {
        char *path = mm_format("%s/cached_latents/%s", folder, names[i]);
        if (path && mm_path_is_file(path))
            return path;
        mm_free(path);
    }
    return NULL;
}

mm_status mm_sampler_encode_reference(mm_sampler *s, mm_error *error)
{
    if (!s->video || s->reference)
        return MM_OK;
    /* The mean of the posterior: an inversion should not depend on a draw. */
    return mm_model_encode_video(s->model, s->video, &s->reference, error);
}

static mm_status decode_reference(mm_sampler *s, const char *path, mm_error *error)
{
    const mm_drawing_settings *d = &s->drawing.settings;
    mm_decode_request request = {
        .frame_step = 1,
        .frame_count = d->frames,
        .width = (int32_t)d->width,
        .height = (int32_t)d->height,
    };
    return mm_video_decode_clip(&s->video, path, &request, &s->model->context->logger, error);
}

mm_status mm_sampler_read_reference(mm_sampler *s, mm_error *error)
{
    const mm_sample_config *c = s->config;
    const mm_latent_shape *shape = &s->drawing.latents;
    if (!(s->noise_prior > 0.0) && !c->save_inversion)
        return MM_OK;
    if (c->reference_latents)
        return mm_latents_read_exact(c->reference_latents, "latents", shape, &s->reference, error);
    if (c->reference)
        return decode_reference(s, c->reference, error);
    char *path = c->checkpoint_folder ? cached_latents(c->checkpoint_folder) : NULL;
    if (!path)
        return mm_fail(error, MM_ERR_USAGE,
                       "the noise prior needs a reference: set option reference or "
                       "reference_latents, or noise_prior to 0");
    mm_status status = mm_latents_read_exact(path, "latents", shape, &s->reference, error);
    mm_free(path);
    return status;
}

mm_status mm_sampler_check_outputs(const mm_sampler *s, mm_error *error)
{
    const mm_sample_config *c = s->config;
    const char *files[] = {c->output, c->save_latents, c->save_inversion, c->save_frames};
    bool single = false;
    for (size_t i = 0; i < 4; i++) {
        single = single || files[i];
        if (files[i])
            MM_TRY(mm_output_file_check(files[i], error));
    }
    if (c->steps_only && (c->output || c->save_frames))
        return mm_fail(error, MM_ERR_USAGE, "steps_only ends before there are frames to write");
    if (single && c->repeat_num > 1)
        return mm_fail(error, MM_ERR_USAGE,
                       "repeat_num %lld draws several videos, which cannot share one file; set "
                       "output_dir",
                       (long long)c->repeat_num);
    if (c->output)
        MM_TRY(mm_media_check_path(c->output, error));
    return c->output_dir ? mm_directory_check_creatable(c->output_dir, error) : MM_OK;
}

static mm_status complete_from_run(mm_options *options, const char *path, mm_error *error)
{
    static const char *const shared[] = {"model", "width", "height", "num_frames"};
    mm_options *run = NULL;
    mm_status status = mm_options_make(&run, "train", error);
    if (status == MM_OK)
        status = mm_options_load_file(run, NULL, path, error);
    for (size_t i = 0; status == MM_OK && i < sizeof(shared) / sizeof(shared[0]); i++) {
        const char *value = NULL;
        status = mm_options_get(run, shared[i], 0, &value);
        if (status == MM_OK && value && mm_options_source(options, shared[i]) == MM_SOURCE_DEFAULT)
            status = mm_options_assign(options, shared[i], value, MM_SOURCE_FILE, error);
    }
    mm_options_free(&run);
    return status;
}

static mm_status pin_checkpoint(mm_options *options, mm_error *error)
{
    const mm_sample_config *c = mm_options_sample(options);
    char text[24], *path = NULL;
    int64_t step = 0;
    if (c->checkpoint_index == MM_NOT_GIVEN) {
        MM_TRY(newest(c->checkpoint_folder, &step, error));
        snprintf(text, sizeof(text), "%lld", (long long)step);
        MM_TRY(mm_options_assign(options, "checkpoint_index", text, MM_SOURCE_FILE, error));
    }
    mm_status status = mm_sampler_checkpoint_path(c, &path, error);
    mm_free(path);
    return status;
}

static mm_status complete_from_folder(mm_options *options, mm_error *error)
{
    MM_TRY(pin_checkpoint(options, error));
    char *path = mm_path_join(mm_options_sample(options)->checkpoint_folder, "config.json");
    if (!path)
        return mm_fail_memory(error, "a path", 0);
    mm_status status = mm_path_is_file(path) ? complete_from_run(options, path, error) : MM_OK;
    mm_free(path);
    if (status == MM_OK && mm_options_source(options, "noise_prior") == MM_SOURCE_DEFAULT)
        status = mm_options_assign(options, "noise_prior", "0.3", MM_SOURCE_FILE, error);
    return status;
}

/* One place to write to: what was said last, by source, and --output where both were. */
static void choose_output(mm_options *options)
{
    const mm_sample_config *c = mm_options_sample(options);
    if (!c->output || !c->output_dir)
        return;
    bool directory =
        mm_options_source(options, "output_dir") > mm_options_source(options, "output");
    mm_options_clear(options, directory ? "output" : "output_dir");
}

static mm_status complete(mm_options *options, mm_error *error)
{
    choose_output(options);
    const mm_sample_config *c = mm_options_sample(options);
    return c->checkpoint_folder ? complete_from_folder(options, error) : MM_OK;
}

mm_status mm_sampler_complete_options(mm_options *options)
{
    if (!options || !mm_options_sample(options))
        return mm_api_misuse(__func__, "options of table \"sample\" are needed");
    mm_error error = {0};
    return mm_api_return(complete(options, &error), &error);
}

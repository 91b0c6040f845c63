/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/status_internal.h"
#include "api/trainer_internal.h"
#include "base/file.h"
#include "base/memory.h"
#include "motionmatcher/version.h"
#include "training/checkpoint.h"

static mm_status no_path(const char *directory, mm_error *error)
{
    return mm_fail_memory(error, "a path", strlen(directory));
}

mm_status mm_trainer_check_directory(const char *directory, mm_error *error)
{
    char *config = mm_path_join(directory, "config.json");
    if (!config)
        return no_path(directory, error);
    bool holds_run = mm_path_is_file(config);
    mm_free(config);
    if (holds_run)
        return mm_fail(error, MM_ERR_USAGE,
                       "%s: this directory holds a run already; resume it, or choose another",
                       directory);
    int64_t *steps = NULL;
    size_t count = 0;
    if (mm_path_is_directory(directory))
        MM_TRY(mm_checkpoint_list(directory, &steps, &count, error));
    mm_free(steps);
    if (count)
        return mm_fail(error, MM_ERR_USAGE,
                       "%s: this directory holds checkpoints of a run; choose another", directory);
    return mm_directory_check_creatable(directory, error);
}

mm_status mm_trainer_describe_lora(mm_trainer *t, mm_error *error)
{
    const mm_train_config *c = t->config;
    struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"mm_min_timestep", c->min_timestep}, {"mm_seed", c->seed},   {"mm_rank", c->rank},
        {"mm_frames", c->num_frames},         {"mm_width", c->width}, {"mm_height", c->height},
    };
    char text[24];
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        snprintf(text, sizeof(text), "%lld", (long long)numbers[i].value);
        MM_TRY(mm_lora_set_metadata(&t->lora, numbers[i].key, text, error));
    }
    MM_TRY(mm_lora_set_metadata(&t->lora, "mm_version", MM_VERSION, error));
    MM_TRY(mm_lora_set_metadata(&t->lora, "mm_objective", mm_trainer_objective(c)->name, error));
    return mm_lora_set_metadata(&t->lora, "mm_prompt", t->clip[0].prompt, error);
}

/* [rows, columns] -> [columns, rows] for each of `count` matrices. */
static void transpose(const float *in, float *out, int64_t count, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = 0; c < columns; c++)
                out[(i * columns + c) * rows + r] = in[(i * rows + r) * columns + c];
        }
    }
}

typedef struct clip_tensors {
    float *latents, *moments, *pixels, *inversion;
} clip_tensors;

static void free_tensors(clip_tensors *tensors)
{
    mm_free(tensors->latents);
    mm_free(tensors->moments);
    mm_free(tensors->pixels);
    mm_free(tensors->inversion);
}

static bool allocate_tensors(const mm_trainer *t, const mm_trainer_clip *clip, clip_tensors *out)
{
    size_t latents = mm_latent_elements(&t->latents) * sizeof(float);
    size_t pixels = (size_t)(t->config->num_frames * t->config->height * t->config->width) * 3;
    *out = (clip_tensors){mm_malloc(latents), mm_malloc(2 * latents),
                          mm_malloc(pixels * sizeof(float)),
                          clip->inversion ? mm_malloc(latents) : NULL};
    return out->latents && out->moments && out->pixels && (out->inversion || !clip->inversion);
}

static mm_status write_clip(const mm_trainer *t, const mm_trainer_clip *clip, const char *path,
                            mm_error *error)
{
    const mm_latent_shape *s = &t->latents;
    clip_tensors tensors;
    if (!allocate_tensors(t, clip, &tensors)) {
        free_tensors(&tensors);
        return mm_fail_memory(error, "cached latents", mm_latent_elements(s) * sizeof(float));
    }
    mm_latents_to_file(s, clip->clip.latents, tensors.latents);
    transpose(clip->moments, tensors.moments, s->frames, s->height * s->width, 2 * s->channels);
    transpose(clip->pixels, tensors.pixels, s->frames, t->config->height * t->config->width, 3);
    if (clip->inversion)
        mm_latents_to_file(s, clip->inversion, tensors.inversion);
    mm_shape latents = MM_SHAPE(1, s->channels, s->frames, s->height, s->width);
    mm_tensor_entry entries[] = {
        {"latents", MM_F32, latents, tensors.latents},
        {"moments", MM_F32, MM_SHAPE(s->frames, 2 * s->channels, s->height, s->width),
         tensors.moments},
        {"pixel_values", MM_F32, MM_SHAPE(s->frames, 3, t->config->height, t->config->width),
         tensors.pixels},
        {"inversion_noise", MM_F32, latents, tensors.inversion},
    };
    mm_metadata_entry prompt = {"mm_prompt", clip->prompt};
    mm_status status =
        mm_safetensors_write(path, entries, clip->inversion ? 4 : 3, &prompt, 1, error);
    free_tensors(&tensors);
    return status;
}

static mm_status write_clips(const mm_trainer *t, mm_error *error)
{
    mm_status status = MM_OK;
    for (int64_t i = 0; status == MM_OK && i < t->clip_count; i++) {
        char *path =
            mm_format("%s/cached_latents/cached_%lld.safetensors", t->directory, (long long)i);
        status = path ? write_clip(t, &t->clip[i], path, error) : no_path(t->directory, error);
        mm_free(path);
    }
    return status;
}

/* A run may be resumed from another working directory. */
static mm_status make_paths_absolute(mm_options *options, mm_error *error)
{
    MM_TRY(mm_options_make_absolute(options, "model", error));
    return mm_options_make_absolute(options, "video", error);
}

mm_status mm_trainer_write_config(mm_trainer *t, mm_error *error)
{
    mm_options *stored = NULL;
    char *path = mm_path_join(t->directory, "config.json");
    mm_status status =
        path ? mm_options_copy(&stored, t->options, error) : no_path(t->directory, error);
    if (status == MM_OK)
        status = make_paths_absolute(stored, error);
    if (status == MM_OK)
        status = mm_options_write(stored, t->model->context->precision, path, error);
    mm_options_free(&stored);
    mm_free(path);
    return status;
}

static mm_status create_directory(const char *parent, const char *name, mm_error *error)
{
    char *path = mm_path_join(parent, name);
    mm_status status = path ? mm_directory_create(path, error) : no_path(parent, error);
    mm_free(path);
    return status;
}

/* The config comes last: a directory that has one holds all that a resume needs. */
mm_status mm_trainer_write_directory(mm_trainer *t, mm_error *error)
{
    t->directory_is_new = !mm_path_is_directory(t->directory);
    MM_TRY(mm_directory_create(t->directory, error));
    /* The LoRA with its two moments: the first checkpoint at least must find room. */
    MM_TRY(mm_directory_check_space(t->directory, 3 * mm_lora_set_bytes(&t->lora), error));
    MM_TRY(create_directory(t->directory, "samples", error));
    MM_TRY(create_directory(t->directory, "cached_latents", error));
    MM_TRY(write_clips(t, error));
    return mm_trainer_write_config(t, error);
}

/* remove() takes files and empty directories alone: what is not of this run stays. */
static void remove_below(const char *directory, const char *name)
{
    char *path = mm_path_join(directory, name);
    if (path)
        remove(path);
    mm_free(path);
}

void mm_trainer_remove_directory(const mm_trainer *t)
{
    static const char *const names[] = {"config.json", "metrics.jsonl", "cached_latents",
                                        "samples"};
    char name[64];
    for (int64_t i = 0; i < t->clip_count; i++) {
        snprintf(name, sizeof(name), "cached_latents/cached_%lld.safetensors", (long long)i);
        remove_below(t->directory, name);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove_below(t->directory, names[i]);
    if (t->directory_is_new)
        remove(t->directory);
}

static mm_status read_clip(mm_trainer *t, const char *path, mm_error *error)
{
    mm_trainer_clip *grown = mm_realloc(t->clip, (size_t)(t->clip_count + 1) * sizeof(*grown));
    if (!grown)
        return mm_fail_memory(error, "a clip", sizeof(*grown));
    t->clip = grown;
    mm_trainer_clip *clip = &t->clip[t->clip_count++];
    *clip = (mm_trainer_clip){0};
    mm_tensor_file *file = NULL;
    MM_TRY(mm_tensor_file_open(&file, path, error));
    const char *prompt = mm_tensor_file_metadata(file, "mm_prompt");
    clip->prompt = prompt ? mm_strdup(prompt) : NULL;
    bool inverted = mm_tensor_file_find(file, "inversion_noise") >= 0;
    mm_tensor_file_close(&file);
    if (!clip->prompt)
        return mm_fail(error, MM_ERR_INPUT, "%s: its metadata has no mm_prompt", path);
    MM_TRY(mm_latents_read_exact(path, "latents", &t->latents, &clip->clip.latents, error));
    if (!inverted)
        return MM_OK;
    return mm_latents_read_exact(path, "inversion_noise", &t->latents, &clip->inversion, error);
}

mm_status mm_trainer_read_clips(mm_trainer *t, mm_error *error)
{
    for (int64_t i = 0;; i++) {
        char *path =
            mm_format("%s/cached_latents/cached_%lld.safetensors", t->directory, (long long)i);
        if (!path)
            return no_path(t->directory, error);
        /* The first one must be there; opening it says what is wrong when it is not. */
        mm_status status =
            i == 0 || mm_path_is_file(path) ? read_clip(t, path, error) : MM_ERR_CANCELLED;
        mm_free(path);
        if (status != MM_OK)
            return status == MM_ERR_CANCELLED && i > 0 ? MM_OK : status;
    }
}

static bool same_file(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

/* What a config file calls the directory does not count: the run may have been moved. */
static mm_status check_output_dir(const mm_options *options, const char *directory, mm_error *error)
{
    const char *given = mm_options_train(options)->output_dir;
    if (mm_options_source(options, "output_dir") <= MM_SOURCE_FILE || same_file(given, directory))
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "output_dir %s: a resumed run goes on in its own directory, %s", given,
                   directory);
}

/* A run's config.json. `context` (NULL: not wanted) has the precision alone. */
static mm_status read_config(mm_options **train, mm_options **context, const char *directory,
                             mm_error *error)
{
    char *path = mm_path_join(directory, "config.json");
    mm_status status = path ? mm_options_make(train, "train", error) : no_path(directory, error);
    if (status == MM_OK && !mm_path_is_file(path))
        status = mm_fail(error, MM_ERR_INPUT, "%s: no run here: config.json is missing", directory);
    if (status == MM_OK && context)
        status = mm_options_make(context, "context", error);
    if (status == MM_OK)
        status = mm_options_load_file(*train, context ? *context : NULL, path, error);
    mm_free(path);
    return status;
}

/* A run that names none is from when there was f32 alone. */
static mm_status read_precision(const char *directory, char **out, mm_error *error)
{
    mm_options *train = NULL, *context = NULL;
    const char *value = NULL;
    mm_status status = read_config(&train, &context, directory, error);
    if (status == MM_OK && mm_options_source(context, "precision") != MM_SOURCE_DEFAULT)
        status = mm_options_get(context, "precision", 0, &value);
    if (status == MM_OK && !(*out = mm_strdup(value ? value : "f32")))
        status = mm_fail_memory(error, "a precision", 0);
    mm_options_free(&train);
    mm_options_free(&context);
    return status;
}

static mm_status check_precision(const char *given, const char *stored, const char *directory,
                                 mm_error *error)
{
    if (strcmp(given, stored) == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "precision %s: the run in %s computes in %s and goes on in that", given,
                   directory, stored);
}

mm_status mm_trainer_check_precision(const mm_trainer *t, mm_error *error)
{
    char *stored = NULL;
    MM_TRY(read_precision(t->directory, &stored, error));
    mm_status status = check_precision(t->model->context->precision, stored, t->directory, error);
    mm_free(stored);
    return status;
}

/* Of the context's options, which "auto" leaves open. */
static mm_status load_precision(mm_options *options, const char *directory, mm_error *error)
{
    const char *given = NULL;
    char *stored = NULL;
    MM_TRY(read_precision(directory, &stored, error));
    mm_status status = mm_options_get(options, "precision", 0, &given);
    if (status == MM_OK && strcmp(given, "auto") != 0)
        status = check_precision(given, stored, directory, error);
    else if (status == MM_OK)
        status = mm_options_assign(options, "precision", stored, MM_SOURCE_COMMAND_LINE, error);
    mm_free(stored);
    return status;
}

static const char *const may_differ[] = {"steps", "output_dir", NULL};

mm_status mm_trainer_check_settings(const mm_trainer *t, mm_error *error)
{
    mm_options *stored = NULL;
    mm_status status = read_config(&stored, NULL, t->directory, error);
    if (status == MM_OK)
        status = mm_options_check_agree(t->options, stored, may_differ, error);
    mm_options_free(&stored);
    return status;
}

static mm_status load_options(mm_options *options, const char *directory, mm_error *error)
{
    mm_options *stored = NULL;
    mm_status status = read_config(&stored, NULL, directory, error);
    if (status == MM_OK)
        status = mm_trainer_settle_validation(options, error);
    if (status == MM_OK)
        status = check_output_dir(options, directory, error);
    if (status == MM_OK)
        status = make_paths_absolute(options, error);
    if (status == MM_OK)
        status = mm_trainer_settle_validation(options, error);
    if (status == MM_OK)
        status = mm_options_check_agree(options, stored, may_differ, error);
    if (status == MM_OK)
        status = mm_options_inherit(options, stored, MM_SOURCE_FILE, error);
    if (status == MM_OK)
        status = mm_options_assign(options, "output_dir", directory, MM_SOURCE_COMMAND_LINE, error);
    mm_options_free(&stored);
    return status;
}

mm_status mm_trainer_complete_options(mm_options *options)
{
    if (!options || !mm_options_train(options))
        return mm_api_misuse(__func__, "options of table \"train\" are needed");
    mm_error error = {0};
    return mm_api_return(mm_trainer_settle_validation(options, &error), &error);
}

mm_status mm_trainer_load_options(mm_options *options, const char *directory)
{
    if (!options || !directory || !(mm_options_train(options) || mm_options_context(options)))
        return mm_api_misuse(
            __func__, "options of table \"train\" or \"context\" and a directory are needed");
    mm_error error = {0};
    return mm_api_return(mm_options_train(options) ? load_options(options, directory, &error)
                                                   : load_precision(options, directory, &error),
                         &error);
}

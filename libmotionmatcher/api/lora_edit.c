/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing LoRAs and writing them. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/lora_internal.h"
#include "api/status_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

#define UNET_STEM "diffusion_pytorch_model"
#define MOST_WEIGHT 1e6

static mm_status need_names(const mm_lora *lora, mm_error *error)
{
    if (!lora->layers.unnamed)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "the released code's list has no names: the model is needed to tell its layers");
}

static mm_status check_factor(double factor, mm_error *error)
{
    if (isfinite(factor) && fabs(factor) <= MOST_WEIGHT)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE, "a LoRA's factor must lie in -%g..%g", MOST_WEIGHT,
                   MOST_WEIGHT);
}

static mm_status scale_lora(mm_lora *lora, double factor, mm_error *error)
{
    MM_TRY(check_factor(factor, error));
    MM_TRY(need_names(lora, error));
    return mm_lora_layers_scale(&lora->layers, factor, error);
}

mm_status mm_lora_scale(mm_lora *lora, double factor)
{
    if (!lora)
        return mm_api_misuse(__func__, "lora must not be NULL");
    mm_error error = {0};
    return mm_api_return(scale_lora(lora, factor, &error), &error);
}

static mm_status merge_loras(mm_lora **out, const mm_lora_layers **layers,
                             const mm_lora *const *loras, const double *weights, size_t count,
                             mm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        MM_TRY(check_factor(weights[i], error));
        MM_TRY(need_names(loras[i], error));
        layers[i] = &loras[i]->layers;
    }
    mm_lora *lora = mm_lora_make(loras[0]->context, loras[0]->model, error);
    if (!lora)
        return MM_ERR_MEMORY;
    mm_status status = mm_lora_layers_merge(&lora->layers, layers, weights, count, error);
    if (status == MM_OK)
        *out = lora;
    else
        mm_lora_free(&lora);
    return status;
}

mm_status mm_lora_merge(mm_lora **out, const mm_lora *const *loras, const double *weights,
                        size_t count)
{
    if (out)
        *out = NULL;
    if (!out || !loras || !weights || count == 0)
        return mm_api_misuse(__func__, "out, loras and weights must not be NULL, count not 0");
    for (size_t i = 0; i < count; i++) {
        if (!loras[i])
            return mm_api_misuse(__func__, "none of the LoRAs may be NULL");
    }
    mm_error error = {0};
    const mm_lora_layers **layers = mm_calloc(count, sizeof(*layers));
    mm_status status = layers ? merge_loras(out, layers, loras, weights, count, &error)
                              : mm_fail_memory(&error, "a list of LoRAs", count);
    mm_free(layers);
    return mm_api_return(status, &error);
}

/* The format's number among MM_LORA_..., which its name or the path's ending gives. */
static mm_status choose_format(const char *path, const char *format, mm_lora_naming *out,
                               mm_error *error)
{
    static const struct {
        const char *name, *end;
        mm_lora_naming naming;
    } formats[] = {
        {"peft", ".safetensors", MM_LORA_PEFT},
        {"pt", ".pt", MM_LORA_LIST},
        {"kohya", ".safetensors", MM_LORA_KOHYA},
    };
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        bool ending = mm_path_ends_with(path, formats[i].end);
        if (format ? strcmp(format, formats[i].name) != 0 : !ending)
            continue;
        *out = formats[i].naming;
        return ending ? MM_OK
                      : mm_fail(error, MM_ERR_USAGE, "%s: a %s file's name ends with %s", path,
                                format, formats[i].end);
    }
    if (format)
        return mm_fail(error, MM_ERR_USAGE, "'%s' is none of peft|pt|kohya", format);
    return mm_fail(error, MM_ERR_USAGE, "%s: a LoRA's file ends with .safetensors or .pt", path);
}

static mm_status save_list(const mm_lora *lora, const char *path, mm_error *error)
{
    mm_lora_order order;
    if (!lora->model)
        return mm_fail(error, MM_ERR_USAGE,
                       "%s: the released code's list has the order of a model's layers: the model "
                       "is needed",
                       path);
    MM_TRY(mm_site_list_order(&lora->model->parts.sites, &order, error));
    mm_status status = mm_lora_write_list(&lora->layers, &order, path, error);
    mm_free(order.path);
    return status;
}

static mm_status save_lora(const mm_lora *lora, const char *path, const char *format,
                           mm_error *error)
{
    mm_lora_naming naming = MM_LORA_PEFT;
    MM_TRY(choose_format(path, format, &naming, error));
    MM_TRY(need_names(lora, error));
    if (lora->layers.count == 0)
        return mm_fail(error, MM_ERR_USAGE,
                       "%s: the LoRA has no layers, and a file without any opens nowhere", path);
    MM_TRY(naming == MM_LORA_PEFT    ? mm_lora_write_peft(&lora->layers, path, error)
           : naming == MM_LORA_KOHYA ? mm_lora_write_kohya(&lora->layers, path, error)
                                     : save_list(lora, path, error));
    mm_context_emit_output(lora->context, path);
    return MM_OK;
}

mm_status mm_lora_save(const mm_lora *lora, const char *path, const char *format)
{
    if (!lora || !path)
        return mm_api_misuse(__func__, "lora and path must not be NULL");
    mm_error error = {0};
    return mm_api_return(save_lora(lora, path, format, &error), &error);
}

static mm_status copy_config(const char *model, const char *directory, mm_error *error)
{
    char *from = mm_format("%s/unet/config.json", model);
    char *to = mm_path_join(directory, "config.json"), *text = NULL;
    size_t bytes = 0;
    mm_status status = from && to ? mm_file_read_all(from, MM_JSON_LIMIT, &text, &bytes, error)
                                  : mm_fail_memory(error, "a path", strlen(model));
    if (status == MM_OK)
        status = mm_output_file_write_all(to, text, bytes, error);
    mm_free(text);
    mm_free(to);
    mm_free(from);
    return status;
}

/* A full disk is better met before gigabytes are written. */
static mm_status check_space(const mm_tensor_file *file, const char *directory, mm_error *error)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < mm_tensor_file_count(file); i++) {
        const mm_tensor_info *info = mm_tensor_file_info(file, i);
        bytes += (uint64_t)mm_shape_elements(&info->shape) * mm_dtype_bytes(info->dtype);
    }
    return mm_directory_check_space(directory, bytes, error);
}

static mm_status fuse_weights(const mm_lora *lora, const char *directory, mm_error *error)
{
    mm_tensor_file *file = NULL;
    char *path = mm_path_join(directory, UNET_STEM ".safetensors");
    mm_status status = path ? mm_tensor_file_open(&file, lora->model->parts.unet.path, error)
                            : mm_fail_memory(error, "a path", strlen(directory));
    if (status == MM_OK)
        status = check_space(file, directory, error);
    if (status == MM_OK)
        status = mm_lora_fuse_file(&lora->layers, file, path, lora->context->threads,
                                   &lora->context->stop, error);
    mm_tensor_file_close(&file);
    mm_free(path);
    return status;
}

/* Removes what a failure left of our own. */
static void remove_directory(const char *directory)
{
    static const char *const names[] = {"config.json", UNET_STEM ".safetensors"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = mm_path_join(directory, names[i]);
        if (path)
            unlink(path);
        mm_free(path);
    }
    rmdir(directory);
}

static bool is_free(const char *directory)
{
    DIR *entries = opendir(directory);
    bool empty = entries != NULL;
    if (!entries)
        return errno == ENOENT;
    for (const struct dirent *e; empty && (e = readdir(entries));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(entries);
    return empty;
}

/* Written under another name beside it, so that the directory appears whole. rename() replaces an
   empty directory and nothing else. */
static mm_status fuse_into(const mm_lora *lora, const char *directory, const char *temporary,
                           mm_error *error)
{
    if (!is_free(directory))
        return mm_fail(error, MM_ERR_RUNTIME, "%s: is in the way: it must not exist, or be empty",
                       directory);
    MM_TRY(mm_directory_create(temporary, error));
    mm_status status = copy_config(lora->model->parts.directory, temporary, error);
    if (status == MM_OK)
        status = fuse_weights(lora, temporary, error);
    if (status == MM_OK && rename(temporary, directory) != 0)
        status = mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be created: %m", directory);
    if (status != MM_OK)
        remove_directory(temporary);
    return status;
}

static mm_status fuse(const mm_lora *lora, const char *directory, mm_error *error)
{
    MM_TRY(mm_context_check_process(lora->context, error));
    size_t length = strlen(directory);
    if (!lora->model)
        return mm_fail(error, MM_ERR_USAGE, "the model is needed to fuse a LoRA into it");
    while (length > 1 && directory[length - 1] == '/')
        length--;
    char *final = mm_strndup(directory, length);
    char *temporary = mm_format("%.*s.%ld.tmp", (int)length, directory, (long)getpid());
    mm_status status = final && temporary ? fuse_into(lora, final, temporary, error)
                                          : mm_fail_memory(error, "a path", length);
    mm_free(temporary);
    mm_free(final);
    if (status == MM_OK)
        mm_context_emit_output(lora->context, directory);
    return status;
}

mm_status mm_lora_fuse(const mm_lora *lora, const char *directory)
{
    if (!lora || !directory || !*directory)
        return mm_api_misuse(__func__, "lora and directory must be given");
    mm_error error = {0};
    return mm_api_return(fuse(lora, directory, &error), &error);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/diffusion_model.h"

#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "models/weight_loader.h"

/* What model_index.json names for each subfolder; the library that a class comes from differs
   between releases and does not matter. */
static const struct {
    const char *folder, *class_name;
} expected_classes[] = {
    {"unet", "UNet3DConditionModel"},
    {"vae", "AutoencoderKL"},
    {"text_encoder", "CLIPTextModel"},
};

static mm_status check_index_entry(const mm_json_document *index, size_t i, mm_error *error)
{
    const mm_json *pair = mm_json_member(index->root, expected_classes[i].folder);
    const char *name = mm_json_text(mm_json_item(pair, 1));
    if (!name || strcmp(name, expected_classes[i].class_name) == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: %s is a %s; only %s is supported", index->path,
                   expected_classes[i].folder, name, expected_classes[i].class_name);
}

/* Directories made by hand may lack the index: the subfolders' own configs decide then. */
static mm_status check_index(const char *directory, mm_error *error)
{
    char *path = mm_path_join(directory, "model_index.json");
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_status status = MM_OK;
    mm_json_document index = {0};
    if (mm_path_is_file(path))
        status = mm_json_load(&index, path, error);
    for (size_t i = 0; status == MM_OK && index.root && i < 3; i++)
        status = check_index_entry(&index, i, error);
    mm_json_free(&index);
    mm_free(path);
    return status;
}

/* "<directory>/<folder>/<name>", or a message that says which part is missing. */
static mm_status component_path(char **out, const char *directory, const char *folder,
                                const char *name, mm_error *error)
{
    *out = mm_format("%s/%s%s%s", directory, folder, name ? "/" : "", name ? name : "");
    if (!*out)
        return mm_fail_memory(error, "a path", strlen(directory));
    char *parent = mm_path_join(directory, folder);
    bool there = parent && mm_path_is_directory(parent);
    bool memory = parent != NULL;
    mm_free(parent);
    if (there)
        return MM_OK;
    mm_free(*out);
    *out = NULL;
    if (!memory)
        return mm_fail_memory(error, "a path", strlen(directory));
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: the subfolder \"%s\" is missing; a diffusers model directory is expected",
                   directory, folder);
}

typedef struct component_source {
    const char *folder, *stem;
} component_source;

static mm_status check_component(mm_component *component, const char *directory,
                                 component_source source, const mm_logger *logger, mm_error *error)
{
    char *folder = NULL;
    MM_TRY(component_path(&folder, directory, source.folder, NULL, error));
    mm_status status = mm_component_find(&component->path, folder, source.stem, error);
    mm_free(folder);
    MM_TRY(status);
    mm_tensor_file *file = NULL;
    MM_TRY(mm_tensor_file_open(&file, component->path, error));
    status = mm_weights_check(&component->weights, file, logger, error);
    mm_tensor_file_close(&file);
    return status;
}

static mm_status load_configs(mm_diffusion_model *model, mm_error *error)
{
    char *path = NULL;
    MM_TRY(component_path(&path, model->directory, "unet", "config.json", error));
    mm_status status = mm_unet_config_load(&model->unet_config, path, error);
    mm_free(path);
    MM_TRY(status);
    MM_TRY(component_path(&path, model->directory, "vae", "config.json", error));
    status = mm_vae_config_load(&model->vae_config, path, error);
    mm_free(path);
    MM_TRY(status);
    MM_TRY(component_path(&path, model->directory, "text_encoder", "config.json", error));
    status = mm_clip_text_config_load(&model->text_config, path, error);
    mm_free(path);
    return status;
}

/* The parts must fit each other before any of them is worth running. */
static mm_status check_configs(const mm_diffusion_model *model, mm_error *error)
{
    const mm_unet_config *unet = &model->unet_config;
    const mm_vae_config *vae = &model->vae_config;
    if (unet->in_channels != vae->latent_channels || unet->out_channels != vae->latent_channels)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the UNet has %lld input and %lld output channels, the VAE %lld latent "
                       "channels",
                       model->directory, (long long)unet->in_channels,
                       (long long)unet->out_channels, (long long)vae->latent_channels);
    if (unet->cross_attention_dim != model->text_config.width)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the UNet's cross_attention_dim is %lld, the text encoder's width %lld",
                       model->directory, (long long)unet->cross_attention_dim,
                       (long long)model->text_config.width);
    if (model->text_config.positions < MM_PROMPT_TOKENS)
        return mm_fail(error, MM_ERR_UNSUPPORTED,
                       "%s: the text encoder has %lld positions; prompts take %d tokens",
                       model->directory, (long long)model->text_config.positions, MM_PROMPT_TOKENS);
    if (mm_tokenizer_vocabulary(model->tokenizer) > model->text_config.vocabulary)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the tokenizer has ids up to %lld, the text encoder's table %lld rows",
                       model->directory, (long long)mm_tokenizer_vocabulary(model->tokenizer) - 1,
                       (long long)model->text_config.vocabulary);
    return MM_OK;
}

static mm_status open_parts(mm_diffusion_model *model, const mm_logger *logger, mm_error *error)
{
    const char *directory = model->directory;
    char *path = NULL;
    if (!mm_path_is_directory(directory))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: no such directory; a diffusers model directory "
                       "is expected",
                       directory);
    MM_TRY(check_index(directory, error));
    MM_TRY(load_configs(model, error));
    MM_TRY(component_path(&path, directory, "tokenizer", NULL, error));
    mm_status status = mm_tokenizer_open(&model->tokenizer, path, error);
    mm_free(path);
    MM_TRY(status);
    MM_TRY(check_configs(model, error));
    MM_TRY(mm_unet_declare(&model->unet_config, &model->unet.weights, &model->sites, error));
    MM_TRY(mm_vae_declare(&model->vae_config, &model->vae.weights, error));
    MM_TRY(mm_clip_text_declare(&model->text_config, &model->text.weights, error));
    MM_TRY(check_component(&model->unet, directory,
                           (component_source){"unet", "diffusion_pytorch_model"}, logger, error));
    MM_TRY(check_component(&model->vae, directory,
                           (component_source){"vae", "diffusion_pytorch_model"}, logger, error));
    return check_component(&model->text, directory, (component_source){"text_encoder", "model"},
                           logger, error);
}

mm_status mm_diffusion_model_open(mm_diffusion_model *out, const char *directory,
                                  mm_dtype precision, const mm_logger *logger, mm_error *error)
{
    *out = (mm_diffusion_model){.directory = mm_strdup(directory)};
    mm_weight_set_init(&out->unet.weights, precision);
    mm_weight_set_init(&out->vae.weights, MM_F32);
    mm_weight_set_init(&out->text.weights, MM_F32);
    if (!out->directory)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_status status = open_parts(out, logger, error);
    if (status != MM_OK)
        mm_diffusion_model_close(out);
    return status;
}

static void close_component(mm_component *component)
{
    mm_weight_set_free(&component->weights);
    mm_free(component->path);
}

void mm_diffusion_model_close(mm_diffusion_model *model)
{
    close_component(&model->unet);
    close_component(&model->vae);
    close_component(&model->text);
    mm_site_list_free(&model->sites);
    mm_tokenizer_close(&model->tokenizer);
    mm_free(model->directory);
    *model = (mm_diffusion_model){0};
}

mm_status mm_component_load(mm_component *component, const mm_runtime *runtime, mm_error *error)
{
    if (component->loaded)
        return MM_OK;
    double start = mm_clock_seconds();
    mm_tensor_file *file = NULL;
    MM_TRY(mm_tensor_file_open(&file, component->path, error));
    mm_status status =
        mm_weights_load(&component->weights, file, runtime->backend, runtime->logger, error);
    mm_tensor_file_close(&file);
    if (status != MM_OK) {
        mm_weights_release(&component->weights, runtime->backend);
        return status;
    }
    component->loaded = true;
    if (runtime->loaded)
        runtime->loaded(runtime->user, mm_clock_seconds() - start);
    return MM_OK;
}

void mm_component_release(mm_component *component, mm_backend *backend)
{
    if (component->loaded)
        mm_weights_release(&component->weights, backend);
    component->loaded = false;
}

size_t mm_component_bytes(const mm_component *component, const mm_backend *backend)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < component->weights.count; i++)
        bytes += backend->table->weight_bytes(backend, component->weights.weight[i]);
    return bytes;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening LoRAs, and what can be asked of them. */
#include "api/lora_internal.h"

#include <string.h>

#include "api/status_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* "checkpoint-400" -> 400; -1 when the last component has another form. */
static int64_t checkpoint_step(const char *path)
{
    const char *name = strstr(path, "checkpoint-"), *next;
    if (!name)
        return -1;
    while ((next = strstr(name + 1, "checkpoint-")))
        name = next;
    char digits[24] = "";
    size_t length = strspn(name + 11, "0123456789");
    int64_t step;
    if (length >= sizeof(digits))
        return -1;
    memcpy(digits, name + 11, length);
    return mm_parse_int(digits, &step) ? step : -1;
}

/* The first of the files that programs save a LoRA to; NULL without memory. */
static char *file_in_directory(const char *path)
{
    static const char *const names[] = {"lora.safetensors", "adapter_model.safetensors",
                                        "pytorch_lora_weights.safetensors",
                                        "pytorch_lora_weights.bin"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *file = mm_path_join(path, names[i]);
        if (!file || mm_path_is_file(file))
            return file;
        mm_free(file);
    }
    return mm_format("%s/lora/%lld_unet.pt", path, (long long)checkpoint_step(path));
}

mm_status mm_lora_resolve_path(const char *path, char **out, mm_error *error)
{
    bool directory = mm_path_is_directory(path);
    *out = directory ? file_in_directory(path) : mm_strdup(path);
    if (!*out)
        return mm_fail_memory(error, "a path", strlen(path));
    if (!directory || mm_path_is_file(*out))
        return MM_OK;
    mm_free(*out);
    *out = NULL;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: no LoRA here; a directory with lora.safetensors, "
                   "adapter_model.safetensors, pytorch_lora_weights.safetensors or "
                   "lora/<step>_unet.pt is expected",
                   path);
}

static const mm_weight_part *find_part(const mm_weight_set *weights, const char *name)
{
    for (int32_t i = 0; i < weights->count; i++) {
        for (int32_t p = 0; p < weights->weight[i]->part_count; p++) {
            if (strcmp(weights->weight[i]->part[p].name, name) == 0)
                return &weights->weight[i]->part[p];
        }
    }
    return NULL;
}

/* A layer of the LoRA is wanted when the model has it, and must fit then. */
static mm_status accept_layer(void *user, const mm_lora_entry *entry, bool *out, mm_error *error)
{
    const mm_model *model = user;
    char shape[96], *name = mm_format("%s.weight", entry->path);
    if (!name)
        return mm_fail_memory(error, "a name", strlen(entry->path));
    const mm_weight_part *part = find_part(&model->parts.unet.weights, name);
    mm_free(name);
    *out = part != NULL;
    if (!part || (part->shape.rank >= 2 && part->shape.dim[0] == entry->out &&
                  mm_shape_elements(&part->shape) / entry->out == entry->in))
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT,
                   "layer %s has %lld inputs and %lld outputs, which does not fit the model's %s: "
                   "a LoRA for another model?",
                   entry->path, (long long)entry->in, (long long)entry->out,
                   mm_shape_text(&part->shape, shape, sizeof(shape)));
}

static mm_status read_table(mm_lora_table *table, const mm_tensor_file *file, const mm_model *model,
                            mm_error *error)
{
    mm_lora_order order = {0};
    if (model)
        MM_TRY(mm_site_list_order(&model->parts.sites, &order, error));
    mm_status status = mm_lora_table_read(table, file, model ? &order : NULL, error);
    mm_free(order.path);
    return status;
}

static mm_status report_applied(const mm_lora *lora, const char *path, mm_error *error)
{
    const mm_lora_layers *layers = &lora->layers;
    const mm_logger *logger = &lora->context->logger;
    if (lora->model)
        return mm_lora_report_applied(path, layers->used, layers->tensors, logger, error);
    mm_log(logger, layers->used < layers->tensors ? MM_LOG_WARNING : MM_LOG_DEBUG,
           "%s: %zu of %zu tensors belong to a UNet's LoRA", path, layers->used, layers->tensors);
    return MM_OK;
}

static mm_status read_file(mm_lora *lora, const mm_tensor_file *file, mm_error *error)
{
    mm_lora_table table = {0};
    const mm_lora_filter filter = {accept_layer, lora->model};
    MM_TRY(read_table(&table, file, lora->model, error));
    mm_status status =
        mm_lora_layers_read(&lora->layers, file, &table, lora->model ? &filter : NULL, error);
    mm_lora_table_free(&table);
    if (status == MM_OK)
        return report_applied(lora, mm_tensor_file_path(file), error);
    const char *path = mm_tensor_file_path(file);
    bool named = strncmp(error->text, path, strlen(path)) == 0;
    return named ? status : mm_error_prefix(error, "%s", path);
}

static mm_status read_path(mm_lora *lora, const char *path, mm_error *error)
{
    char *name = NULL;
    mm_tensor_file *file = NULL;
    MM_TRY(mm_lora_resolve_path(path, &name, error));
    mm_status status = mm_tensor_file_open(&file, name, error);
    mm_free(name);
    if (status == MM_OK)
        status = read_file(lora, file, error);
    mm_tensor_file_close(&file);
    return status;
}

mm_lora *mm_lora_make(mm_context *context, mm_model *model, mm_error *error)
{
    mm_lora *lora = mm_calloc(1, sizeof(*lora));
    if (!lora) {
        mm_fail_memory(error, "a LoRA", sizeof(*lora));
        return NULL;
    }
    lora->context = mm_context_retain(context);
    lora->model = model ? mm_model_retain(model) : NULL;
    return lora;
}

static mm_status open_lora(mm_lora **out, mm_context *context, mm_model *model, const char *path,
                           mm_error *error)
{
    MM_TRY(mm_context_check_process(context, error));
    mm_lora *lora = mm_lora_make(context, model, error);
    if (!lora)
        return MM_ERR_MEMORY;
    mm_status status = read_path(lora, path, error);
    if (status == MM_OK)
        *out = lora;
    else
        mm_lora_free(&lora);
    return status;
}

mm_status mm_lora_create(mm_lora **out, mm_model *model)
{
    if (out)
        *out = NULL;
    if (!out || !model)
        return mm_api_misuse(__func__, "out and model must not be NULL");
    mm_error error = {0};
    *out = mm_lora_make(model->context, model, &error);
    return mm_api_return(*out ? MM_OK : MM_ERR_MEMORY, &error);
}

static mm_status add_layer(mm_lora *lora, const char *path, const mm_tensor *down,
                           const mm_tensor *up, double alpha, mm_error *error)
{
    mm_lora_layers one = {0};
    bool known = false;
    mm_status status = mm_lora_layers_add(&one, path, down, up, alpha, error);
    if (status == MM_OK) {
        const mm_lora_layer *layer = &one.layer[0];
        const mm_lora_entry entry = {.path = path, .in = layer->in, .out = layer->out};
        status = accept_layer(lora->model, &entry, &known, error);
    }
    if (status == MM_OK && !known)
        status = mm_fail(error, MM_ERR_INPUT, "the model's UNet has no module %s", path);
    mm_lora_layers_free(&one);
    return status == MM_OK ? mm_lora_layers_add(&lora->layers, path, down, up, alpha, error)
                           : status;
}

mm_status mm_lora_add_layer(mm_lora *lora, const char *path, const mm_tensor *down,
                            const mm_tensor *up, double alpha)
{
    if (!lora || !path || !down || !up)
        return mm_api_misuse(__func__, "lora, path, down and up must not be NULL");
    if (!lora->model)
        return mm_api_misuse(__func__, "the LoRA was opened without a model");
    mm_error error = {0};
    return mm_api_return(add_layer(lora, path, down, up, alpha, &error), &error);
}

mm_status mm_lora_open(mm_lora **out, mm_model *model, const char *path)
{
    if (out)
        *out = NULL;
    if (!out || !model || !path)
        return mm_api_misuse(__func__, "out, model and path must not be NULL");
    mm_error error = {0};
    return mm_api_return(open_lora(out, model->context, model, path, &error), &error);
}

mm_status mm_lora_open_alone(mm_lora **out, mm_context *context, const char *path)
{
    if (out)
        *out = NULL;
    if (!out || !context || !path)
        return mm_api_misuse(__func__, "out, context and path must not be NULL");
    mm_error error = {0};
    return mm_api_return(open_lora(out, context, NULL, path, &error), &error);
}

void mm_lora_free(mm_lora **lora)
{
    if (!lora || !*lora)
        return;
    mm_lora_layers_free(&(*lora)->layers);
    mm_model_free(&(*lora)->model);
    mm_context_free(&(*lora)->context);
    mm_free(*lora);
    *lora = NULL;
}

const char *mm_lora_format(const mm_lora *lora)
{
    static const char *const names[] = {[MM_LORA_PEFT] = "peft",
                                        [MM_LORA_DIFFUSERS] = "diffusers",
                                        [MM_LORA_KOHYA] = "kohya",
                                        [MM_LORA_LIST] = "pt"};
    return lora ? names[lora->layers.naming] : "";
}

int64_t mm_lora_modules(const mm_lora *lora)
{
    return lora ? (int64_t)lora->layers.count : 0;
}

int64_t mm_lora_rank(const mm_lora *lora)
{
    int64_t rank = 0;
    for (size_t i = 0; lora && i < lora->layers.count; i++)
        rank = lora->layers.layer[i].rank > rank ? lora->layers.layer[i].rank : rank;
    return rank;
}

int64_t mm_lora_tensors(const mm_lora *lora)
{
    return lora ? (int64_t)lora->layers.tensors : 0;
}

int64_t mm_lora_tensors_applied(const mm_lora *lora)
{
    return lora ? (int64_t)lora->layers.used : 0;
}

const char *mm_lora_metadata(const mm_lora *lora, const char *key)
{
    return lora && key ? mm_lora_layers_metadata(&lora->layers, key) : NULL;
}

const char *mm_lora_metadata_key(const mm_lora *lora, size_t index)
{
    return lora && index < lora->layers.metadata_count ? lora->layers.metadata[index].key : NULL;
}

mm_status mm_lora_put_metadata(mm_lora *lora, const char *key, const char *value)
{
    if (!lora || !key || !value)
        return mm_api_misuse(__func__, "lora, key and value must not be NULL");
    if (!mm_utf8_valid(key, strlen(key)) || !mm_utf8_valid(value, strlen(value)))
        return mm_api_misuse(__func__, "key and value must be UTF-8");
    if (strcmp(key, MM_SAFETENSORS_FORMAT) == 0)
        return mm_api_misuse(__func__, "\"format\" is what safetensors files say of themselves");
    mm_error error = {0};
    return mm_api_return(mm_lora_layers_set_metadata(&lora->layers, key, value, &error), &error);
}

mm_status mm_lora_matrices(const mm_lora *lora, int64_t index, mm_tensor **down, mm_tensor **up)
{
    if (down)
        *down = NULL;
    if (up)
        *up = NULL;
    if (!lora || index < 0 || index >= mm_lora_modules(lora))
        return mm_api_misuse(__func__, "no such layer");
    if (down)
        *down = mm_tensor_retain(lora->layers.layer[index].down);
    if (up)
        *up = mm_tensor_retain(lora->layers.layer[index].up);
    return MM_OK;
}

mm_status mm_lora_describe(const mm_lora *lora, int64_t index, mm_lora_layer_info *info)
{
    if (!lora || !info || info->struct_size < sizeof(*info))
        return mm_api_misuse(__func__, "lora and info must be given, with info's struct_size");
    if (index < 0 || index >= mm_lora_modules(lora))
        return mm_api_misuse(__func__, "no such layer");
    mm_error error = {0};
    const mm_lora_layer *layer = &lora->layers.layer[index];
    double norm = mm_lora_layer_norm(layer);
    if (norm < 0.0)
        return mm_api_return(mm_fail_memory(&error, "a LoRA's layer", sizeof(float)), &error);
    *info = (mm_lora_layer_info){.struct_size = info->struct_size,
                                 .path = layer->path,
                                 .dtype = mm_dtype_name(layer->down->dtype),
                                 .rank = layer->rank,
                                 .in = layer->in,
                                 .out = layer->out,
                                 .alpha = layer->alpha,
                                 .norm = norm};
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "weights/lora_config.h"
#include "weights/lora_layers.h"

/* What a file will hold; names and small numbers live in the arena. */
typedef struct content {
    mm_arena arena;
    mm_tensor_entry *entries;
    size_t count;
} content;

static mm_status begin(content *c, size_t most, mm_error *error)
{
    *c = (content){.entries = mm_calloc(most, sizeof(*c->entries))};
    return c->entries ? MM_OK : mm_fail_memory(error, "a LoRA", most * sizeof(*c->entries));
}

static void end(content *c)
{
    mm_free(c->entries);
    mm_arena_free(&c->arena);
}

static mm_status add(content *c, const char *stem, const char *ending, const mm_tensor *matrix,
                     mm_error *error)
{
    const char *name = stem ? mm_arena_format(&c->arena, "%s%s", stem, ending) : NULL;
    if (!name)
        return mm_fail_memory(error, "the names of a LoRA", strlen(ending));
    c->entries[c->count++] = (mm_tensor_entry){name, matrix->dtype, matrix->shape, matrix->data};
    return MM_OK;
}

/* LoraConfig's arguments, as diffusers reads them. Where a layer's rank or alpha differs from the
   common one, the patterns say so. */
static const mm_lora_layer *largest(const mm_lora_layers *layers)
{
    static const mm_lora_layer none;
    const mm_lora_layer *best = &none;
    for (size_t i = 0; i < layers->count; i++)
        best = layers->layer[i].rank > best->rank ? &layers->layer[i] : best;
    return best;
}

static void put_alpha(mm_json_writer *json, const char *key, double alpha)
{
    if (alpha == floor(alpha) && fabs(alpha) < 1e15)
        mm_json_put_int(json, key, (int64_t)alpha);
    else
        mm_json_put_double(json, key, alpha);
}

static void put_config(mm_json_writer *json, const mm_lora_layers *layers)
{
    const mm_lora_layer *common = largest(layers), *layer = layers->layer;
    mm_json_begin(json, NULL, '{');
    mm_json_put_int(json, "unet.r", common->rank);
    put_alpha(json, "unet.lora_alpha", common->alpha);
    mm_json_begin(json, "unet.rank_pattern", '{');
    for (size_t i = 0; i < layers->count; i++) {
        if (layer[i].rank != common->rank)
            mm_json_put_int(json, layer[i].path, layer[i].rank);
    }
    mm_json_end(json, '}');
    mm_json_begin(json, "unet.alpha_pattern", '{');
    for (size_t i = 0; i < layers->count; i++) {
        if (layer[i].alpha != common->alpha)
            put_alpha(json, layer[i].path, layer[i].alpha);
    }
    mm_json_end(json, '}');
    mm_json_begin(json, "unet.target_modules", '[');
    for (size_t i = 0; i < layers->count; i++)
        mm_json_put_string(json, NULL, layer[i].path);
    mm_json_end(json, ']');
    mm_json_end(json, '}');
}

/* A config that came with the LoRA is kept while it says what the layers say; an alpha that went
   through kohya's f32 is rounded. */
static bool still_true(const mm_lora_layers *layers, const char *text)
{
    mm_lora_config config = {0};
    mm_error ignored;
    if (!text || mm_lora_config_parse(&config, MM_LORA_CONFIG_KEY, text, &ignored) != MM_OK)
        return false;
    bool same = mm_json_member(config.document.root, "unet.r") &&
                mm_json_member(config.document.root, "unet.target_modules");
    for (size_t i = 0; same && i < layers->count; i++) {
        const mm_lora_layer *layer = &layers->layer[i];
        double alpha = mm_lora_config_alpha(&config, layer->path, layer->rank);
        same = fabs(alpha - layer->alpha) <= 1e-6 * fabs(alpha);
    }
    mm_lora_config_free(&config);
    return same;
}

static mm_status config_text(content *c, const mm_lora_layers *layers, const char **text,
                             mm_error *error)
{
    mm_json_writer json = {0};
    if (still_true(layers, *text))
        return MM_OK;
    put_config(&json, layers);
    *text = json.failed ? NULL : mm_arena_strdup(&c->arena, json.text);
    mm_free(json.text);
    return *text ? MM_OK : mm_fail_memory(error, "a LoRA's metadata", json.bytes);
}

/* The layers' metadata with "format", and with a config that PEFT can use. */
static mm_status describe(content *c, const mm_lora_layers *layers, bool config,
                          mm_metadata_entry **out, size_t *count, mm_error *error)
{
    const char *text = mm_lora_layers_metadata(layers, MM_LORA_CONFIG_KEY);
    size_t bytes = (layers->metadata_count + 2) * sizeof(**out), n = 0;
    *out = mm_arena_alloc(&c->arena, bytes);
    if (!*out)
        return mm_fail_memory(error, "a LoRA's metadata", bytes);
    if (config)
        MM_TRY(config_text(c, layers, &text, error));
    for (size_t i = 0; i < layers->metadata_count; i++) {
        const mm_metadata_entry *entry = &layers->metadata[i];
        if (strcmp(entry->key, MM_LORA_CONFIG_KEY) != 0)
            (*out)[n++] = *entry;
    }
    (*out)[n++] = (mm_metadata_entry){MM_SAFETENSORS_FORMAT, "pt"};
    if (text)
        (*out)[n++] = (mm_metadata_entry){MM_LORA_CONFIG_KEY, text};
    *count = n;
    return MM_OK;
}

static mm_status write_content(content *c, const mm_lora_layers *layers, bool config,
                               const char *path, mm_error *error)
{
    mm_metadata_entry *metadata = NULL;
    size_t count = 0;
    MM_TRY(describe(c, layers, config, &metadata, &count, error));
    return mm_safetensors_write(path, c->entries, c->count, metadata, count, error);
}

static mm_status add_peft(content *c, const mm_lora_layers *layers, mm_error *error)
{
    for (size_t i = 0; i < layers->count; i++) {
        const mm_lora_layer *layer = &layers->layer[i];
        const char *stem = mm_arena_format(&c->arena, "unet.%s", layer->path);
        MM_TRY(add(c, stem, ".lora_A.weight", layer->down, error));
        MM_TRY(add(c, stem, ".lora_B.weight", layer->up, error));
    }
    return MM_OK;
}

mm_status mm_lora_write_peft(const mm_lora_layers *layers, const char *path, mm_error *error)
{
    content c = {0};
    mm_status status = begin(&c, 2 * layers->count, error);
    if (status == MM_OK)
        status = add_peft(&c, layers, error);
    if (status == MM_OK)
        status = write_content(&c, layers, true, path, error);
    end(&c);
    return status;
}

static mm_status add_alpha(content *c, const char *stem, double alpha, mm_error *error)
{
    float *value = mm_arena_alloc(&c->arena, sizeof(*value));
    if (!value)
        return mm_fail_memory(error, "a LoRA", sizeof(*value));
    *value = (float)alpha;
    const mm_tensor scalar = {.dtype = MM_F32, .data = value};
    return add(c, stem, ".alpha", &scalar, error);
}

static mm_status add_kohya(content *c, const mm_lora_layers *layers, mm_error *error)
{
    for (size_t i = 0; i < layers->count; i++) {
        const mm_lora_layer *layer = &layers->layer[i];
        const char *stem = mm_lora_kohya_name(layer->path, &c->arena);
        MM_TRY(add(c, stem, ".lora_down.weight", layer->down, error));
        MM_TRY(add(c, stem, ".lora_up.weight", layer->up, error));
        MM_TRY(add_alpha(c, stem, layer->alpha, error));
    }
    return MM_OK;
}

mm_status mm_lora_write_kohya(const mm_lora_layers *layers, const char *path, mm_error *error)
{
    content c = {0};
    mm_status status = begin(&c, 3 * layers->count, error);
    if (status == MM_OK)
        status = add_kohya(&c, layers, error);
    if (status == MM_OK)
        status = write_content(&c, layers, false, path, error);
    end(&c);
    return status;
}

static const mm_lora_layer *find_layer(const mm_lora_layers *layers, const char *path)
{
    size_t low = 0, high = layers->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(layers->layer[middle].path, path);
        if (order == 0)
            return &layers->layer[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static mm_status add_scaled(content *c, const mm_lora_layer *layer, const mm_tensor *matrix,
                            mm_error *error)
{
    const bool is_up = matrix == layer->up;
    const double scale = is_up ? layer->alpha / (double)layer->rank : 1.0;
    const size_t count = (size_t)mm_shape_elements(&matrix->shape);
    float *values = mm_tensor_floats(matrix);
    if (!values)
        return mm_fail_memory(error, "a LoRA", count * sizeof(*values));
    for (size_t i = 0; i < count; i++)
        values[i] = (float)((double)values[i] * scale);
    mm_shape shape = is_up ? MM_SHAPE(layer->out, layer->rank) : MM_SHAPE(layer->rank, layer->in);
    c->entries[c->count++] = (mm_tensor_entry){layer->path, MM_F32, shape, values};
    return MM_OK;
}

/* All of the model's layers, or those of one kind of transformer alone. */
static mm_status add_list(content *c, const mm_lora_layers *layers, const mm_lora_order *order,
                          const char *path, mm_error *error)
{
    const bool temporal = layers->count == order->count - order->spatial;
    const char **name = order->path + (temporal ? order->spatial : 0);
    const bool some = temporal || layers->count == order->spatial;
    for (size_t i = 0; i < (some ? layers->count : order->count); i++) {
        const mm_lora_layer *layer = find_layer(layers, name[i]);
        if (!layer)
            return mm_fail(error, MM_ERR_UNSUPPORTED,
                           "%s: the released code's list holds every layer; %s is not adapted",
                           path, name[i]);
        MM_TRY(add_scaled(c, layer, layer->up, error));
        MM_TRY(add_scaled(c, layer, layer->down, error));
    }
    if (c->count == 2 * layers->count)
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: %zu of the LoRA's %zu layers have no place in the released code's list",
                   path, layers->count - c->count / 2, layers->count);
}

mm_status mm_lora_write_list(const mm_lora_layers *layers, const mm_lora_order *order,
                             const char *path, mm_error *error)
{
    content c = {0};
    mm_status status = begin(&c, 2 * order->count, error);
    if (status == MM_OK)
        status = add_list(&c, layers, order, path, error);
    if (status == MM_OK)
        status = mm_pickle_list_write(path, c.entries, c.count, error);
    for (size_t i = 0; i < c.count; i++)
        mm_free((void *)(uintptr_t)c.entries[i].data);
    end(&c);
    return status;
}

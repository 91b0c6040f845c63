/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/lora_layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "weights/tensor_table.h"

static void free_layer(mm_lora_layer *layer)
{
    mm_tensor_free(&layer->down);
    mm_tensor_free(&layer->up);
}

void mm_lora_layers_free(mm_lora_layers *layers)
{
    for (size_t i = 0; i < layers->count; i++)
        free_layer(&layers->layer[i]);
    mm_free(layers->layer);
    mm_arena_free(&layers->arena);
    *layers = (mm_lora_layers){0};
}

static mm_status read_matrix(mm_tensor **out, const mm_tensor_file *file, size_t index,
                             mm_error *error)
{
    const mm_tensor_info *info = mm_tensor_file_info(file, index);
    MM_TRY(mm_tensor_allocate(out, info->dtype, &info->shape, error));
    return mm_tensor_file_read_raw(file, index, 0, mm_shape_elements(&info->shape), (*out)->data,
                                   error);
}

static mm_status add_layer(mm_lora_layers *layers, const mm_tensor_file *file,
                           const mm_lora_entry *entry, mm_error *error)
{
    mm_lora_layer *layer = &layers->layer[layers->count++];
    *layer = (mm_lora_layer){.path = mm_arena_strdup(&layers->arena, entry->path),
                             .rank = entry->rank,
                             .in = entry->in,
                             .out = entry->out,
                             .alpha = entry->alpha};
    if (!layer->path)
        return mm_fail_memory(error, "a LoRA", strlen(entry->path));
    layers->used += mm_lora_entry_tensors(entry);
    MM_TRY(read_matrix(&layer->down, file, entry->down, error));
    return read_matrix(&layer->up, file, entry->up, error);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const mm_metadata_entry *)a)->key, ((const mm_metadata_entry *)b)->key);
}

/* The reader has refused equal keys. What safetensors says of the file itself is left out. */
static mm_status copy_metadata(mm_lora_layers *layers, const mm_tensor_file *file, mm_error *error)
{
    const size_t count = file->text_count;
    mm_metadata_entry *all = mm_arena_alloc(&layers->arena, (count + 1) * sizeof(*all));
    if (!all)
        return mm_fail_memory(error, "a LoRA's metadata", count * sizeof(*all));
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(file->texts[i].key, MM_SAFETENSORS_FORMAT) == 0)
            continue;
        mm_metadata_entry *entry = &all[kept++];
        entry->key = mm_arena_strdup(&layers->arena, file->texts[i].key);
        entry->value = mm_arena_strdup(&layers->arena, file->texts[i].value);
        if (!entry->key || !entry->value)
            return mm_fail_memory(error, "a LoRA's metadata", strlen(file->texts[i].value));
    }
    if (kept > 0)
        qsort(all, kept, sizeof(*all), compare_keys);
    layers->metadata = all;
    layers->metadata_count = kept;
    return MM_OK;
}

static mm_status read_layers(mm_lora_layers *layers, const mm_tensor_file *file,
                             const mm_lora_table *table, const mm_lora_filter *filter,
                             mm_error *error)
{
    layers->layer = mm_calloc(table->count, sizeof(*layers->layer));
    if (!layers->layer)
        return mm_fail_memory(error, "a LoRA", table->count * sizeof(*layers->layer));
    for (size_t i = 0; i < table->count; i++) {
        bool wanted = true;
        if (filter)
            MM_TRY(filter->accept(filter->user, &table->entry[i], &wanted, error));
        if (wanted)
            MM_TRY(add_layer(layers, file, &table->entry[i], error));
    }
    return copy_metadata(layers, file, error);
}

mm_status mm_lora_layers_read(mm_lora_layers *out, const mm_tensor_file *file,
                              const mm_lora_table *table, const mm_lora_filter *filter,
                              mm_error *error)
{
    *out = (mm_lora_layers){
        .naming = table->naming, .unnamed = table->unnamed, .tensors = mm_tensor_file_count(file)};
    mm_status status = read_layers(out, file, table, filter, error);
    if (status != MM_OK)
        mm_lora_layers_free(out);
    return status;
}

/* The rank of a pair of matrices and the sides of what it adds to; false when they do not fit. */
static bool measure(mm_lora_layer *layer)
{
    const mm_shape *down = &layer->down->shape, *up = &layer->up->shape;
    if (down->rank < 2 || up->rank < 2 || up->dim[1] != down->dim[0])
        return false;
    for (int32_t i = 2; i < up->rank; i++) {
        if (up->dim[i] != 1)
            return false;
    }
    layer->rank = down->dim[0];
    layer->out = up->dim[0];
    if (layer->rank < 1)
        return false;
    layer->in = mm_shape_elements(down) / layer->rank;
    return layer->rank <= layer->in && layer->rank <= layer->out;
}

static mm_status check_layer(mm_lora_layer *layer, mm_error *error)
{
    char down[96], up[96];
    if (!mm_tensor_is_real(layer->down) || !mm_tensor_is_real(layer->up))
        return mm_fail(error, MM_ERR_USAGE,
                       "layer %s: matrices of f32, f16, bf16 or f64 are needed", layer->path);
    if (!isfinite(layer->alpha))
        return mm_fail(error, MM_ERR_USAGE, "layer %s: alpha is not finite", layer->path);
    if (measure(layer))
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "layer %s: down is %s and up %s; [rank, in] and [out, rank] are needed, of a "
                   "rank within 1..min(in, out)",
                   layer->path, mm_shape_text(&layer->down->shape, down, sizeof(down)),
                   mm_shape_text(&layer->up->shape, up, sizeof(up)));
}

/* Moves the layer into the sorted array. */
static mm_status insert_layer(mm_lora_layers *layers, const mm_lora_layer *layer, mm_error *error)
{
    const size_t bytes = (layers->count + 1) * sizeof(*layer);
    mm_lora_layer *grown = mm_realloc(layers->layer, bytes);
    if (!grown)
        return mm_fail_memory(error, "a LoRA", bytes);
    layers->layer = grown;
    size_t at = 0;
    while (at < layers->count && strcmp(grown[at].path, layer->path) < 0)
        at++;
    if (at < layers->count && strcmp(grown[at].path, layer->path) == 0)
        return mm_fail(error, MM_ERR_USAGE, "layer %s is there already", layer->path);
    memmove(grown + at + 1, grown + at, (layers->count - at) * sizeof(*grown));
    grown[at] = *layer;
    layers->count++;
    layers->tensors += 2;
    layers->used += 2;
    return MM_OK;
}

mm_status mm_lora_layers_add(mm_lora_layers *layers, const char *path, const mm_tensor *down,
                             const mm_tensor *up, double alpha, mm_error *error)
{
    mm_lora_layer layer = {.path = mm_arena_strdup(&layers->arena, path), .alpha = alpha};
    if (!layer.path)
        return mm_fail_memory(error, "a LoRA", strlen(path));
    mm_status status = mm_tensor_pack(&layer.down, down, error);
    if (status == MM_OK)
        status = mm_tensor_pack(&layer.up, up, error);
    if (status == MM_OK)
        status = check_layer(&layer, error);
    if (status == MM_OK)
        status = insert_layer(layers, &layer, error);
    if (status != MM_OK)
        free_layer(&layer);
    return status;
}

static mm_metadata_entry *find_metadata(const mm_lora_layers *layers, const char *key)
{
    const mm_metadata_entry wanted = {.key = key};
    if (layers->metadata_count == 0)
        return NULL;
    return bsearch(&wanted, layers->metadata, layers->metadata_count, sizeof(wanted), compare_keys);
}

const char *mm_lora_layers_metadata(const mm_lora_layers *layers, const char *key)
{
    const mm_metadata_entry *entry = find_metadata(layers, key);
    return entry ? entry->value : NULL;
}

/* A copy of the metadata with one more entry in its place; NULL without memory. */
static mm_metadata_entry *insert_metadata(mm_lora_layers *layers, const char *key)
{
    const size_t count = layers->metadata_count;
    mm_metadata_entry *all = mm_arena_alloc(&layers->arena, (count + 1) * sizeof(*all));
    const mm_metadata_entry added = {.key = mm_arena_strdup(&layers->arena, key)};
    if (!all || !added.key)
        return NULL;
    size_t at = 0;
    while (at < count && strcmp(layers->metadata[at].key, key) < 0)
        at++;
    if (at > 0)
        memcpy(all, layers->metadata, at * sizeof(*all));
    if (at < count)
        memcpy(all + at + 1, layers->metadata + at, (count - at) * sizeof(*all));
    all[at] = added;
    layers->metadata = all;
    layers->metadata_count++;
    return &all[at];
}

mm_status mm_lora_layers_set_metadata(mm_lora_layers *layers, const char *key, const char *value,
                                      mm_error *error)
{
    char *copy = mm_arena_strdup(&layers->arena, value);
    mm_metadata_entry *entry = copy ? find_metadata(layers, key) : NULL;
    if (copy && !entry)
        entry = insert_metadata(layers, key);
    if (!entry)
        return mm_fail_memory(error, "a LoRA's metadata", strlen(value));
    entry->value = copy;
    return MM_OK;
}

void mm_lora_layers_drop_metadata(mm_lora_layers *layers, const char *key)
{
    mm_metadata_entry *entry = find_metadata(layers, key);
    if (!entry)
        return;
    size_t behind = layers->metadata_count - (size_t)(entry - layers->metadata) - 1;
    memmove(entry, entry + 1, behind * sizeof(*entry));
    layers->metadata_count--;
}

/* sum over i, j of (row i of a . row j of a) * (column i of b . column j of b): the squared norm of
   b * a without that product. */
static double squared_norm(const float *a, const float *b, const mm_lora_layer *layer)
{
    double sum = 0.0;
    for (int64_t i = 0; i < layer->rank; i++) {
        for (int64_t j = i; j < layer->rank; j++) {
            double rows = 0.0, columns = 0.0;
            for (int64_t k = 0; k < layer->in; k++)
                rows += (double)a[i * layer->in + k] * (double)a[j * layer->in + k];
            for (int64_t k = 0; k < layer->out; k++)
                columns += (double)b[k * layer->rank + i] * (double)b[k * layer->rank + j];
            sum += (i == j ? 1.0 : 2.0) * rows * columns;
        }
    }
    return sum > 0.0 || isnan(sum) ? sum : 0.0;
}

double mm_lora_layer_norm(const mm_lora_layer *layer)
{
    float *down = mm_tensor_floats(layer->down), *up = mm_tensor_floats(layer->up);
    double norm = -1.0;
    if (down && up)
        norm = fabs(layer->alpha / (double)layer->rank) * sqrt(squared_norm(down, up, layer));
    mm_free(down);
    mm_free(up);
    return norm;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "base/memory.h"
#include "training/lora_internal.h"
#include "weights/lora_layers.h"

/* A LoRA file as it is read for the sites of one model. */
typedef struct source {
    const mm_tensor_file *file;
    mm_lora_table table;
} source;

static const mm_lora_entry *find(const source *s, const mm_lora_module *module, int32_t part)
{
    return mm_lora_table_find(&s->table, module->site->path[part]);
}

static mm_status check_sides(const source *s, const mm_lora_site *site, const mm_lora_entry *entry,
                             mm_error *error)
{
    if (entry->in == site->in_features && entry->out == site->out_features)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: layer %s has %lld inputs and %lld outputs, which does not fit the model's "
                   "%lld and %lld: a LoRA for another model?",
                   mm_tensor_file_path(s->file), entry->path, (long long)entry->in,
                   (long long)entry->out, (long long)site->in_features,
                   (long long)site->out_features);
}

/* The largest rank of the module's layers, 0 where the file adapts none of them. */
static mm_status choose_rank(const source *s, mm_lora_module *module, size_t *applied,
                             mm_error *error)
{
    for (int32_t p = 0; p < module->site->count; p++) {
        const mm_lora_entry *entry = find(s, module, p);
        if (!entry)
            continue;
        MM_TRY(check_sides(s, module->site, entry, error));
        module->rank = entry->rank > module->rank ? entry->rank : module->rank;
        *applied += mm_lora_entry_tensors(entry);
    }
    return MM_OK;
}

/* Stacked layers have one rank: a smaller one is filled up with zeros, which change nothing. Files
   may scale the product; sets do not. */
static mm_status read_layer(const source *s, mm_lora_module *module, int32_t part,
                            const mm_lora_entry *entry, mm_error *error)
{
    const mm_lora_site *site = module->site;
    const int64_t rank = entry->rank, full = module->rank;
    const double scale = entry->alpha / (double)rank;
    float *down = (float *)module->down.data + part * full * site->in_features;
    float *up = (float *)module->up.data + part * site->out_features * full;
    MM_TRY(mm_tensor_file_read_f32(s->file, entry->down, 0, rank * site->in_features, down, error));
    if (rank == full)
        MM_TRY(
            mm_tensor_file_read_f32(s->file, entry->up, 0, site->out_features * rank, up, error));
    for (int64_t o = 0; rank < full && o < site->out_features; o++)
        MM_TRY(mm_tensor_file_read_f32(s->file, entry->up, o * rank, rank, up + o * full, error));
    for (int64_t i = 0; scale != 1.0 && i < site->out_features * full; i++)
        up[i] = (float)((double)up[i] * scale);
    return MM_OK;
}

static mm_status read_module(const source *s, mm_lora_module *module, mm_error *error)
{
    MM_TRY(mm_lora_module_allocate(module, module->rank, error));
    for (int32_t p = 0; p < module->site->count; p++) {
        const mm_lora_entry *entry = find(s, module, p);
        if (entry)
            MM_TRY(read_layer(s, module, p, entry, error));
    }
    return MM_OK;
}

static mm_status read_modules(mm_lora_set *set, const source *s, const mm_logger *logger,
                              mm_error *error)
{
    size_t applied = 0;
    for (int32_t i = 0; i < set->count; i++)
        MM_TRY(choose_rank(s, &set->module[i], &applied, error));
    MM_TRY(mm_lora_report_applied(mm_tensor_file_path(s->file), applied,
                                  mm_tensor_file_count(s->file), logger, error));
    for (int32_t i = 0; i < set->count; i++) {
        if (set->module[i].rank)
            MM_TRY(read_module(s, &set->module[i], error));
        set->rank = set->module[i].rank > set->rank ? set->module[i].rank : set->rank;
    }
    return MM_OK;
}

static mm_status copy_metadata(mm_lora_set *set, const mm_tensor_file *file, mm_error *error)
{
    static const char *const keys[] = {"mm_min_timestep", "mm_version",   "mm_prompt", "mm_steps",
                                       "mm_seed",         "mm_rank",      "mm_frames", "mm_width",
                                       "mm_height",       "mm_objective", "mm_step"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *value = mm_tensor_file_metadata(file, keys[i]);
        if (value)
            MM_TRY(mm_lora_set_metadata(set, keys[i], value, error));
    }
    return MM_OK;
}

static mm_status load_from(mm_lora_set *set, const mm_site_list *sites, const mm_tensor_file *file,
                           const mm_logger *logger, mm_error *error)
{
    source s = {.file = file};
    mm_lora_order order;
    MM_TRY(mm_site_list_order(sites, &order, error));
    mm_status status = mm_lora_table_read(&s.table, file, &order, error);
    mm_free(order.path);
    if (status == MM_OK)
        status = read_modules(set, &s, logger, error);
    mm_lora_table_free(&s.table);
    return status == MM_OK ? copy_metadata(set, file, error) : status;
}

mm_status mm_lora_set_load(mm_lora_set *out, const mm_site_list *sites, const char *path,
                           const mm_logger *logger, mm_error *error)
{
    MM_TRY(mm_lora_set_begin(out, sites, error));
    mm_tensor_file *file = NULL;
    mm_status status = mm_tensor_file_open(&file, path, error);
    if (status == MM_OK)
        status = load_from(out, sites, file, logger, error);
    mm_tensor_file_close(&file);
    if (status != MM_OK)
        mm_lora_set_free(out);
    return status;
}

mm_status mm_lora_set_read(mm_lora_set *set, const mm_tensor_file *file, const char *prefix,
                           mm_error *error)
{
    mm_lora_tensor *tensors = NULL;
    size_t count = 0;
    MM_TRY(mm_lora_set_tensors(set, &tensors, &count, error));
    mm_status status = MM_OK;
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        char *name = mm_format("%s%s", prefix, tensors[i].name);
        status = name
                     ? mm_tensor_file_read_named_f32(file, name, &tensors[i].shape,
                                                     mm_lora_tensor_values(set, &tensors[i]), error)
                     : mm_fail_memory(error, "a name", strlen(tensors[i].name));
        mm_free(name);
    }
    mm_free(tensors);
    return status;
}

/* One matrix, in its own memory or in the set's. */
static mm_status make_matrix(mm_tensor **out, mm_shape shape, float *values, bool copied,
                             mm_error *error)
{
    mm_tensor *view = NULL;
    MM_TRY(mm_tensor_make(&view, MM_F32, &shape, NULL, values, NULL, NULL, error));
    if (!copied) {
        *out = view;
        return MM_OK;
    }
    mm_status status = mm_tensor_copy(out, view, error);
    mm_tensor_free(&view);
    return status;
}

static mm_status add_layer(const mm_lora_module *module, int32_t part, bool copied,
                           mm_lora_layers *out, mm_error *error)
{
    const mm_lora_site *site = module->site;
    const int64_t rank = module->rank, in = site->in_features, side = site->out_features;
    float *down_values = (float *)module->down.data + part * rank * in;
    float *up_values = (float *)module->up.data + part * side * rank;
    mm_tensor *down = NULL, *up = NULL;
    mm_status status = make_matrix(&down, MM_SHAPE(rank, in), down_values, copied, error);
    if (status == MM_OK)
        status = make_matrix(&up, MM_SHAPE(side, rank), up_values, copied, error);
    if (status == MM_OK)
        status = mm_lora_layers_add(out, site->path[part], down, up, (double)rank, error);
    mm_tensor_free(&down);
    mm_tensor_free(&up);
    return status;
}

static mm_status add_layers(const mm_lora_set *set, bool copied, mm_lora_layers *out,
                            mm_error *error)
{
    for (size_t i = 0; i < set->metadata_count; i++)
        MM_TRY(
            mm_lora_layers_set_metadata(out, set->metadata[i].key, set->metadata[i].value, error));
    for (int32_t i = 0; i < set->count; i++) {
        for (int32_t p = 0; set->module[i].rank && p < set->module[i].site->count; p++)
            MM_TRY(add_layer(&set->module[i], p, copied, out, error));
    }
    return MM_OK;
}

mm_status mm_lora_set_layers(const mm_lora_set *set, bool copied, mm_lora_layers *out,
                             mm_error *error)
{
    *out = (mm_lora_layers){.naming = MM_LORA_PEFT};
    mm_status status = add_layers(set, copied, out, error);
    if (status != MM_OK)
        mm_lora_layers_free(out);
    return status;
}

mm_status mm_lora_set_save(mm_lora_set *set, const char *path, mm_error *error)
{
    mm_lora_layers view;
    MM_TRY(mm_lora_set_layers(set, false, &view, error));
    mm_status status = mm_lora_write_peft(&view, path, error);
    mm_lora_layers_free(&view);
    return status;
}

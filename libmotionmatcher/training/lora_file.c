/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "training/lora_internal.h"

/* One linear layer that a LoRA may adapt: a part of a site. */
typedef struct target {
    mm_lora_module *module;
    int32_t part;
} target;

static int compare_targets(const void *a, const void *b)
{
    const target *x = a, *y = b;
    const mm_lora_site *s = x->module->site, *t = y->module->site;
    if (s->kind != t->kind)
        return s->kind < t->kind ? -1 : 1;
    if (s->order != t->order)
        return s->order < t->order ? -1 : 1;
    return x->part - y->part;
}

/* All targets as the released code walks them: spatial transformers first, then temporal ones, each
   in the order of the modules. */
static mm_status list_targets(const mm_lora_set *set, target **out, size_t *count, mm_error *error)
{
    size_t total = 0, n = 0;
    for (int32_t i = 0; i < set->count; i++)
        total += (size_t)set->module[i].site->count;
    *out = mm_calloc(total, sizeof(**out));
    if (!*out)
        return mm_fail_memory(error, "a list of layers", total * sizeof(**out));
    for (int32_t i = 0; i < set->count; i++) {
        for (int32_t p = 0; p < set->module[i].site->count; p++)
            (*out)[n++] = (target){&set->module[i], p};
    }
    qsort(*out, total, sizeof(**out), compare_targets);
    *count = total;
    return MM_OK;
}

static float *up_values(const target *t)
{
    const mm_lora_site *site = t->module->site;
    return (float *)t->module->up.data + (size_t)(t->part * site->out_features * t->module->rank);
}

static float *down_values(const target *t)
{
    const mm_lora_site *site = t->module->site;
    return (float *)t->module->down.data + (size_t)(t->part * t->module->rank * site->in_features);
}

static mm_status check_rank(const char *path, const target *t, int64_t rank, mm_error *error)
{
    int64_t limit = mm_lora_site_rank_limit(t->module->site);
    if (rank >= 1 && rank <= limit)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT, "%s: rank %lld for layer %s is outside 1..%lld", path,
                   (long long)rank, t->module->site->path[t->part], (long long)limit);
}

static mm_status wrong_shape(const mm_tensor_file *file, const mm_tensor_info *info,
                             const target *t, const char *half, mm_error *error)
{
    char have[96];
    const mm_lora_site *site = t->module->site;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: %s of layer %s has shape %s, which does not fit its %lld inputs and %lld "
                   "outputs: a LoRA for another model?",
                   mm_tensor_file_path(file), half, site->path[t->part],
                   mm_shape_text(&info->shape, have, sizeof(have)), (long long)site->in_features,
                   (long long)site->out_features);
}

/* Rank of a pair, after both shapes were checked against the layer. */
static mm_status pair_rank(const mm_tensor_file *file, size_t up, size_t down, const target *t,
                           int64_t *rank, mm_error *error)
{
    const mm_tensor_info *b = mm_tensor_file_info(file, up), *a = mm_tensor_file_info(file, down);
    const mm_lora_site *site = t->module->site;
    if (b->shape.rank != 2 || b->shape.dim[0] != site->out_features)
        return wrong_shape(file, b, t, "the up matrix", error);
    if (a->shape.rank != 2 || a->shape.dim[1] != site->in_features ||
        a->shape.dim[0] != b->shape.dim[1])
        return wrong_shape(file, a, t, "the down matrix", error);
    *rank = a->shape.dim[0];
    return check_rank(mm_tensor_file_path(file), t, *rank, error);
}

/* Stacked layers have one rank: a smaller one is filled up with zeros, which change nothing. */
static mm_status read_pair(const mm_tensor_file *file, size_t up, size_t down, const target *t,
                           int64_t rank, mm_error *error)
{
    const mm_lora_site *site = t->module->site;
    MM_TRY(mm_tensor_file_read_f32(file, down, 0, rank * site->in_features, down_values(t), error));
    float *values = up_values(t);
    if (rank == t->module->rank)
        return mm_tensor_file_read_f32(file, up, 0, site->out_features * rank, values, error);
    for (int64_t o = 0; o < site->out_features; o++)
        MM_TRY(
            mm_tensor_file_read_f32(file, up, o * rank, rank, values + o * t->module->rank, error));
    return MM_OK;
}

typedef struct pair {
    int64_t up, down; /* index in the file; -1: not there */
    int64_t rank;
} pair;

/* Ranks first, so that every module is allocated once with the largest of its targets. */
static mm_status fill_modules(mm_lora_set *set, const mm_tensor_file *file, const target *targets,
                              pair *pairs, size_t count, mm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].up < 0)
            continue;
        MM_TRY(pair_rank(file, (size_t)pairs[i].up, (size_t)pairs[i].down, &targets[i],
                         &pairs[i].rank, error));
        if (pairs[i].rank > targets[i].module->rank)
            targets[i].module->rank = pairs[i].rank;
    }
    for (int32_t i = 0; i < set->count; i++) {
        if (set->module[i].rank)
            MM_TRY(mm_lora_module_allocate(&set->module[i], set->module[i].rank, error));
        set->rank = set->module[i].rank > set->rank ? set->module[i].rank : set->rank;
    }
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].up >= 0)
            MM_TRY(read_pair(file, (size_t)pairs[i].up, (size_t)pairs[i].down, &targets[i],
                             pairs[i].rank, error));
    }
    return MM_OK;
}

/* The positional list holds all targets, or those of one kind of transformer alone. */
static mm_status pair_by_position(const mm_tensor_file *file, const target *targets, pair *pairs,
                                  size_t count, mm_error *error)
{
    size_t spatial = 0, have = mm_tensor_file_count(file), first = 0, last = count;
    for (size_t i = 0; i < count; i++)
        spatial += targets[i].module->site->kind == MM_SITE_SPATIAL;
    if (have == 2 * (count - spatial))
        first = spatial;
    else if (have == 2 * spatial)
        last = spatial;
    else if (have != 2 * count)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a list of %zu matrices; this model's LoRA has %zu: one for another "
                       "model?",
                       mm_tensor_file_path(file), have, 2 * count);
    for (size_t i = first; i < last; i++) {
        pairs[i].up = (int64_t)(2 * (i - first));
        pairs[i].down = pairs[i].up + 1;
    }
    return MM_OK;
}

static int64_t find_half(const mm_tensor_file *file, const char *path, const char *half)
{
    static const char *const forms[] = {"unet.%s.lora_%s.weight", "%s.lora_%s.weight",
                                        "base_model.model.%s.lora_%s.weight",
                                        "unet.%s.lora_%s.default.weight"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char name[512];
        /* The forms are the constants above, each with two %s. */
        int length = snprintf(name, sizeof(name), forms[i], path, half);
        int64_t index =
            length > 0 && (size_t)length < sizeof(name) ? mm_tensor_file_find(file, name) : -1;
        if (index >= 0)
            return index;
    }
    return -1;
}

static mm_status pair_by_name(const mm_tensor_file *file, const target *targets, pair *pairs,
                              size_t count, const mm_logger *logger, mm_error *error)
{
    size_t applied = 0, have = mm_tensor_file_count(file);
    for (size_t i = 0; i < count; i++) {
        const char *path = targets[i].module->site->path[targets[i].part];
        pairs[i].down = find_half(file, path, "A");
        pairs[i].up = find_half(file, path, "B");
        if ((pairs[i].up < 0) != (pairs[i].down < 0))
            return mm_fail(error, MM_ERR_INPUT, "%s: layer %s has only one of lora_A and lora_B",
                           mm_tensor_file_path(file), path);
        applied += pairs[i].up < 0 ? 0 : 2;
    }
    if (!applied)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: none of its %zu tensors names a layer that this model adapts: a LoRA "
                       "for another model, or in another layout?",
                       mm_tensor_file_path(file), have);
    if (applied < have)
        mm_log(logger, MM_LOG_WARNING, "%s: %zu of %zu tensors apply to this model",
               mm_tensor_file_path(file), applied, have);
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

static mm_status load_from(mm_lora_set *set, const mm_tensor_file *file, const mm_logger *logger,
                           mm_error *error)
{
    target *targets = NULL;
    size_t count = 0;
    MM_TRY(list_targets(set, &targets, &count, error));
    pair *pairs = mm_malloc(count * sizeof(*pairs));
    mm_status status = pairs ? MM_OK : mm_fail_memory(error, "a LoRA", count * sizeof(*pairs));
    for (size_t i = 0; status == MM_OK && i < count; i++)
        pairs[i] = (pair){-1, -1, 0};
    if (status == MM_OK)
        status = mm_tensor_file_is_list(file)
                     ? pair_by_position(file, targets, pairs, count, error)
                     : pair_by_name(file, targets, pairs, count, logger, error);
    if (status == MM_OK)
        status = fill_modules(set, file, targets, pairs, count, error);
    if (status == MM_OK)
        status = copy_metadata(set, file, error);
    mm_free(pairs);
    mm_free(targets);
    return status;
}

mm_status mm_lora_set_load(mm_lora_set *out, const mm_site_list *sites, const char *path,
                           const mm_logger *logger, mm_error *error)
{
    MM_TRY(mm_lora_set_begin(out, sites, error));
    mm_tensor_file *file = NULL;
    mm_status status = mm_tensor_file_open(&file, path, error);
    if (status == MM_OK)
        status = load_from(out, file, logger, error);
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

/* LoraConfig's arguments, prefixed as diffusers reads them. Layers whose rank was clamped are
   listed in rank_pattern; the scale is 1 everywhere, so alpha follows the rank. */
static void write_patterns(mm_json_writer *json, const mm_lora_set *set, const char *key)
{
    mm_json_begin(json, key, '{');
    for (int32_t i = 0; i < set->count; i++) {
        const mm_lora_module *module = &set->module[i];
        for (int32_t p = 0; p < module->site->count; p++) {
            if (module->rank && module->rank != set->rank)
                mm_json_put_int(json, module->site->path[p], module->rank);
        }
    }
    mm_json_end(json, '}');
}

static mm_status adapter_metadata(mm_lora_set *set, mm_error *error)
{
    mm_json_writer json = {0};
    mm_json_begin(&json, NULL, '{');
    mm_json_put_int(&json, "unet.r", set->rank);
    mm_json_put_int(&json, "unet.lora_alpha", set->rank);
    write_patterns(&json, set, "unet.rank_pattern");
    write_patterns(&json, set, "unet.alpha_pattern");
    mm_json_begin(&json, "unet.target_modules", '[');
    for (int32_t i = 0; i < set->count; i++) {
        for (int32_t p = 0; p < set->module[i].site->count; p++) {
            if (set->module[i].rank)
                mm_json_put_string(&json, NULL, set->module[i].site->path[p]);
        }
    }
    mm_json_end(&json, ']');
    mm_json_end(&json, '}');
    mm_status status = json.failed
                           ? mm_fail_memory(error, "a LoRA's metadata", json.bytes)
                           : mm_lora_set_metadata(set, "lora_adapter_metadata", json.text, error);
    mm_free(json.text);
    return status;
}

mm_status mm_lora_set_save(mm_lora_set *set, const char *path, mm_error *error)
{
    mm_lora_tensor *tensors = NULL;
    size_t count = 0;
    MM_TRY(mm_lora_set_metadata(set, "format", "pt", error));
    MM_TRY(adapter_metadata(set, error));
    MM_TRY(mm_lora_set_tensors(set, &tensors, &count, error));
    mm_tensor_entry *entries = mm_calloc(count, sizeof(*entries));
    mm_status status = entries ? MM_OK : mm_fail_memory(error, "a LoRA", count * sizeof(*entries));
    for (size_t i = 0; status == MM_OK && i < count; i++)
        entries[i] = (mm_tensor_entry){tensors[i].name, MM_F32, tensors[i].shape,
                                       mm_lora_tensor_values(set, &tensors[i])};
    if (status == MM_OK)
        status =
            mm_safetensors_write(path, entries, count, set->metadata, set->metadata_count, error);
    mm_free(entries);
    mm_free(tensors);
    return status;
}

mm_status mm_lora_set_save_list(mm_lora_set *set, const char *path, mm_error *error)
{
    target *targets = NULL;
    size_t count = 0;
    MM_TRY(list_targets(set, &targets, &count, error));
    mm_tensor_entry *entries = mm_calloc(2 * count, sizeof(*entries));
    mm_status status = entries ? MM_OK : mm_fail_memory(error, "a LoRA", count);
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        const mm_lora_module *module = targets[i].module;
        const char *name = module->site->path[targets[i].part];
        if (!module->rank)
            status = mm_fail(error, MM_ERR_UNSUPPORTED,
                             "%s: the released code's list holds every layer; %s is not adapted",
                             path, name);
        entries[2 * i] =
            (mm_tensor_entry){name, MM_F32, MM_SHAPE(module->site->out_features, module->rank),
                              module->rank ? up_values(&targets[i]) : NULL};
        entries[2 * i + 1] =
            (mm_tensor_entry){name, MM_F32, MM_SHAPE(module->rank, module->site->in_features),
                              module->rank ? down_values(&targets[i]) : NULL};
    }
    if (status == MM_OK)
        status = mm_pickle_list_write(path, entries, 2 * count, error);
    mm_free(entries);
    mm_free(targets);
    return status;
}

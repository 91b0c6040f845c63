/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/lora_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "weights/lora_config.h"
#include "weights/tensor_table.h"

/* A tensor with a name that says what it is. */
typedef struct found {
    mm_lora_name name;
    size_t index; /* in the file */
} found;

typedef struct reading {
    mm_lora_table *table;
    const mm_tensor_file *file;
    const char *path; /* of the file */
    mm_error *error;
} reading;

static int compare_found(const void *a, const void *b)
{
    const found *x = a, *y = b;
    int order = strcmp(x->name.path, y->name.path);
    return order != 0 ? order : (int)x->name.part - (int)y->name.part;
}

static mm_status add_found(const reading *r, size_t index, found *list, size_t *count)
{
    const char *name = mm_tensor_file_info(r->file, index)->name;
    found *f = &list[*count];
    f->index = index;
    if (!mm_lora_name_read(&f->name, name, &r->table->arena))
        return mm_fail_memory(r->error, "the names of a LoRA", strlen(name));
    if (f->name.part == MM_LORA_UNSUPPORTED)
        return mm_fail(r->error, MM_ERR_UNSUPPORTED,
                       "%s: '%s' belongs to an adapter that is more than two matrices a layer "
                       "(DoRA, LoHa, LoKr, biases); only plain LoRA is supported",
                       r->path, name);
    *count += f->name.part != MM_LORA_NO_PART;
    return MM_OK;
}

/* All tensors of the LoRA, those of a layer side by side: down, up, alpha. */
static mm_status find_named(const reading *r, found *list, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < mm_tensor_file_count(r->file); i++)
        MM_TRY(add_found(r, i, list, count));
    if (*count > 0)
        qsort(list, *count, sizeof(*list), compare_found);
    return MM_OK;
}

static mm_status bad_shapes(const reading *r, const mm_lora_entry *entry)
{
    char up[96], down[96];
    const mm_shape *b = &mm_tensor_file_info(r->file, entry->up)->shape;
    const mm_shape *a = &mm_tensor_file_info(r->file, entry->down)->shape;
    return mm_fail(r->error, MM_ERR_INPUT,
                   "%s: layer %s: the up matrix %s does not fit the down matrix %s", r->path,
                   entry->path, mm_shape_text(b, up, sizeof(up)),
                   mm_shape_text(a, down, sizeof(down)));
}

/* Linear layers have matrices; convolutions [rank, in, kernel...] and [out, rank, 1...]. */
static mm_status measure(const reading *r, mm_lora_entry *entry)
{
    const mm_shape *down = &mm_tensor_file_info(r->file, entry->down)->shape;
    const mm_shape *up = &mm_tensor_file_info(r->file, entry->up)->shape;
    if (down->rank < 2 || up->rank < 2 || up->dim[1] != down->dim[0])
        return bad_shapes(r, entry);
    for (int32_t i = 2; i < up->rank; i++) {
        if (up->dim[i] != 1)
            return bad_shapes(r, entry);
    }
    entry->rank = down->dim[0];
    entry->out = up->dim[0];
    entry->in = 1;
    for (int32_t i = 1; i < down->rank; i++) {
        if (!mm_mul_i64(entry->in, down->dim[i], &entry->in))
            return bad_shapes(r, entry);
    }
    int64_t limit = entry->in < entry->out ? entry->in : entry->out;
    if (entry->rank >= 1 && entry->rank <= limit)
        return MM_OK;
    return mm_fail(r->error, MM_ERR_INPUT, "%s: rank %lld for layer %s is outside 1..%lld", r->path,
                   (long long)entry->rank, entry->path, (long long)limit);
}

static mm_status read_alpha(const reading *r, mm_lora_entry *entry)
{
    const size_t index = (size_t)entry->alpha_tensor;
    const mm_tensor_info *info = mm_tensor_file_info(r->file, index);
    if (mm_shape_elements(&info->shape) != 1)
        return mm_fail(r->error, MM_ERR_INPUT, "%s: '%s' is not a single number", r->path,
                       info->name);
    int64_t whole = 0;
    float real = 0.0f;
    if (info->dtype == MM_I64 || info->dtype == MM_I32)
        MM_TRY(mm_tensor_file_read_raw(r->file, index, 0, 1, &whole, r->error));
    else
        MM_TRY(mm_tensor_file_read_f32(r->file, index, 0, 1, &real, r->error));
    entry->alpha = info->dtype == MM_I64   ? (double)whole
                   : info->dtype == MM_I32 ? (double)(int32_t)whole
                                           : (double)real;
    if (isfinite(entry->alpha))
        return MM_OK;
    return mm_fail(r->error, MM_ERR_INPUT, "%s: '%s' is not finite", r->path, info->name);
}

static mm_status twice(const reading *r, const found *f)
{
    return mm_fail(r->error, MM_ERR_INPUT, "%s: '%s': this matrix of the layer is there twice",
                   r->path, mm_tensor_file_info(r->file, f->index)->name);
}

/* The tensors list[0 .. count - 1] of one path. */
static mm_status add_layer(const reading *r, const found *list, size_t count)
{
    int64_t part[3] = {-1, -1, -1};
    for (size_t i = 0; i < count; i++) {
        if (part[list[i].name.part] >= 0)
            return twice(r, &list[i]);
        part[list[i].name.part] = (int64_t)list[i].index;
    }
    if (part[MM_LORA_DOWN] < 0 && part[MM_LORA_UP] < 0)
        return MM_OK; /* an alpha of nothing */
    if (part[MM_LORA_DOWN] < 0 || part[MM_LORA_UP] < 0)
        return mm_fail(r->error, MM_ERR_INPUT,
                       "%s: layer %s has only one of its two matrices (lora_A and lora_B, down and "
                       "up)",
                       r->path, list->name.path);
    if (r->table->count == 0)
        r->table->naming = list->name.naming;
    mm_lora_entry *entry = &r->table->entry[r->table->count++];
    *entry = (mm_lora_entry){.path = list->name.path,
                             .down = (size_t)part[MM_LORA_DOWN],
                             .up = (size_t)part[MM_LORA_UP],
                             .alpha_tensor = part[MM_LORA_ALPHA]};
    MM_TRY(measure(r, entry));
    entry->alpha = (double)entry->rank;
    return entry->alpha_tensor >= 0 ? read_alpha(r, entry) : MM_OK;
}

static mm_status add_layers(const reading *r, const found *list, size_t count)
{
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && strcmp(list[end].name.path, list[i].name.path) == 0;)
            end++;
        MM_TRY(add_layer(r, list + i, end - i));
    }
    return MM_OK;
}

static mm_status read_named(const reading *r)
{
    size_t count = mm_tensor_file_count(r->file);
    found *list = mm_calloc(count, sizeof(*list));
    if (!list)
        return mm_fail_memory(r->error, "the names of a LoRA", count * sizeof(*list));
    mm_status status = find_named(r, list, &count);
    if (status == MM_OK)
        status = add_layers(r, list, count);
    mm_free(list);
    return status;
}

/* The paths of a list's layers: all of the model's, or those of one kind of transformer alone. */
static mm_status choose_paths(const reading *r, const mm_lora_order *order, const char ***out)
{
    size_t layers = mm_tensor_file_count(r->file) / 2, have = mm_tensor_file_count(r->file);
    if (have == 2 * order->count || have == 2 * order->spatial)
        *out = order->path;
    else if (have == 2 * (order->count - order->spatial))
        *out = order->path + order->spatial;
    else
        return mm_fail(r->error, MM_ERR_INPUT,
                       "%s: a list of %zu matrices (%zu layers); this model's LoRA has %zu: one "
                       "for another model?",
                       r->path, have, layers, 2 * order->count);
    return MM_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const mm_lora_entry *)a)->path, ((const mm_lora_entry *)b)->path);
}

static mm_status read_list(const reading *r, const mm_lora_order *order)
{
    mm_lora_table *t = r->table;
    const char **path = NULL;
    const size_t count = mm_tensor_file_count(r->file);
    if (count % 2 != 0)
        return mm_fail(r->error, MM_ERR_INPUT, "%s: a list of %zu matrices, which are no pairs",
                       r->path, count);
    if (order)
        MM_TRY(choose_paths(r, order, &path));
    for (size_t i = 0; i < count / 2; i++) {
        t->entry[i] = (mm_lora_entry){.up = 2 * i, .down = 2 * i + 1, .alpha_tensor = -1};
        t->entry[i].path =
            path ? mm_arena_strdup(&t->arena, path[i]) : mm_arena_format(&t->arena, "%06zu", i);
        if (!t->entry[i].path)
            return mm_fail_memory(r->error, "the names of a LoRA", count);
        MM_TRY(measure(r, &t->entry[i]));
        t->entry[i].alpha = (double)t->entry[i].rank;
    }
    t->count = count / 2;
    t->naming = MM_LORA_LIST;
    t->unnamed = !path;
    qsort(t->entry, t->count, sizeof(*t->entry), compare_entries);
    return MM_OK;
}

/* Views can make a tensor larger than its file: what is read must have been stored. */
static mm_status check_bytes(const reading *r)
{
    uint64_t stored = 0, wanted = 0;
    for (size_t i = 0; i < r->file->source_count; i++)
        stored += r->file->sources[i].size;
    for (size_t i = 0; i < r->table->count; i++) {
        const size_t half[2] = {r->table->entry[i].down, r->table->entry[i].up};
        for (int k = 0; k < 2; k++) {
            const mm_tensor_info *info = mm_tensor_file_info(r->file, half[k]);
            uint64_t bytes = (uint64_t)mm_shape_elements(&info->shape), all;
            if (info->dtype > MM_F64)
                return mm_fail(r->error, MM_ERR_INPUT,
                               "%s: a matrix of layer %s holds %s, not floating-point numbers",
                               r->path, r->table->entry[i].path, mm_dtype_name(info->dtype));
            if (__builtin_mul_overflow(bytes, mm_dtype_bytes(info->dtype), &bytes) ||
                __builtin_add_overflow(wanted, bytes, &all) || all > stored)
                return mm_fail(r->error, MM_ERR_INPUT,
                               "%s: layer %s: its matrices are larger than the file", r->path,
                               r->table->entry[i].path);
            wanted = all;
        }
    }
    return MM_OK;
}

/* PEFT's own file has its config beside it. */
static mm_status config_beside(const reading *r, mm_lora_config *config, bool *have)
{
    const char *slash = strrchr(r->path, '/'), *name = slash ? slash + 1 : r->path;
    if (strncmp(name, "adapter_model.", strlen("adapter_model.")) != 0)
        return MM_OK;
    char *path = mm_format("%.*sadapter_config.json", (int)(name - r->path), r->path);
    if (!path)
        return mm_fail_memory(r->error, "a path", strlen(r->path));
    *have = mm_path_is_file(path);
    mm_status status = *have ? mm_lora_config_load(config, path, r->error) : MM_OK;
    mm_free(path);
    return status;
}

static mm_status read_config(const reading *r, mm_lora_config *config, bool *have)
{
    const char *text = mm_tensor_file_metadata(r->file, MM_LORA_CONFIG_KEY);
    *have = text != NULL;
    if (!text)
        return config_beside(r, config, have);
    char *name = mm_format("%s: " MM_LORA_CONFIG_KEY, r->path);
    mm_status status = name ? mm_lora_config_parse(config, name, text, r->error)
                            : mm_fail_memory(r->error, "a path", strlen(r->path));
    mm_free(name);
    return status;
}

/* A tensor "alpha" says more than the config that was written for the whole. */
static mm_status read_alphas(const reading *r)
{
    mm_lora_config config = {0};
    bool have = false;
    MM_TRY(read_config(r, &config, &have));
    for (size_t i = 0; have && i < r->table->count; i++) {
        mm_lora_entry *entry = &r->table->entry[i];
        if (entry->alpha_tensor < 0)
            entry->alpha = mm_lora_config_alpha(&config, entry->path, entry->rank);
    }
    mm_lora_config_free(&config);
    return MM_OK;
}

static mm_status read_table(const reading *r, const mm_lora_order *order)
{
    const size_t count = mm_tensor_file_count(r->file);
    r->table->entry = mm_calloc(count, sizeof(*r->table->entry));
    if (!r->table->entry)
        return mm_fail_memory(r->error, "the layers of a LoRA", count * sizeof(mm_lora_entry));
    MM_TRY(mm_tensor_file_is_list(r->file) ? read_list(r, order) : read_named(r));
    if (r->table->count == 0)
        return mm_fail(r->error, MM_ERR_INPUT, "%s: none of its %zu tensors is a LoRA's", r->path,
                       count);
    MM_TRY(check_bytes(r));
    return mm_tensor_file_is_list(r->file) ? MM_OK : read_alphas(r);
}

mm_status mm_lora_table_read(mm_lora_table *out, const mm_tensor_file *file,
                             const mm_lora_order *order, mm_error *error)
{
    *out = (mm_lora_table){0};
    reading r = {.table = out, .file = file, .path = mm_tensor_file_path(file), .error = error};
    mm_status status = read_table(&r, order);
    if (status != MM_OK)
        mm_lora_table_free(out);
    return status;
}

void mm_lora_table_free(mm_lora_table *table)
{
    mm_free(table->entry);
    mm_arena_free(&table->arena);
    *table = (mm_lora_table){0};
}

const mm_lora_entry *mm_lora_table_find(const mm_lora_table *table, const char *path)
{
    const mm_lora_entry wanted = {.path = path};
    if (table->count == 0)
        return NULL;
    return bsearch(&wanted, table->entry, table->count, sizeof(wanted), compare_entries);
}

size_t mm_lora_entry_tensors(const mm_lora_entry *entry)
{
    return entry->alpha_tensor < 0 ? 2 : 3;
}

mm_status mm_lora_report_applied(const char *path, size_t applied, size_t of,
                                 const mm_logger *logger, mm_error *error)
{
    if (applied == 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: 0 of %zu tensors applied; none of its layers is one of this model's: a "
                       "LoRA for another model?",
                       path, of);
    mm_log(logger, applied < of ? MM_LOG_WARNING : MM_LOG_INFO, "%s: %zu of %zu tensors applied",
           path, applied, of);
    return MM_OK;
}

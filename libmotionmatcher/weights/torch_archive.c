/* SPDX-License-Identifier: BSD-2-Clause */
/* PyTorch's zip archives: first the container is checked, then the pickle is read symbolically,
   then every tensor it describes is checked against the container. */
#include "weights/tensor_table.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "weights/pickle.h"
#include "weights/zip.h"

#define MOST_PICKLE ((size_t)16 << 20)
#define MOST_SMALL_ENTRY 16
#define NEWEST_VERSION 10

typedef struct archive {
    mm_tensor_file *file;
    uint32_t source;
    const char *path;
    mm_zip zip;
    const mm_pickle_storage **claims; /* by entry: what the pickle says that it holds */
    mm_arena temporary;
    mm_error *error;
} archive;

/* Everything that PyTorch writes; hidden entries (".data/serialization_id") vary by version. */
static bool is_known_entry(const char *name)
{
    return strcmp(name, "data.pkl") == 0 || strcmp(name, "version") == 0 ||
           strcmp(name, "byteorder") == 0 || strncmp(name, "data/", 5) == 0 || name[0] == '.';
}

static mm_status check_entries(const archive *a)
{
    const size_t root = strlen(a->zip.root) + 1;
    if (mm_zip_find(&a->zip, "constants.pkl"))
        return mm_fail(a->error, MM_ERR_UNSUPPORTED,
                       "%s: a TorchScript program, not a file of weights; save its state_dict()",
                       a->path);
    if (!mm_zip_find(&a->zip, "data.pkl"))
        return mm_fail(a->error, MM_ERR_INPUT, "%s: a ZIP archive without PyTorch's data.pkl",
                       a->path);
    for (size_t i = 0; i < a->zip.count; i++) {
        if (!is_known_entry(a->zip.entries[i].name + root))
            return mm_fail(a->error, MM_ERR_INPUT,
                           "%s: unsafe archive: entry \"%s\" is none of PyTorch's", a->path,
                           a->zip.entries[i].name);
    }
    return MM_OK;
}

/* The text of a small entry without its line end; NULL when the archive has no such entry. */
static mm_status read_small(archive *a, const char *name, char **text)
{
    const mm_zip_entry *entry = mm_zip_find(&a->zip, name);
    *text = NULL;
    if (!entry)
        return MM_OK;
    MM_TRY(mm_zip_read_entry(&a->zip, entry, MOST_SMALL_ENTRY, &a->temporary, text, a->error));
    (*text)[strcspn(*text, "\n")] = '\0';
    return MM_OK;
}

static mm_status check_version(archive *a)
{
    char *version, *order;
    int64_t number;
    MM_TRY(read_small(a, "version", &version));
    MM_TRY(read_small(a, "byteorder", &order));
    if (version && (!mm_parse_int(version, &number) || number < 1))
        return mm_fail(a->error, MM_ERR_INPUT, "%s: '%s' is no version of PyTorch's archives",
                       a->path, version);
    if (version && number > NEWEST_VERSION)
        return mm_fail(a->error, MM_ERR_UNSUPPORTED,
                       "%s: version %s of PyTorch's archives; up to %d are read", a->path, version,
                       NEWEST_VERSION);
    if (order && strcmp(order, "big") == 0)
        return mm_fail(a->error, MM_ERR_UNSUPPORTED,
                       "%s: saved on a big-endian machine, which is not supported", a->path);
    if (order && strcmp(order, "little") != 0)
        return mm_fail(a->error, MM_ERR_INPUT, "%s: byte order '%s'", a->path, order);
    return MM_OK;
}

static mm_status read_pickle(archive *a, mm_pickle **root)
{
    const mm_zip_entry *entry = mm_zip_find(&a->zip, "data.pkl");
    char *bytes;
    MM_TRY(mm_zip_read_entry(&a->zip, entry, MOST_PICKLE, &a->temporary, &bytes, a->error));
    return mm_pickle_read(root, a->path, bytes, (size_t)entry->bytes, &a->temporary, a->error);
}

/* The entry that holds a storage; it must have just the bytes that the pickle says. */
static mm_status find_storage(archive *a, const mm_pickle_storage *storage,
                              const mm_zip_entry **out)
{
    char name[64];
    int64_t bytes;
    snprintf(name, sizeof(name), "data/%s", storage->key);
    const mm_zip_entry *entry = mm_zip_find(&a->zip, name);
    if (!entry)
        return mm_fail(a->error, MM_ERR_INPUT, "%s: the storage %s is missing", a->path,
                       storage->key);
    if (!mm_mul_i64(storage->elements, (int64_t)mm_dtype_bytes(storage->dtype), &bytes) ||
        (uint64_t)bytes != entry->bytes)
        return mm_fail(a->error, MM_ERR_INPUT,
                       "%s: the storage %s should have %lld numbers of type %s, but has %llu bytes",
                       a->path, storage->key, (long long)storage->elements,
                       mm_dtype_name(storage->dtype), (unsigned long long)entry->bytes);
    const mm_pickle_storage **claim = &a->claims[entry - a->zip.entries];
    if (*claim && ((*claim)->dtype != storage->dtype || (*claim)->elements != storage->elements))
        return mm_fail(a->error, MM_ERR_INPUT, "%s: the storage %s has two types", a->path,
                       storage->key);
    *claim = storage;
    *out = entry;
    return MM_OK;
}

static bool is_contiguous(const mm_shape *shape, const int64_t *stride)
{
    int64_t expected = 1;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        if (shape->dim[i] != 1 && stride[i] != expected)
            return false;
        expected *= shape->dim[i];
    }
    return true;
}

static mm_status add_tensor(archive *a, const char *name, const mm_pickle_tensor *tensor)
{
    const mm_zip_entry *entry = NULL;
    MM_TRY(find_storage(a, tensor->storage, &entry));
    mm_tensor_record *record = mm_tensor_file_add(a->file);
    if (!record)
        return mm_fail_memory(a->error, a->path, sizeof(*record));
    record->info.name = mm_arena_strdup(&a->file->arena, name);
    if (!record->info.name)
        return mm_fail_memory(a->error, a->path, strlen(name) + 1);
    record->info.dtype = tensor->storage->dtype;
    record->info.shape = tensor->shape;
    record->source = a->source;
    record->storage = entry->data;
    record->storage_elements = tensor->storage->elements;
    record->offset = tensor->offset;
    record->contiguous = is_contiguous(&tensor->shape, tensor->stride);
    record->has_crc = true;
    record->crc = entry->crc;
    memcpy(record->stride, tensor->stride, sizeof(record->stride));
    return MM_OK;
}

static mm_status add_list(archive *a, const mm_pickle *list)
{
    a->file->is_list = true;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i]->kind != MM_PICKLE_TENSOR)
            return mm_fail(a->error, MM_ERR_INPUT, "%s: item %u of its list is no tensor", a->path,
                           i);
        MM_TRY(add_tensor(a, "", list->items[i]->tensor));
    }
    return MM_OK;
}

static mm_status check_keys(const archive *a, const mm_pickle *dict)
{
    const size_t count = dict->count / 2;
    const char **keys = mm_calloc(count, sizeof(*keys));
    if (!keys)
        return mm_fail_memory(a->error, a->path, count * sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = dict->items[2 * i]->text;
    const char *twice = mm_find_duplicate(keys, count);
    mm_free(keys);
    if (!twice)
        return MM_OK;
    return mm_fail(a->error, MM_ERR_INPUT, "%s: the key \"%s\" stands there twice", a->path, twice);
}

/* A text, or a list of one text as a data loader leaves it; NULL for anything else. */
static const char *text_of(const mm_pickle *value)
{
    bool is_sequence = value->kind == MM_PICKLE_LIST || value->kind == MM_PICKLE_TUPLE;
    if (is_sequence && value->count == 1)
        value = value->items[0];
    return value->kind == MM_PICKLE_TEXT ? value->text : NULL;
}

static mm_status add_text(archive *a, const char *key, const char *text)
{
    char *kept_key = mm_arena_strdup(&a->file->arena, key);
    char *kept_text = mm_arena_strdup(&a->file->arena, text);
    if (!kept_key || !kept_text)
        return mm_fail_memory(a->error, a->path, strlen(key) + strlen(text));
    return mm_tensor_file_add_text(a->file, kept_key, kept_text, a->error);
}

/* Numbers, flags and nested values beside the tensors are of no interest and skipped. */
static mm_status add_dict(archive *a, const mm_pickle *dict)
{
    MM_TRY(check_keys(a, dict));
    for (uint32_t i = 0; i < dict->count; i += 2) {
        const mm_pickle *value = dict->items[i + 1];
        const char *key = dict->items[i]->text, *text = text_of(value);
        if (value->kind == MM_PICKLE_TENSOR)
            MM_TRY(add_tensor(a, key, value->tensor));
        else if (text)
            MM_TRY(add_text(a, key, text));
    }
    return MM_OK;
}

/* The dict of tensors in a checkpoint that wraps it. */
static const mm_pickle *state_dict_of(const mm_pickle *dict)
{
    for (uint32_t i = 0; i < dict->count; i += 2) {
        const char *key = dict->items[i]->text;
        if ((strcmp(key, "state_dict") == 0 || strcmp(key, "model") == 0) &&
            dict->items[i + 1]->kind == MM_PICKLE_DICT)
            return dict->items[i + 1];
    }
    return NULL;
}

static mm_status add_root(archive *a, const mm_pickle *root)
{
    const size_t before = a->file->count;
    const mm_pickle *inner = root->kind == MM_PICKLE_DICT ? state_dict_of(root) : NULL;
    if (root->kind == MM_PICKLE_LIST)
        MM_TRY(add_list(a, root));
    else if (root->kind == MM_PICKLE_DICT)
        MM_TRY(add_dict(a, inner ? inner : root));
    if (a->file->count == before)
        return mm_fail(a->error, MM_ERR_INPUT, "%s: holds no tensors (neither a dict nor a list)",
                       a->path);
    return MM_OK;
}

static mm_status read_archive(archive *a)
{
    mm_pickle *root = NULL;
    MM_TRY(mm_zip_read(&a->zip, &a->file->sources[a->source], &a->temporary, a->error));
    MM_TRY(check_entries(a));
    MM_TRY(check_version(a));
    MM_TRY(read_pickle(a, &root));
    a->claims = mm_arena_alloc(&a->temporary, a->zip.count * sizeof(const mm_pickle_storage *));
    if (!a->claims)
        return mm_fail_memory(a->error, a->path, a->zip.count * sizeof(const mm_pickle_storage *));
    return add_root(a, root);
}

mm_status mm_torch_archive_read(mm_tensor_file *file, uint32_t source, mm_error *error)
{
    archive a = {
        .file = file, .source = source, .path = file->sources[source].path, .error = error};
    mm_status status = read_archive(&a);
    mm_arena_free(&a.temporary);
    return status;
}

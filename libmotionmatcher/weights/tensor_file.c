/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/tensor_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define SNIFFED_BYTES 264

typedef enum container { SAFETENSORS, TORCH_ARCHIVE, INDEX } container;

/* Formats that hold weights elsewhere; a reader that knows their names explains better. */
static const struct {
    size_t offset, bytes;
    const char *magic, *name;
} foreign_formats[] = {
    {0, 6, "\x80\x02\x8a\x0a\x6c\xfc", "a PyTorch file from before version 1.6"},
    {257, 5, "ustar", "a tar archive"},
    {0, 4, "7z\xbc\xaf", "a 7z archive"},
    {0, 3, "\x1f\x8b\x08", "gzip-compressed"},
    {0, 6,
     "\xfd"
     "7zXZ",
     "xz-compressed"},
    {0, 4, "\x28\xb5\x2f\xfd", "zstd-compressed"},
    {0, 4, "Rar!", "a RAR archive"},
    {0, 4, "GGUF", "a GGUF file"},
    {0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file"},
};

static bool is_text(const char *start, size_t bytes)
{
    return bytes > 0 && !memchr(start, 0, bytes < 8 ? bytes : 8);
}

static bool starts_json_object(const char *start, size_t bytes)
{
    size_t at = 0;
    while (at < bytes && strchr(" \t\r\n", start[at]) && start[at])
        at++;
    return at < bytes && start[at] == '{';
}

static bool is_bare_pickle(const char *start, size_t bytes)
{
    static const char zeros[3] = {0};
    return bytes >= 8 && start[0] == '\x80' && start[1] >= 1 && start[1] <= 5 &&
           memcmp(start + 5, zeros, 3) != 0;
}

static mm_status sniff(const mm_file *file, container *out, mm_error *error)
{
    char start[SNIFFED_BYTES];
    size_t bytes = file->size < sizeof(start) ? (size_t)file->size : sizeof(start);
    MM_TRY(mm_file_read(file, 0, start, bytes, error));
    for (size_t i = 0; i < sizeof(foreign_formats) / sizeof(foreign_formats[0]); i++) {
        size_t offset = foreign_formats[i].offset, length = foreign_formats[i].bytes;
        if (bytes >= offset + length &&
            memcmp(start + offset, foreign_formats[i].magic, length) == 0)
            return mm_fail(error, MM_ERR_UNSUPPORTED,
                           "%s: %s; only safetensors and zip archives of PyTorch are read",
                           file->path, foreign_formats[i].name);
    }
    if (is_bare_pickle(start, bytes))
        return mm_fail(error, MM_ERR_UNSUPPORTED,
                       "%s: a bare pickle; only safetensors and zip archives of PyTorch are read",
                       file->path);
    if (bytes >= 4 && memcmp(start, "PK", 2) == 0)
        *out = TORCH_ARCHIVE;
    else if (is_text(start, bytes) && starts_json_object(start, bytes))
        *out = INDEX;
    else if (is_text(start, bytes))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: neither a safetensors file, a PyTorch archive nor an index of shards",
                       file->path);
    else
        *out = SAFETENSORS;
    return MM_OK;
}

mm_tensor_record *mm_tensor_file_add(mm_tensor_file *file)
{
    if (file->count == file->capacity) {
        size_t capacity = file->capacity ? file->capacity * 2 : 64, bytes;
        mm_tensor_record *grown =
            mm_mul_size(capacity, sizeof(*grown), &bytes) ? mm_realloc(file->records, bytes) : NULL;
        if (!grown)
            return NULL;
        file->records = grown;
        file->capacity = capacity;
    }
    mm_tensor_record *record = &file->records[file->count++];
    *record = (mm_tensor_record){0};
    return record;
}

mm_status mm_tensor_file_add_text(mm_tensor_file *file, const char *key, const char *value,
                                  mm_error *error)
{
    if (file->text_count == file->text_capacity) {
        size_t capacity = file->text_capacity ? file->text_capacity * 2 : 8;
        mm_text_entry *grown = mm_realloc(file->texts, capacity * sizeof(*grown));
        if (!grown)
            return mm_fail_memory(error, file->path, capacity * sizeof(*grown));
        file->texts = grown;
        file->text_capacity = capacity;
    }
    file->texts[file->text_count++] = (mm_text_entry){key, value};
    return MM_OK;
}

void mm_tensor_record_make_contiguous(mm_tensor_record *record)
{
    int64_t stride = 1;
    for (int32_t i = record->info.shape.rank - 1; i >= 0; i--) {
        record->stride[i] = stride;
        stride *= record->info.shape.dim[i];
    }
    record->storage_elements = stride;
    record->offset = 0;
    record->contiguous = true;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *mm_find_duplicate(const char **strings, size_t count)
{
    qsort(strings, count, sizeof(*strings), compare_strings);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(strings[i - 1], strings[i]) == 0)
            return strings[i];
    }
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const mm_tensor_record *const *x = a, *const *y = b;
    return strcmp((*x)->info.name, (*y)->info.name);
}

/* Sorting, unlike hashing, has no input that makes it slow. */
static mm_status index_names(mm_tensor_file *file, mm_error *error)
{
    if (file->count == 0 || file->is_list)
        return MM_OK;
    file->by_name = mm_calloc(file->count, sizeof(*file->by_name));
    if (!file->by_name)
        return mm_fail_memory(error, file->path, file->count * sizeof(*file->by_name));
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] = &file->records[i];
    qsort(file->by_name, file->count, sizeof(*file->by_name), compare_names);
    for (size_t i = 1; i < file->count; i++) {
        if (compare_names(&file->by_name[i - 1], &file->by_name[i]) == 0)
            return mm_fail(error, MM_ERR_INPUT, "%s: the tensor \"%s\" stands there twice",
                           file->path, file->by_name[i]->info.name);
    }
    return MM_OK;
}

/* Opens the file and says what it holds; it becomes the last source. */
static mm_status open_source(mm_tensor_file *file, const char *path, container *kind,
                             mm_error *error)
{
    mm_file *grown = mm_realloc(file->sources, (file->source_count + 1) * sizeof(*grown));
    if (!grown)
        return mm_fail_memory(error, path, sizeof(*grown));
    file->sources = grown;
    MM_TRY(mm_file_open(&grown[file->source_count], path, error));
    file->source_count++;
    return sniff(&grown[file->source_count - 1], kind, error);
}

static mm_status read_container(mm_tensor_file *file, container kind, mm_error *error)
{
    uint32_t source = (uint32_t)(file->source_count - 1);
    return kind == TORCH_ARCHIVE ? mm_torch_archive_read(file, source, error)
                                 : mm_safetensors_read(file, source, error);
}

mm_status mm_tensor_file_add_source(mm_tensor_file *file, const char *path, mm_error *error)
{
    container kind;
    MM_TRY(open_source(file, path, &kind, error));
    if (kind == INDEX)
        return mm_fail(error, MM_ERR_INPUT, "%s: an index of shards where a shard should be", path);
    return read_container(file, kind, error);
}

static mm_status fill(mm_tensor_file *file, const char *path, mm_error *error)
{
    container kind;
    MM_TRY(open_source(file, path, &kind, error));
    if (kind == INDEX)
        MM_TRY(mm_shards_read(file, path, error));
    else
        MM_TRY(read_container(file, kind, error));
    return index_names(file, error);
}

mm_status mm_tensor_file_open(mm_tensor_file **out, const char *path, mm_error *error)
{
    *out = NULL;
    mm_tensor_file *file = mm_calloc(1, sizeof(*file));
    if (!file)
        return mm_fail_memory(error, path, sizeof(*file));
    file->path = mm_strdup(path);
    mm_status status =
        file->path ? fill(file, path, error) : mm_fail_memory(error, path, strlen(path) + 1);
    if (status != MM_OK) {
        mm_tensor_file_close(&file);
        return status;
    }
    *out = file;
    return MM_OK;
}

void mm_tensor_file_close(mm_tensor_file **file)
{
    mm_tensor_file *closed = *file;
    *file = NULL;
    if (!closed)
        return;
    for (size_t i = 0; i < closed->source_count; i++)
        mm_file_close(&closed->sources[i]);
    mm_free(closed->sources);
    mm_free(closed->records);
    mm_free(closed->texts);
    mm_free(closed->by_name);
    mm_free(closed->path);
    mm_arena_free(&closed->arena);
    mm_free(closed);
}

const char *mm_tensor_file_path(const mm_tensor_file *file)
{
    return file->path;
}

size_t mm_tensor_file_count(const mm_tensor_file *file)
{
    return file->count;
}

const mm_tensor_info *mm_tensor_file_info(const mm_tensor_file *file, size_t index)
{
    return index < file->count ? &file->records[index].info : NULL;
}

int64_t mm_tensor_file_find(const mm_tensor_file *file, const char *name)
{
    if (!file->by_name)
        return -1;
    const mm_tensor_record key = {.info.name = name}, *wanted = &key;
    const mm_tensor_record **found =
        bsearch(&wanted, file->by_name, file->count, sizeof(*file->by_name), compare_names);
    return found ? *found - file->records : -1;
}

const char *mm_tensor_file_metadata(const mm_tensor_file *file, const char *key)
{
    for (size_t i = 0; i < file->text_count; i++) {
        if (strcmp(file->texts[i].key, key) == 0)
            return file->texts[i].value;
    }
    return NULL;
}

bool mm_tensor_file_is_list(const mm_tensor_file *file)
{
    return file->is_list;
}

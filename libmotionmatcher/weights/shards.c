/* SPDX-License-Identifier: BSD-2-Clause */
/* An index document ({"weight_map": {tensor: file}}) and the shards it names. */
#include "weights/tensor_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define MOST_SHARDS 1000

typedef struct index_entry {
    const char *tensor, *shard;
} index_entry;

static int compare_shards(const void *a, const void *b)
{
    const index_entry *x = a, *y = b;
    int order = strcmp(x->shard, y->shard);
    return order != 0 ? order : strcmp(x->tensor, y->tensor);
}

/* A shard lies beside its index: a path into another place is an attack, not a shard. */
static bool is_plain_file_name(const char *name)
{
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

static mm_status collect(const mm_json_document *index, const mm_json *map, index_entry *entries,
                         mm_error *error)
{
    for (const mm_json *item = mm_json_first(map); item; item = mm_json_next(item), entries++) {
        entries->tensor = mm_json_key(item);
        entries->shard = mm_json_text(item);
        if (!entries->shard || !is_plain_file_name(entries->shard))
            return mm_fail(
                error, MM_ERR_INPUT,
                "%s: tensor \"%s\": its shard is not the name of a file beside the index",
                index->path, entries->tensor);
    }
    return MM_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every tensor that the index places in this shard must be there. */
static mm_status check_shard(const mm_tensor_file *file, size_t first, const index_entry *entries,
                             size_t count, mm_error *error)
{
    const size_t held = file->count - first;
    const char **names = mm_calloc(held, sizeof(*names));
    if (!names)
        return mm_fail_memory(error, entries->shard, held * sizeof(*names));
    for (size_t i = 0; i < held; i++)
        names[i] = file->records[first + i].info.name;
    mm_status status = MM_OK;
    const char *twice = mm_find_duplicate(names, held);
    if (twice)
        status = mm_fail(error, MM_ERR_INPUT, "%s: the tensor \"%s\" stands there twice",
                         entries->shard, twice);
    for (size_t i = 0; i < count && status == MM_OK; i++) {
        if (!bsearch(&entries[i].tensor, names, held, sizeof(*names), compare_names))
            status = mm_fail(error, MM_ERR_INPUT,
                             "%s: tensor \"%s\" should be in the shard %s, but is not", file->path,
                             entries[i].tensor, entries[i].shard);
    }
    mm_free(names);
    return status;
}

static mm_status read_shard(mm_tensor_file *file, const char *directory, const index_entry *entries,
                            size_t count, mm_error *error)
{
    const size_t first = file->count;
    char *path = mm_path_join(directory, entries->shard);
    if (!path)
        return mm_fail_memory(error, entries->shard, strlen(entries->shard));
    mm_status status = mm_tensor_file_add_source(file, path, error);
    mm_free(path);
    if (status == MM_OK && file->is_list)
        return mm_fail(error, MM_ERR_INPUT, "%s: the shard %s is a list without names", file->path,
                       entries->shard);
    return status == MM_OK ? check_shard(file, first, entries, count, error) : status;
}

static mm_status read_shards(mm_tensor_file *file, const char *directory, index_entry *entries,
                             size_t count, mm_error *error)
{
    qsort(entries, count, sizeof(*entries), compare_shards);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && strcmp(entries[end].shard, entries[i].shard) == 0;)
            end++;
        if (file->source_count > MOST_SHARDS)
            return mm_fail(error, MM_ERR_INPUT, "%s: names more than %d shards", file->path,
                           MOST_SHARDS);
        MM_TRY(read_shard(file, directory, entries + i, end - i, error));
    }
    return MM_OK;
}

static mm_status read_index(mm_tensor_file *file, const mm_json_document *index,
                            const char *directory, mm_error *error)
{
    const mm_json *map = mm_json_member(index->root, "weight_map");
    const size_t count = mm_json_is_object(map) ? mm_json_count(map) : 0;
    if (count == 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: no index of shards: it has no \"weight_map\"",
                       index->path);
    index_entry *entries = mm_calloc(count, sizeof(*entries));
    if (!entries)
        return mm_fail_memory(error, index->path, count * sizeof(*entries));
    mm_status status = collect(index, map, entries, error);
    if (status == MM_OK)
        status = read_shards(file, directory, entries, count, error);
    mm_free(entries);
    return status;
}

mm_status mm_shards_read(mm_tensor_file *file, const char *path, mm_error *error)
{
    mm_json_document index;
    MM_TRY(mm_json_load(&index, path, error));
    const char *slash = strrchr(path, '/');
    char *directory = slash ? mm_strndup(path, (size_t)(slash - path) + 1) : mm_strdup("./");
    mm_status status = directory ? read_index(file, &index, directory, error)
                                 : mm_fail_memory(error, path, strlen(path));
    mm_free(directory);
    mm_json_free(&index);
    return status;
}

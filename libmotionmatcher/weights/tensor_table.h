/* SPDX-License-Identifier: BSD-2-Clause */
/* What the container readers fill: where each tensor of a tensor file lies. */
#ifndef MM_WEIGHTS_TENSOR_TABLE_H
#define MM_WEIGHTS_TENSOR_TABLE_H

#include "base/arena.h"
#include "base/file.h"
#include "weights/tensor_file.h"

typedef struct mm_tensor_record {
    mm_tensor_info info;
    uint32_t source;          /* index into mm_tensor_file.sources */
    bool contiguous, has_crc; /* has_crc: `crc` is that of the whole storage */
    uint32_t crc;
    uint64_t storage; /* first byte of the storage in its file */
    int64_t storage_elements;
    int64_t offset;              /* of the first element, in elements */
    int64_t stride[MM_MAX_RANK]; /* in elements; every element was checked to lie inside */
} mm_tensor_record;

typedef struct mm_text_entry {
    const char *key, *value;
} mm_text_entry;

struct mm_tensor_file {
    char *path;
    mm_arena arena; /* names and texts */
    mm_file *sources;
    size_t source_count;
    mm_tensor_record *records;
    size_t count, capacity;
    mm_text_entry *texts;
    size_t text_count, text_capacity;
    const mm_tensor_record **by_name; /* sorted; NULL for a list */
    bool is_list;
};

/* A container reader: adds the tensors of sources[source]. */
mm_status mm_safetensors_read(mm_tensor_file *file, uint32_t source, mm_error *error);
mm_status mm_torch_archive_read(mm_tensor_file *file, uint32_t source, mm_error *error);

/* Opens one more file and reads it as what its content says it is; not an index. */
mm_status mm_tensor_file_add_source(mm_tensor_file *file, const char *path, mm_error *error);
/* Reads an index document and every shard it names. */
mm_status mm_shards_read(mm_tensor_file *file, const char *path, mm_error *error);

/* Room for one more record, zeroed; NULL without memory. Earlier pointers become invalid. */
mm_tensor_record *mm_tensor_file_add(mm_tensor_file *file);
/* Both strings must live in the file's arena. */
mm_status mm_tensor_file_add_text(mm_tensor_file *file, const char *key, const char *value,
                                  mm_error *error);
/* Row-major strides and a storage of its own. */
void mm_tensor_record_make_contiguous(mm_tensor_record *record);

/* Sorts the strings; returns one that stands there twice, NULL when all differ. */
const char *mm_find_duplicate(const char **strings, size_t count);

#endif

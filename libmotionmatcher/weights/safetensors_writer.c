/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

static const char *const dtype_names[MM_DTYPE_COUNT] = {
    [MM_F32] = "F32", [MM_F16] = "F16", [MM_BF16] = "BF16", [MM_F64] = "F64",
    [MM_I32] = "I32", [MM_I64] = "I64", [MM_U8] = "U8",
};

/* Both kinds of entry begin with their name. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(**(const char *const *const *)a, **(const char *const *const *)b);
}

static size_t tensor_bytes(const mm_tensor_entry *tensor)
{
    return (size_t)mm_shape_elements(&tensor->shape) * mm_dtype_bytes(tensor->dtype);
}

static void put_metadata(mm_json_writer *w, const mm_metadata_entry *const *metadata, size_t count)
{
    if (count == 0)
        return;
    mm_json_begin(w, "__metadata__", '{');
    for (size_t i = 0; i < count; i++)
        mm_json_put_string(w, metadata[i]->key, metadata[i]->value);
    mm_json_end(w, '}');
}

static void put_tensor(mm_json_writer *w, const mm_tensor_entry *tensor, size_t *offset)
{
    mm_json_begin(w, tensor->name, '{');
    mm_json_put_string(w, "dtype", dtype_names[tensor->dtype]);
    mm_json_begin(w, "shape", '[');
    for (int32_t i = 0; i < tensor->shape.rank; i++)
        mm_json_put_int(w, NULL, tensor->shape.dim[i]);
    mm_json_end(w, ']');
    mm_json_begin(w, "data_offsets", '[');
    mm_json_put_int(w, NULL, (int64_t)*offset);
    *offset += tensor_bytes(tensor);
    mm_json_put_int(w, NULL, (int64_t)*offset);
    mm_json_end(w, ']');
    mm_json_end(w, '}');
}

typedef struct content {
    const mm_tensor_entry **tensors; /* sorted by name */
    const mm_metadata_entry **metadata;
    size_t count, metadata_count;
    const mm_tensor_source *source; /* of entries without data */
} content;

static mm_status check_names(const content *c, const char *path, mm_error *error)
{
    for (size_t i = 0; i < c->count; i++) {
        const char *name = c->tensors[i]->name;
        if (strcmp(name, "__metadata__") == 0 || !mm_utf8_valid(name, strlen(name)))
            return mm_fail(error, MM_ERR_RUNTIME, "%s: \"%s\" is no name for a tensor", path, name);
        if (i > 0 && strcmp(c->tensors[i - 1]->name, name) == 0)
            return mm_fail(error, MM_ERR_RUNTIME, "%s: two tensors named \"%s\"", path, name);
    }
    return MM_OK;
}

/* The length, the header and blanks up to a multiple of 8. */
static mm_status write_header(mm_output_file *file, const content *c, mm_error *error)
{
    mm_json_writer w = {0};
    size_t offset = 0;
    mm_json_begin(&w, NULL, '{');
    put_metadata(&w, c->metadata, c->metadata_count);
    for (size_t i = 0; i < c->count; i++)
        put_tensor(&w, c->tensors[i], &offset);
    mm_json_end(&w, '}');
    uint64_t bytes = (w.bytes + 7) & ~(uint64_t)7;
    mm_status status = w.failed ? mm_fail_memory(error, file->path, w.bytes)
                                : mm_output_file_write(file, &bytes, sizeof(bytes), error);
    if (status == MM_OK)
        status = mm_output_file_write(file, w.text, w.bytes, error);
    if (status == MM_OK)
        status = mm_output_file_write(file, "       ", (size_t)bytes - w.bytes, error);
    mm_free(w.text);
    return status;
}

static mm_status write_content(mm_output_file *file, const content *c, mm_error *error)
{
    MM_TRY(write_header(file, c, error));
    for (size_t i = 0; i < c->count; i++) {
        const mm_tensor_entry *tensor = c->tensors[i];
        if (tensor->data || !c->source)
            MM_TRY(mm_output_file_write(file, tensor->data, tensor_bytes(tensor), error));
        else
            MM_TRY(c->source->write(c->source->user, tensor, file, error));
    }
    return MM_OK;
}

static mm_status write_file(const char *path, const content *c, mm_error *error)
{
    mm_output_file file;
    MM_TRY(check_names(c, path, error));
    MM_TRY(mm_output_file_open(&file, path, error));
    mm_status status = write_content(&file, c, error);
    if (status == MM_OK)
        return mm_output_file_commit(&file, error);
    mm_output_file_abort(&file);
    return status;
}

mm_status mm_safetensors_write(const char *path, const mm_tensor_entry *tensors, size_t count,
                               const mm_metadata_entry *metadata, size_t metadata_count,
                               mm_error *error)
{
    return mm_safetensors_write_from(path, tensors, count, metadata, metadata_count, NULL, error);
}

mm_status mm_safetensors_write_from(const char *path, const mm_tensor_entry *tensors, size_t count,
                                    const mm_metadata_entry *metadata, size_t metadata_count,
                                    const mm_tensor_source *source, mm_error *error)
{
    content c = {.tensors = mm_calloc(count, sizeof(*c.tensors)),
                 .metadata = mm_calloc(metadata_count, sizeof(*c.metadata)),
                 .count = count,
                 .metadata_count = metadata_count,
                 .source = source};
    mm_status status;
    if (c.tensors && c.metadata) {
        for (size_t i = 0; i < count; i++)
            c.tensors[i] = &tensors[i];
        for (size_t i = 0; i < metadata_count; i++)
            c.metadata[i] = &metadata[i];
        qsort(c.tensors, count, sizeof(*c.tensors), compare_names);
        qsort(c.metadata, metadata_count, sizeof(*c.metadata), compare_names);
        status = write_file(path, &c, error);
    } else {
        status = mm_fail_memory(error, path, (count + metadata_count) * sizeof(void *));
    }
    mm_free(c.tensors);
    mm_free(c.metadata);
    return status;
}

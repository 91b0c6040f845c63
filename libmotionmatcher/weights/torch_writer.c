/* SPDX-License-Identifier: BSD-2-Clause */
/* A torch zip archive that holds a flat list of f32 Parameters, as torch.save would write it. */
#include "weights/tensor_file.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "base/memory.h"

#define ROOT "archive/"
#define ALIGNMENT 64 /* of every entry's data, as PyTorch does it */
#define MOST_BYTES 0xfffffff0u
#define DOS_DATE 0x21 /* 1 January 1980: equal content gives equal bytes */

typedef struct bytes {
    unsigned char *data;
    size_t count, capacity;
    bool failed; /* no memory: everything after is ignored */
} bytes;

static void put(bytes *b, const void *data, size_t count)
{
    size_t needed = b->count + count;
    if (needed > b->capacity && !b->failed) {
        unsigned char *grown = mm_realloc(b->data, needed * 2);
        b->failed = !grown;
        b->data = grown ? grown : b->data;
        b->capacity = grown ? needed * 2 : b->capacity;
    }
    if (b->failed || count == 0)
        return;
    memcpy(b->data + b->count, data, count);
    b->count = needed;
}

static void put_code(bytes *b, const char *code)
{
    put(b, code, strlen(code));
}

/* Little-endian, `count` bytes of it. */
static void put_number(bytes *b, uint64_t number, size_t count)
{
    put(b, &number, count);
}

static void put_text(bytes *b, const char *text)
{
    put_code(b, "X");
    put_number(b, strlen(text), 4);
    put_code(b, text);
}

static void put_whole(bytes *b, int64_t whole)
{
    if (whole <= INT32_MAX) {
        put_code(b, "J");
        put_number(b, (uint64_t)whole, 4);
    } else {
        put_code(b, "\x8a\x08");
        put_number(b, (uint64_t)whole, 8);
    }
}

static void put_storage(bytes *b, size_t key, int64_t elements)
{
    char text[24];
    snprintf(text, sizeof(text), "%zu", key);
    put_code(b, "(");
    put_text(b, "storage");
    put_code(b, "ctorch\nFloatStorage\n");
    put_text(b, text);
    put_text(b, "cpu");
    put_whole(b, elements);
    put_code(b, "tQ");
}

static void put_strides(bytes *b, const mm_shape *shape)
{
    int64_t stride[MM_MAX_RANK], next = 1;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        stride[i] = next;
        next *= shape->dim[i];
    }
    put_code(b, "(");
    for (int32_t i = 0; i < shape->rank; i++)
        put_whole(b, stride[i]);
    put_code(b, "t");
}

static void put_parameter(bytes *b, size_t key, const mm_shape *shape)
{
    static const char no_hooks[] = "ccollections\nOrderedDict\n)R";
    put_code(b, "ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n(");
    put_storage(b, key, mm_shape_elements(shape));
    put_whole(b, 0);
    put_code(b, "(");
    for (int32_t i = 0; i < shape->rank; i++)
        put_whole(b, shape->dim[i]);
    put_code(b, "t");
    put_strides(b, shape);
    put_code(b, "\x89");
    put_code(b, no_hooks);
    put_code(b, "tR\x88");
    put_code(b, no_hooks);
    put_code(b, "tR");
}

static void put_pickle(bytes *b, const mm_tensor_entry *tensors, size_t count)
{
    put_code(b, "\x80\x02](");
    for (size_t i = 0; i < count; i++)
        put_parameter(b, i, &tensors[i].shape);
    put_code(b, "e.");
}

typedef struct archive {
    mm_output_file file;
    bytes directory;
    size_t entries;
    mm_error *error;
} archive;

static mm_status no_memory(const archive *a)
{
    return mm_fail_memory(a->error, a->file.path, a->directory.count);
}

static uint32_t checksum(const unsigned char *data, size_t count)
{
    uLong crc = crc32(0, NULL, 0);
    for (size_t part; count > 0; data += part, count -= part) {
        part = count < 1u << 30 ? count : 1u << 30;
        crc = crc32(crc, data, (uInt)part);
    }
    return (uint32_t)crc;
}

/* What the local header and the directory have in common. */
static void put_facts(bytes *b, uint32_t crc, size_t count, size_t name)
{
    put_number(b, 0, 2); /* version needed */
    put_number(b, 0, 2); /* flags */
    put_number(b, 0, 2); /* stored */
    put_number(b, 0, 2); /* time */
    put_number(b, DOS_DATE, 2);
    put_number(b, crc, 4);
    put_number(b, count, 4);
    put_number(b, count, 4);
    put_number(b, name, 2);
}

/* The extra field "FB" moves the data to a multiple of ALIGNMENT. */
static void put_padding(bytes *b, uint64_t position)
{
    size_t data = (size_t)(position + b->count + 2 + 4);
    size_t padding = (ALIGNMENT - data % ALIGNMENT) % ALIGNMENT;
    put_number(b, padding + 4, 2);
}

static mm_status write_entry(archive *a, const char *name, const void *data, size_t count)
{
    static const unsigned char filler[ALIGNMENT] = {0};
    const uint64_t position = a->file.position;
    const uint32_t crc = checksum(data, count);
    const size_t length = strlen(name);
    bytes local = {0};
    put_code(&local, "PK\3\4");
    put_facts(&local, crc, count, length);
    put_padding(&local, position + length);
    put_code(&local, name);
    put_code(&local, "FB");
    size_t padding = (size_t)(-(position + local.count + 2) % ALIGNMENT);
    put_number(&local, padding, 2);
    put(&local, filler, padding);
    put_code(&a->directory, "PK\1\2");
    put_number(&a->directory, 0, 2); /* made by */
    put_facts(&a->directory, crc, count, length);
    put_number(&a->directory, 0, 8); /* extra, comment, disk, internal attributes */
    put_number(&a->directory, 0, 4); /* external attributes */
    put_number(&a->directory, position, 4);
    put_code(&a->directory, name);
    a->entries++;
    mm_status status = local.failed || a->directory.failed
                           ? no_memory(a)
                           : mm_output_file_write(&a->file, local.data, local.count, a->error);
    mm_free(local.data);
    return status == MM_OK ? mm_output_file_write(&a->file, data, count, a->error) : status;
}

static mm_status write_end(archive *a)
{
    bytes *d = &a->directory;
    const size_t count = d->count;
    put_code(d, "PK\5\6");
    put_number(d, 0, 4); /* disks */
    put_number(d, a->entries, 2);
    put_number(d, a->entries, 2);
    put_number(d, count, 4);
    put_number(d, a->file.position, 4);
    put_number(d, 0, 2); /* comment */
    return d->failed ? no_memory(a) : mm_output_file_write(&a->file, d->data, d->count, a->error);
}

static mm_status write_pickle(archive *a, const mm_tensor_entry *tensors, size_t count)
{
    bytes pickle = {0};
    put_pickle(&pickle, tensors, count);
    mm_status status =
        pickle.failed ? no_memory(a) : write_entry(a, ROOT "data.pkl", pickle.data, pickle.count);
    mm_free(pickle.data);
    return status;
}

static mm_status write_archive(archive *a, const mm_tensor_entry *tensors, size_t count)
{
    MM_TRY(write_pickle(a, tensors, count));
    MM_TRY(write_entry(a, ROOT "byteorder", "little", 6));
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof(name), ROOT "data/%zu", i);
        MM_TRY(write_entry(a, name, tensors[i].data,
                           (size_t)mm_shape_elements(&tensors[i].shape) * sizeof(float)));
    }
    MM_TRY(write_entry(a, ROOT "version", "3\n", 2));
    return write_end(a);
}

/* Without ZIP64, sizes have 32 bits and the number of entries 16; a LoRA is far from either. */
static mm_status check_sizes(const char *path, const mm_tensor_entry *tensors, size_t count,
                             mm_error *error)
{
    uint64_t total = (uint64_t)count * 1024 + 65536;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].dtype != MM_F32)
            return mm_fail(error, MM_ERR_RUNTIME, "%s: only f32 tensors are written as .pt", path);
        total += (uint64_t)mm_shape_elements(&tensors[i].shape) * sizeof(float);
    }
    if (count <= 65000 && total <= MOST_BYTES)
        return MM_OK;
    return mm_fail(error, MM_ERR_RUNTIME, "%s: too large for a .pt file; write safetensors instead",
                   path);
}

mm_status mm_pickle_list_write(const char *path, const mm_tensor_entry *tensors, size_t count,
                               mm_error *error)
{
    archive a = {.error = error};
    MM_TRY(check_sizes(path, tensors, count, error));
    MM_TRY(mm_output_file_open(&a.file, path, error));
    mm_status status = write_archive(&a, tensors, count);
    mm_free(a.directory.data);
    if (status == MM_OK)
        return mm_output_file_commit(&a.file, error);
    mm_output_file_abort(&a.file);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading the numbers: in slices through a small buffer, whatever the strides. */
#include "weights/tensor_table.h"

#include <string.h>
#include <zlib.h>

#include "base/convert.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor files are little-endian");

#define SLICE_BYTES 65536

typedef struct reading {
    const mm_tensor_record *record;
    const mm_file *source;
    mm_dtype dtype;             /* wanted */
    size_t in_bytes, out_bytes; /* of one element */
    unsigned char *out;
    mm_error *error;
} reading;

static mm_status check_crc(const reading *r, uint32_t crc)
{
    if (crc == r->record->crc)
        return MM_OK;
    return mm_fail(r->error, MM_ERR_INPUT,
                   "%s: the data of tensor \"%s\" is damaged (wrong checksum)", r->source->path,
                   r->record->info.name);
}

static mm_status read_contiguous(const reading *r, int64_t first, int64_t count)
{
    const mm_tensor_record *record = r->record;
    unsigned char buffer[SLICE_BYTES];
    const bool as_stored = r->dtype == record->info.dtype;
    const size_t most = SLICE_BYTES / r->in_bytes;
    const bool whole = record->has_crc && count == record->storage_elements;
    uint64_t at = record->storage + (uint64_t)(record->offset + first) * r->in_bytes;
    unsigned char *out = r->out;
    uLong crc = crc32(0, NULL, 0);
    for (size_t left = (size_t)count; left > 0;) {
        size_t n = left < most ? left : most;
        unsigned char *slice = as_stored ? out : buffer;
        MM_TRY(mm_file_read(r->source, at, slice, n * r->in_bytes, r->error));
        if (whole)
            crc = crc32(crc, slice, (uInt)(n * r->in_bytes));
        if (!as_stored)
            mm_convert_numbers(out, r->dtype, slice, record->info.dtype, n);
        out += n * r->out_bytes;
        at += n * r->in_bytes;
        left -= n;
    }
    return whole ? check_crc(r, (uint32_t)crc) : MM_OK;
}

/* A view of the storage that moves forward as elements are asked for. */
typedef struct window {
    int64_t first, count, most; /* in elements */
    unsigned char bytes[SLICE_BYTES];
} window;

static mm_status move_window(const reading *r, window *w, int64_t position)
{
    int64_t left = r->record->storage_elements - position;
    w->first = position;
    w->count = left < w->most ? left : w->most;
    return mm_file_read(r->source, r->record->storage + (uint64_t)position * r->in_bytes, w->bytes,
                        (size_t)w->count * r->in_bytes, r->error);
}

/* The dimensions from the largest stride to the smallest: the order of the storage. */
static void sort_dimensions(const mm_tensor_record *record, int32_t *order)
{
    int32_t rank = record->info.shape.rank;
    for (int32_t i = 0; i < rank; i++) {
        int32_t at = i;
        for (; at > 0 && record->stride[order[at - 1]] < record->stride[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

typedef struct walk {
    int32_t rank, order[MM_MAX_RANK];
    int64_t low[MM_MAX_RANK], high[MM_MAX_RANK], at[MM_MAX_RANK]; /* by dimension */
    int64_t logical[MM_MAX_RANK];                                 /* row-major strides */
} walk;

/* All indices that can hold elements first .. first + count - 1: only dimension 0 is narrowed. */
static void start_walk(walk *w, const mm_tensor_record *record, int64_t first, int64_t count)
{
    const mm_shape *shape = &record->info.shape;
    int64_t stride = 1;
    w->rank = shape->rank;
    sort_dimensions(record, w->order);
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        w->low[i] = 0;
        w->high[i] = shape->dim[i];
        w->logical[i] = stride;
        stride *= shape->dim[i];
    }
    if (shape->rank > 0) {
        w->low[0] = first / w->logical[0];
        w->high[0] = (first + count - 1) / w->logical[0] + 1;
    }
    memcpy(w->at, w->low, sizeof(w->at));
}

/* To the next index in storage order; false after the last. */
static bool step_walk(walk *w)
{
    for (int32_t i = w->rank - 1; i >= 0; i--) {
        int32_t d = w->order[i];
        if (++w->at[d] < w->high[d])
            return true;
        w->at[d] = w->low[d];
    }
    return false;
}

static mm_status read_strided(const reading *r, int64_t first, int64_t count)
{
    const mm_tensor_record *record = r->record;
    walk w = {0};
    window view = {.most = (int64_t)(SLICE_BYTES / r->in_bytes)};
    start_walk(&w, record, first, count);
    if (w.rank > 0 && record->stride[w.order[w.rank - 1]] >= view.most)
        view.most = 1; /* a window would hold nothing else that is wanted */
    do {
        int64_t position = record->offset, index = -first;
        for (int32_t i = 0; i < w.rank; i++) {
            position += w.at[i] * record->stride[i];
            index += w.at[i] * w.logical[i];
        }
        if (index < 0 || index >= count)
            continue;
        if (position < view.first || position >= view.first + view.count)
            MM_TRY(move_window(r, &view, position));
        mm_convert_numbers(r->out + (size_t)index * r->out_bytes, r->dtype,
                           view.bytes + (size_t)(position - view.first) * r->in_bytes,
                           record->info.dtype, 1);
    } while (step_walk(&w));
    return MM_OK;
}

static mm_status read_elements(const mm_tensor_file *file, size_t index, int64_t first,
                               int64_t count, mm_dtype dtype, void *out, mm_error *error)
{
    if (index >= file->count)
        return mm_fail(error, MM_ERR_INPUT, "%s: no tensor %zu", file->path, index);
    const mm_tensor_record *record = &file->records[index];
    int64_t elements = mm_shape_elements(&record->info.shape);
    if (first < 0 || count < 0 || first > elements || count > elements - first)
        return mm_fail(error, MM_ERR_INPUT, "%s: tensor \"%s\" has %lld elements, not %lld+%lld",
                       file->path, record->info.name, (long long)elements, (long long)first,
                       (long long)count);
    reading r = {.record = record,
                 .source = &file->sources[record->source],
                 .dtype = dtype,
                 .in_bytes = mm_dtype_bytes(record->info.dtype),
                 .out_bytes = mm_dtype_bytes(dtype),
                 .out = out,
                 .error = error};
    if (count == 0)
        return MM_OK;
    return record->contiguous ? read_contiguous(&r, first, count) : read_strided(&r, first, count);
}

mm_status mm_tensor_file_read_as(const mm_tensor_file *file, size_t index, int64_t first,
                                 int64_t count, mm_dtype dtype, void *out, mm_error *error)
{
    const mm_tensor_info *info = mm_tensor_file_info(file, index);
    if (info && !mm_dtype_is_float(info->dtype))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: tensor \"%s\" holds %s, not floating-point numbers", file->path,
                       info->name, mm_dtype_name(info->dtype));
    return read_elements(file, index, first, count, dtype, out, error);
}

mm_status mm_tensor_file_read_f32(const mm_tensor_file *file, size_t index, int64_t first,
                                  int64_t count, float *out, mm_error *error)
{
    return mm_tensor_file_read_as(file, index, first, count, MM_F32, out, error);
}

mm_status mm_tensor_file_read_raw(const mm_tensor_file *file, size_t index, int64_t first,
                                  int64_t count, void *out, mm_error *error)
{
    const mm_tensor_info *info = mm_tensor_file_info(file, index);
    return read_elements(file, index, first, count, info ? info->dtype : MM_F32, out, error);
}

mm_status mm_tensor_file_read_named_f32(const mm_tensor_file *file, const char *name,
                                        const mm_shape *shape, float *out, mm_error *error)
{
    int64_t index = mm_tensor_file_find(file, name);
    if (index < 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: has no tensor \"%s\"", file->path, name);
    const mm_tensor_info *info = &file->records[index].info;
    if (!mm_shape_equal(&info->shape, shape)) {
        char has[128], wanted[128];
        return mm_fail(error, MM_ERR_INPUT, "%s: tensor \"%s\" has shape %s, must have %s",
                       file->path, name, mm_shape_text(&info->shape, has, sizeof(has)),
                       mm_shape_text(shape, wanted, sizeof(wanted)));
    }
    return mm_tensor_file_read_f32(file, (size_t)index, 0, mm_shape_elements(shape), out, error);
}

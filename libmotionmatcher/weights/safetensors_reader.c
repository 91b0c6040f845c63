/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The header of a safetensors file: a JSON object of {dtype, shape, data_offsets} by tensor name,
 * read with a pull reader of its own, because it may be megabytes of hostile text and needs exact
 * integers. Strings are decoded in place, so the header's text becomes the store of the names.
 */
#include "weights/tensor_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define MOST_HEADER ((uint64_t)16 << 20)
#define METADATA_KEY "__metadata__"

typedef struct header {
    mm_tensor_file *file;
    const char *path;
    uint32_t source;
    char *text; /* with a final NUL, so that looking one byte ahead is always allowed */
    size_t at, bytes;
    mm_error *error;
} header;

static mm_status fail_at(const header *h, const char *what)
{
    return mm_fail(h->error, MM_ERR_INPUT, "%s: bad safetensors header at byte %zu: %s", h->path,
                   h->at + 8, what);
}

static void skip_blanks(header *h)
{
    while (h->at < h->bytes && strchr(" \t\n\r", h->text[h->at]))
        h->at++;
}

static bool take(header *h, char c)
{
    skip_blanks(h);
    if (h->text[h->at] != c)
        return false;
    h->at++;
    return true;
}

static mm_status expect(header *h, char c)
{
    if (take(h, c))
        return MM_OK;
    const char what[] = {'\'', c,   '\'', ' ', 'i', 's', ' ', 'e',
                         'x',  'p', 'e',  'c', 't', 'e', 'd', '\0'};
    return fail_at(h, what);
}

/* After an element: true when another follows, false when `close` ended the list. */
static mm_status more_follow(header *h, char close, bool *more)
{
    *more = take(h, ',');
    return *more ? MM_OK : expect(h, close);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \uXXXX at `text` (at its backslash); -1 when it is none. The final NUL ends every look ahead. */
static int32_t unit_at(const char *text)
{
    int32_t unit = 0;
    if (text[0] != '\\' || text[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(text[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int rest = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    *out++ = (char)((rest == 1 ? 0xc0 : rest == 2 ? 0xe0 : 0xf0) | code >> (6 * rest));
    while (rest-- > 0)
        *out++ = (char)(0x80 | (code >> (6 * rest) & 0x3f));
    return out;
}

/* Decodes the escape at h->at to *out, never more bytes than the escape has. */
static mm_status decode_escape(header *h, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *text = h->text + h->at, *simple = text[1] ? strchr(from, text[1]) : NULL;
    if (simple) {
        *(*out)++ = to[simple - from];
        h->at += 2;
        return MM_OK;
    }
    int32_t unit = unit_at(text), low = -1;
    if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return fail_at(h, "an escape that is no character");
    h->at += 6;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        low = unit_at(text + 6);
        if (low < 0xdc00 || low > 0xdfff)
            return fail_at(h, "an escape that is no character");
        h->at += 6;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = put_utf8(*out, (uint32_t)unit);
    return MM_OK;
}

static mm_status read_string(header *h, const char **string)
{
    MM_TRY(expect(h, '"'));
    char *out = h->text + h->at;
    *string = out;
    while (h->text[h->at] != '"') {
        if ((unsigned char)h->text[h->at] < 0x20)
            return fail_at(h, h->at < h->bytes ? "a control character in a string"
                                               : "the header ends inside a string");
        if (h->text[h->at] == '\\')
            MM_TRY(decode_escape(h, &out));
        else
            *out++ = h->text[h->at++];
    }
    h->at++;
    *out = '\0'; /* at most where the closing quote was */
    return MM_OK;
}

static mm_status read_whole(header *h, uint64_t *out)
{
    skip_blanks(h);
    const size_t start = h->at;
    uint64_t value = 0;
    for (; h->text[h->at] >= '0' && h->text[h->at] <= '9'; h->at++) {
        uint64_t digit = (uint64_t)(h->text[h->at] - '0');
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return fail_at(h, "a number too large");
    }
    char next = h->text[h->at];
    bool leading_zero = h->text[start] == '0' && h->at - start > 1;
    if (h->at == start || leading_zero || next == '.' || next == 'e' || next == 'E')
        return fail_at(h, "a whole number without sign is expected");
    *out = value;
    return MM_OK;
}

static mm_status read_dtype(header *h, mm_dtype *out)
{
    static const struct {
        const char *name;
        int dtype; /* -1: of the format, but not supported */
    } dtypes[] = {
        {"F32", MM_F32}, {"F16", MM_F16}, {"BF16", MM_BF16}, {"F64", MM_F64}, {"I32", MM_I32},
        {"I64", MM_I64}, {"U8", MM_U8},   {"BOOL", -1},      {"I8", -1},      {"I16", -1},
        {"U16", -1},     {"U32", -1},     {"U64", -1},       {"C64", -1},     {"F8_E4M3", -1},
        {"F8_E5M2", -1}, {"F8_E8M0", -1}, {"F4", -1},        {"F6_E2M3", -1}, {"F6_E3M2", -1},
    };
    const char *name;
    MM_TRY(read_string(h, &name));
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(dtypes[i].name, name) != 0)
            continue;
        if (dtypes[i].dtype < 0)
            return mm_fail(h->error, MM_ERR_UNSUPPORTED, "%s: tensors of type %s are not supported",
                           h->path, name);
        *out = (mm_dtype)dtypes[i].dtype;
        return MM_OK;
    }
    return fail_at(h, "an unknown dtype");
}

static mm_status read_shape(header *h, mm_shape *shape)
{
    bool more = true;
    uint64_t dim;
    MM_TRY(expect(h, '['));
    shape->rank = 0;
    if (take(h, ']'))
        return MM_OK;
    while (more) {
        MM_TRY(read_whole(h, &dim));
        if (dim > INT64_MAX)
            return fail_at(h, "a dimension too large");
        if (shape->rank == MM_MAX_RANK)
            return fail_at(h, "more dimensions than are supported");
        shape->dim[shape->rank++] = (int64_t)dim;
        MM_TRY(more_follow(h, ']', &more));
    }
    return MM_OK;
}

static mm_status read_offsets(header *h, uint64_t *begin, uint64_t *end)
{
    MM_TRY(expect(h, '['));
    MM_TRY(read_whole(h, begin));
    MM_TRY(expect(h, ','));
    MM_TRY(read_whole(h, end));
    return expect(h, ']');
}

/* The bytes that dtype and shape call for must be the bytes that the offsets give. */
static mm_status check_size(const header *h, const mm_tensor_record *record, uint64_t begin,
                            uint64_t end)
{
    int64_t elements = 0, bytes = 0;
    if (!mm_shape_elements_checked(&record->info.shape, &elements) ||
        !mm_mul_i64(elements, (int64_t)mm_dtype_bytes(record->info.dtype), &bytes))
        return mm_fail(h->error, MM_ERR_INPUT, "%s: tensor \"%s\" has an impossible shape", h->path,
                       record->info.name);
    if (end < begin || end - begin != (uint64_t)bytes)
        return mm_fail(h->error, MM_ERR_INPUT,
                       "%s: tensor \"%s\" needs %lld bytes, its offsets are %llu and %llu", h->path,
                       record->info.name, (long long)bytes, (unsigned long long)begin,
                       (unsigned long long)end);
    return MM_OK;
}

static mm_status read_tensor(header *h, const char *name)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL = 7 };
    int seen = 0;
    bool more = true;
    uint64_t begin = 0, end = 0;
    mm_tensor_record *record = mm_tensor_file_add(h->file);
    if (!record)
        return mm_fail_memory(h->error, h->path, sizeof(*record));
    record->info.name = name;
    record->source = h->source;
    MM_TRY(expect(h, '{'));
    while (more) {
        const char *field;
        MM_TRY(read_string(h, &field));
        MM_TRY(expect(h, ':'));
        int which = strcmp(field, "dtype") == 0          ? DTYPE
                    : strcmp(field, "shape") == 0        ? SHAPE
                    : strcmp(field, "data_offsets") == 0 ? OFFSETS
                                                         : 0;
        if (which == 0 || seen & which)
            return fail_at(h, which ? "a field stands twice" : "an unknown field of a tensor");
        seen |= which;
        if (which == DTYPE)
            MM_TRY(read_dtype(h, &record->info.dtype));
        else if (which == SHAPE)
            MM_TRY(read_shape(h, &record->info.shape));
        else
            MM_TRY(read_offsets(h, &begin, &end));
        MM_TRY(more_follow(h, '}', &more));
    }
    if (seen != ALL)
        return fail_at(h, "a tensor without dtype, shape or data_offsets");
    MM_TRY(check_size(h, record, begin, end));
    mm_tensor_record_make_contiguous(record);
    record->storage = begin;
    return MM_OK;
}

static mm_status check_metadata_keys(const header *h, size_t first)
{
    size_t count = h->file->text_count - first;
    const char **keys = mm_calloc(count, sizeof(*keys));
    if (!keys)
        return mm_fail_memory(h->error, h->path, count * sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = h->file->texts[first + i].key;
    const char *twice = mm_find_duplicate(keys, count);
    mm_free(keys);
    if (!twice)
        return MM_OK;
    return mm_fail(h->error, MM_ERR_INPUT, "%s: the metadata \"%s\" stands there twice", h->path,
                   twice);
}

static mm_status read_metadata(header *h)
{
    const size_t first = h->file->text_count;
    bool more = true;
    MM_TRY(expect(h, '{'));
    if (take(h, '}'))
        return MM_OK;
    while (more) {
        const char *key, *value;
        MM_TRY(read_string(h, &key));
        MM_TRY(expect(h, ':'));
        MM_TRY(read_string(h, &value));
        MM_TRY(mm_tensor_file_add_text(h->file, key, value, h->error));
        MM_TRY(more_follow(h, '}', &more));
    }
    return check_metadata_keys(h, first);
}

static mm_status read_members(header *h)
{
    bool more = true, seen_metadata = false;
    MM_TRY(expect(h, '{'));
    if (take(h, '}'))
        return MM_OK;
    while (more) {
        const char *name;
        MM_TRY(read_string(h, &name));
        MM_TRY(expect(h, ':'));
        bool is_metadata = strcmp(name, METADATA_KEY) == 0;
        if (is_metadata && seen_metadata)
            return fail_at(h, METADATA_KEY " stands twice");
        seen_metadata = seen_metadata || is_metadata;
        MM_TRY(is_metadata ? read_metadata(h) : read_tensor(h, name));
        MM_TRY(more_follow(h, '}', &more));
    }
    return MM_OK;
}

static mm_status read_header_text(header *h)
{
    if (!mm_utf8_valid(h->text, h->bytes))
        return mm_fail(h->error, MM_ERR_INPUT,
                       "%s: bad safetensors header: not UTF-8 text (or a NUL in it)", h->path);
    MM_TRY(read_members(h));
    skip_blanks(h);
    return h->at == h->bytes ? MM_OK : fail_at(h, "text after the end of the header");
}

static uint64_t record_bytes(const mm_tensor_record *record)
{
    return (uint64_t)record->storage_elements * mm_dtype_bytes(record->info.dtype);
}

static int compare_places(const void *a, const void *b)
{
    const mm_tensor_record *x = a, *y = b;
    if (x->storage != y->storage)
        return x->storage < y->storage ? -1 : 1;
    uint64_t bytes_x = record_bytes(x), bytes_y = record_bytes(y);
    if (bytes_x != bytes_y)
        return bytes_x < bytes_y ? -1 : 1;
    return strcmp(x->info.name, y->info.name);
}

/* Tensors must follow one another without hole or overlap, from the header to the file's end. */
static mm_status place_tensors(const header *h, size_t first, uint64_t data, uint64_t data_bytes)
{
    mm_tensor_file *file = h->file;
    uint64_t next = 0;
    if (file->count > first)
        qsort(file->records + first, file->count - first, sizeof(*file->records), compare_places);
    for (size_t i = first; i < file->count; i++) {
        mm_tensor_record *record = &file->records[i];
        uint64_t bytes = record_bytes(record);
        if (record->storage == next && bytes > data_bytes - next)
            return mm_fail(h->error, MM_ERR_INPUT,
                           "%s: cut short: tensor \"%s\" needs %llu bytes more than there are",
                           h->path, record->info.name,
                           (unsigned long long)(bytes - (data_bytes - next)));
        if (record->storage != next)
            return mm_fail(h->error, MM_ERR_INPUT,
                           "%s: tensor \"%s\" begins at %llu, must begin at %llu", h->path,
                           record->info.name, (unsigned long long)record->storage,
                           (unsigned long long)next);
        record->storage += data;
        next += bytes;
    }
    if (next == data_bytes)
        return MM_OK;
    return mm_fail(h->error, MM_ERR_INPUT, "%s: holds %llu bytes of data, its tensors take %llu",
                   h->path, (unsigned long long)data_bytes, (unsigned long long)next);
}

static mm_status check_header_size(const mm_file *source, uint64_t bytes, mm_error *error)
{
    if (bytes > source->size - 8)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: no safetensors file, or cut short: a header of %llu bytes in %llu",
                       source->path, (unsigned long long)bytes, (unsigned long long)source->size);
    if (bytes > MOST_HEADER)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a safetensors header of %llu bytes, at most %llu are read",
                       source->path, (unsigned long long)bytes, (unsigned long long)MOST_HEADER);
    return MM_OK;
}

mm_status mm_safetensors_read(mm_tensor_file *file, uint32_t source, mm_error *error)
{
    const mm_file *from = &file->sources[source];
    const size_t first = file->count;
    uint64_t bytes;
    if (from->size < sizeof(bytes))
        return mm_fail(error, MM_ERR_INPUT, "%s: %llu bytes are too few for a tensor file",
                       from->path, (unsigned long long)from->size);
    MM_TRY(mm_file_read(from, 0, &bytes, sizeof(bytes), error));
    MM_TRY(check_header_size(from, bytes, error));
    header h = {.file = file,
                .path = from->path,
                .source = source,
                .text = mm_arena_alloc(&file->arena, (size_t)bytes + 1),
                .bytes = (size_t)bytes,
                .error = error};
    if (!h.text)
        return mm_fail_memory(error, from->path, bytes + 1);
    MM_TRY(mm_file_read(from, 8, h.text, h.bytes, error));
    MM_TRY(read_header_text(&h));
    return place_tensors(&h, first, 8 + bytes, from->size - 8 - bytes);
}

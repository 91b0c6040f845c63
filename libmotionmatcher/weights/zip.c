/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"
#include "base/memory.h"

#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR_BYTES 20
#define CENTRAL_BYTES 46
#define LOCAL_BYTES 30
#define LARGEST_COMMENT 65535
#define MOST_DIRECTORY ((uint64_t)16 << 20)
#define MOST_ENTRIES 100000
#define MOST_NAME 512
#define IN_EXTRA 0xffffffffu /* the true value is in the ZIP64 extra field */

enum { HAS_DESCRIPTOR = 8, UTF8_NAME = 0x800 };

typedef struct directory {
    uint64_t offset, bytes, count, end; /* `end`: where the end records begin */
} directory;

typedef struct reader {
    mm_zip *zip;
    const mm_file *file;
    mm_arena *arena;
    mm_error *error;
} reader;

static uint16_t u16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const unsigned char *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p)
{
    return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32;
}

static mm_status bad(const reader *r, const char *what)
{
    return mm_fail(r->error, MM_ERR_INPUT, "%s: damaged or unsafe ZIP archive: %s", r->file->path,
                   what);
}

static mm_status bad_entry(const reader *r, const char *name, const char *what)
{
    return mm_fail(r->error, MM_ERR_INPUT, "%s: damaged or unsafe ZIP archive: entry \"%s\": %s",
                   r->file->path, name, what);
}

/* Another end record whose comment reaches the end of the file too: which one counts would depend
   on the reader. */
static mm_status check_single_end(const reader *r)
{
    const uint64_t size = r->file->size;
    unsigned char tail[4096 + 3];
    uint64_t low = size > END_BYTES + LARGEST_COMMENT ? size - END_BYTES - LARGEST_COMMENT : 0;
    for (uint64_t from = low; from < size - END_BYTES; from += 4096) {
        size_t bytes = size - from < sizeof(tail) ? (size_t)(size - from) : sizeof(tail);
        MM_TRY(mm_file_read(r->file, from, tail, bytes, r->error));
        for (size_t i = 0; i + 4 <= bytes && from + i < size - END_BYTES; i++) {
            if (tail[i] != 'P' || memcmp(tail + i, "PK\5\6", 4) != 0)
                continue;
            unsigned char comment[2];
            MM_TRY(mm_file_read(r->file, from + i + 20, comment, 2, r->error));
            if (from + i + END_BYTES + u16(comment) == size)
                return bad(r, "two ends of the directory");
        }
    }
    return MM_OK;
}

static mm_status read_end64(const reader *r, const unsigned char *end, uint64_t end_at,
                            directory *d)
{
    unsigned char locator[LOCATOR_BYTES], record[END64_BYTES];
    bool needed = u16(end + 10) == 0xffff || u32(end + 12) == IN_EXTRA || u32(end + 16) == IN_EXTRA;
    bool found = false;
    if (end_at >= LOCATOR_BYTES + END64_BYTES) {
        MM_TRY(mm_file_read(r->file, end_at - LOCATOR_BYTES, locator, sizeof(locator), r->error));
        found = memcmp(locator, "PK\6\7", 4) == 0;
    }
    if (!found)
        return needed ? bad(r, "its ZIP64 record is missing") : MM_OK;
    const uint64_t at = end_at - LOCATOR_BYTES - END64_BYTES;
    MM_TRY(mm_file_read(r->file, at, record, sizeof(record), r->error));
    if (u64(locator + 8) != at || memcmp(record, "PK\6\6", 4) != 0 ||
        u64(record + 4) != END64_BYTES - 12)
        return bad(r, "its ZIP64 record is not where it must be");
    if (u32(locator + 4) != 0 || u32(locator + 16) > 1 || u32(record + 16) != 0 ||
        u32(record + 20) != 0 || u64(record + 24) != u64(record + 32))
        return bad(r, "spread over several disks");
    const directory true_values = {u64(record + 48), u64(record + 40), u64(record + 32), at};
    if ((u16(end + 10) != 0xffff && d->count != true_values.count) ||
        (u32(end + 12) != IN_EXTRA && d->bytes != true_values.bytes) ||
        (u32(end + 16) != IN_EXTRA && d->offset != true_values.offset))
        return bad(r, "its two end records disagree");
    *d = true_values;
    return MM_OK;
}

static mm_status read_end(const reader *r, directory *d)
{
    unsigned char end[END_BYTES];
    if (r->file->size < END_BYTES)
        return bad(r, "too short");
    const uint64_t at = r->file->size - END_BYTES;
    MM_TRY(mm_file_read(r->file, at, end, sizeof(end), r->error));
    if (memcmp(end, "PK\5\6", 4) != 0)
        return bad(r, "its end is missing (cut short, or something after it)");
    if (u16(end + 20) != 0)
        return bad(r, "a comment");
    if (u16(end + 4) != 0 || u16(end + 6) != 0 || u16(end + 8) != u16(end + 10))
        return bad(r, "spread over several disks");
    MM_TRY(check_single_end(r));
    *d = (directory){u32(end + 16), u32(end + 12), u16(end + 10), at};
    MM_TRY(read_end64(r, end, at, d));
    if (d->offset > d->end || d->bytes != d->end - d->offset)
        return bad(r, "the directory is not where it must be");
    if (d->count == 0 || d->count > MOST_ENTRIES || d->bytes > MOST_DIRECTORY ||
        d->count > d->bytes / CENTRAL_BYTES)
        return bad(r, "an impossible number of entries");
    return MM_OK;
}

/* Plain relative paths alone: nothing that a file system or another reader would take for
   something else. */
static bool is_plain_name(const char *name, size_t length)
{
    if (length == 0 || length > MOST_NAME || !mm_utf8_valid(name, length))
        return false;
    for (size_t start = 0, i = 0; i <= length; i++) {
        if (i < length && ((unsigned char)name[i] < 0x20 || name[i] == '\\' || name[i] == 0x7f))
            return false;
        if (i < length && name[i] != '/')
            continue;
        size_t part = i - start;
        if (part == 0 || (part == 1 && name[start] == '.') ||
            (part == 2 && name[start] == '.' && name[start + 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

/* Takes the true sizes from the ZIP64 extra field where the fixed fields are full. */
static mm_status read_extra(const reader *r, mm_zip_entry *entry, const unsigned char *extra,
                            size_t bytes, uint64_t *stored)
{
    uint64_t *fields[3] = {&entry->bytes, stored, &entry->header};
    bool done = false;
    for (size_t at = 0; at < bytes;) {
        if (bytes - at < 4 || u16(extra + at + 2) > bytes - at - 4)
            return bad_entry(r, entry->name, "its extra field is damaged");
        size_t left = u16(extra + at + 2);
        const unsigned char *value = extra + at + 4;
        bool is_zip64 = u16(extra + at) == 1;
        at += 4 + left;
        if (!is_zip64)
            continue;
        if (done)
            return bad_entry(r, entry->name, "two ZIP64 fields");
        done = true;
        for (int i = 0; i < 3; i++) {
            if (*fields[i] != IN_EXTRA)
                continue;
            if (left < 8)
                return bad_entry(r, entry->name, "its ZIP64 field is too short");
            *fields[i] = u64(value);
            value += 8;
            left -= 8;
        }
    }
    if (!done && (entry->bytes == IN_EXTRA || *stored == IN_EXTRA || entry->header == IN_EXTRA))
        return bad_entry(r, entry->name, "its ZIP64 field is missing");
    return MM_OK;
}

static mm_status check_method(const reader *r, const char *name, uint16_t flags, uint16_t method)
{
    if (flags & (1 | 0x40 | 0x2000))
        return bad_entry(r, name, "encrypted");
    if (flags & ~(HAS_DESCRIPTOR | UTF8_NAME))
        return bad_entry(r, name, "flags that no file of weights has");
    if (method != 0)
        return mm_fail(
            r->error, MM_ERR_UNSUPPORTED,
            "%s: entry \"%s\" is compressed, which torch.save does not do (a TorchScript "
            "program, or packed again); save the state_dict() with torch.save",
            r->file->path, name);
    return MM_OK;
}

/* One entry of the central directory at `p`; *taken is its length. */
static mm_status read_central(const reader *r, mm_zip_entry *entry, const unsigned char *p,
                              size_t left, size_t *taken)
{
    if (left < CENTRAL_BYTES || memcmp(p, "PK\1\2", 4) != 0)
        return bad(r, "the directory is damaged");
    const size_t name = u16(p + 28), extra = u16(p + 30);
    *taken = CENTRAL_BYTES + name + extra;
    if (left < *taken)
        return bad(r, "the directory is damaged");
    if (!is_plain_name((const char *)p + CENTRAL_BYTES, name))
        return bad(r, "an entry's name is not a plain relative path");
    entry->name = mm_arena_strndup(r->arena, (const char *)p + CENTRAL_BYTES, name);
    if (!entry->name)
        return mm_fail_memory(r->error, r->file->path, name);
    entry->flags = u16(p + 8);
    entry->crc = u32(p + 16);
    entry->bytes = u32(p + 24);
    entry->header = u32(p + 42);
    uint64_t stored = u32(p + 20);
    MM_TRY(check_method(r, entry->name, entry->flags, u16(p + 10)));
    if (u16(p + 32) != 0 || u16(p + 34) != 0)
        return bad_entry(r, entry->name, "a comment, or another disk");
    MM_TRY(read_extra(r, entry, p + CENTRAL_BYTES + name, extra, &stored));
    return stored == entry->bytes ? MM_OK : bad_entry(r, entry->name, "two sizes that differ");
}

static mm_status read_directory(const reader *r, const directory *d)
{
    mm_zip *zip = r->zip;
    unsigned char *bytes = mm_malloc((size_t)d->bytes);
    zip->entries = mm_arena_alloc(r->arena, (size_t)d->count * sizeof(*zip->entries));
    mm_status status = bytes && zip->entries
                           ? mm_file_read(r->file, d->offset, bytes, (size_t)d->bytes, r->error)
                           : mm_fail_memory(r->error, r->file->path, d->bytes);
    size_t at = 0, taken = 0;
    for (; zip->count < d->count && status == MM_OK; at += taken, zip->count++)
        status =
            read_central(r, &zip->entries[zip->count], bytes + at, (size_t)d->bytes - at, &taken);
    mm_free(bytes);
    if (status == MM_OK && at != d->bytes)
        return bad(r, "more entries in the directory than its end says");
    return status;
}

static int compare_headers(const void *a, const void *b)
{
    const mm_zip_entry *x = a, *y = b;
    return x->header == y->header ? 0 : x->header < y->header ? -1 : 1;
}

static int compare_names(const void *a, const void *b)
{
    const mm_zip_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Without a descriptor the local sizes must be the true ones; with one they may also be empty. */
static bool local_agrees(const mm_zip_entry *entry, const unsigned char *local)
{
    uint32_t size = entry->bytes >= IN_EXTRA ? IN_EXTRA : (uint32_t)entry->bytes;
    uint32_t crc = u32(local + 14), stored = u32(local + 18), plain = u32(local + 22);
    bool full = stored == IN_EXTRA && plain == IN_EXTRA;
    bool equal = (stored == size && plain == size) || full;
    if (!(entry->flags & HAS_DESCRIPTOR))
        return crc == entry->crc && equal;
    return (crc == 0 || crc == entry->crc) && (equal || (stored == 0 && plain == 0));
}

static mm_status read_local(const reader *r, mm_zip_entry *entry, uint64_t end)
{
    unsigned char local[LOCAL_BYTES + MOST_NAME];
    const size_t name = strlen(entry->name);
    if (end - entry->header < LOCAL_BYTES + name)
        return bad_entry(r, entry->name, "overlaps its neighbour");
    MM_TRY(mm_file_read(r->file, entry->header, local, LOCAL_BYTES + name, r->error));
    if (memcmp(local, "PK\3\4", 4) != 0)
        return bad_entry(r, entry->name, "its header is missing");
    if (u16(local + 26) != name || memcmp(local + LOCAL_BYTES, entry->name, name) != 0)
        return bad_entry(r, entry->name, "another name in its header");
    if (u16(local + 6) != entry->flags || u16(local + 8) != 0 || !local_agrees(entry, local))
        return bad_entry(r, entry->name, "its header and the directory disagree");
    entry->data = entry->header + LOCAL_BYTES + name + u16(local + 28);
    if (entry->data > end || entry->bytes > end - entry->data)
        return bad_entry(r, entry->name, "overlaps its neighbour");
    return MM_OK;
}

/* What lies between the data and the next entry: the descriptor, in either of its forms, or
   nothing. */
static mm_status check_descriptor(const reader *r, const mm_zip_entry *entry, uint64_t end)
{
    unsigned char d[24];
    const uint64_t at = entry->data + entry->bytes, bytes = end - at;
    if (!(entry->flags & HAS_DESCRIPTOR))
        return bytes == 0 ? MM_OK : bad_entry(r, entry->name, "bytes that belong to no entry");
    if (bytes != 16 && bytes != 24)
        return bad_entry(r, entry->name, "no descriptor after its data");
    MM_TRY(mm_file_read(r->file, at, d, (size_t)bytes, r->error));
    bool wide = bytes == 24;
    uint64_t stored = wide ? u64(d + 8) : u32(d + 8), plain = wide ? u64(d + 16) : u32(d + 12);
    if (memcmp(d, "PK\7\10", 4) != 0 || u32(d + 4) != entry->crc || stored != entry->bytes ||
        plain != entry->bytes)
        return bad_entry(r, entry->name, "its descriptor and the directory disagree");
    return MM_OK;
}

static mm_status check_layout(const reader *r, const directory *d)
{
    mm_zip *zip = r->zip;
    qsort(zip->entries, zip->count, sizeof(*zip->entries), compare_headers);
    if (zip->entries[0].header != 0)
        return bad(r, "something before the first entry");
    for (size_t i = 0; i < zip->count; i++) {
        uint64_t end = i + 1 < zip->count ? zip->entries[i + 1].header : d->offset;
        if (end > d->offset || end <= zip->entries[i].header)
            return bad_entry(r, zip->entries[i].name, "overlaps the directory or another entry");
        MM_TRY(read_local(r, &zip->entries[i], end));
        MM_TRY(check_descriptor(r, &zip->entries[i], end));
    }
    return MM_OK;
}

static mm_status check_names(const reader *r)
{
    mm_zip *zip = r->zip;
    const char *slash = strchr(zip->entries[0].name, '/');
    if (!slash)
        return bad_entry(r, zip->entries[0].name, "in no folder, so this is no PyTorch archive");
    const size_t length = (size_t)(slash - zip->entries[0].name) + 1;
    zip->root = mm_arena_strndup(r->arena, zip->entries[0].name, length - 1);
    if (!zip->root)
        return mm_fail_memory(r->error, r->file->path, length);
    qsort(zip->entries, zip->count, sizeof(*zip->entries), compare_names);
    for (size_t i = 0; i < zip->count; i++) {
        const char *name = zip->entries[i].name;
        if (strncmp(name, zip->root, length - 1) != 0 || name[length - 1] != '/')
            return bad_entry(r, name, "in another folder than the others");
        if (i > 0 && strcmp(zip->entries[i - 1].name, name) == 0)
            return bad_entry(r, name, "stands there twice");
    }
    return MM_OK;
}

mm_status mm_zip_read(mm_zip *zip, const mm_file *file, mm_arena *arena, mm_error *error)
{
    const reader r = {zip, file, arena, error};
    directory d = {0};
    *zip = (mm_zip){.file = file};
    MM_TRY(read_end(&r, &d));
    MM_TRY(read_directory(&r, &d));
    MM_TRY(check_layout(&r, &d));
    return check_names(&r);
}

const mm_zip_entry *mm_zip_find(const mm_zip *zip, const char *name)
{
    char path[MOST_NAME + 1];
    int length = snprintf(path, sizeof(path), "%s/%s", zip->root, name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return NULL;
    const mm_zip_entry wanted = {.name = path};
    return bsearch(&wanted, zip->entries, zip->count, sizeof(*zip->entries), compare_names);
}

mm_status mm_zip_read_entry(const mm_zip *zip, const mm_zip_entry *entry, size_t limit,
                            mm_arena *arena, char **out, mm_error *error)
{
    if (entry->bytes > limit)
        return mm_fail(error, MM_ERR_INPUT, "%s: entry \"%s\" has %llu bytes, at most %zu are read",
                       zip->file->path, entry->name, (unsigned long long)entry->bytes, limit);
    size_t bytes = (size_t)entry->bytes;
    *out = mm_arena_alloc(arena, bytes + 1);
    if (!*out)
        return mm_fail_memory(error, entry->name, bytes + 1);
    MM_TRY(mm_file_read(zip->file, entry->data, *out, bytes, error));
    if (crc32(crc32(0, NULL, 0), (const Bytef *)*out, (uInt)bytes) != entry->crc)
        return mm_fail(error, MM_ERR_INPUT, "%s: entry \"%s\" is damaged (wrong checksum)",
                       zip->file->path, entry->name);
    return MM_OK;
}

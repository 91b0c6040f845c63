/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ZIP container, checked whole when opened and more strictly than ZIP asks for: two readers
 * must never see different content in one file. Entries are stored (not compressed), lie one after
 * the other from the first byte to the central directory, and their local headers say what the
 * directory says.
 */
#ifndef MM_WEIGHTS_ZIP_H
#define MM_WEIGHTS_ZIP_H

#include "base/arena.h"
#include "base/file.h"

typedef struct mm_zip_entry {
    const char *name;
    uint64_t header, data, bytes; /* offsets in the file */
    uint32_t crc;
    uint16_t flags;
} mm_zip_entry;

/* Entries sorted by name; they live in the arena. */
typedef struct mm_zip {
    const mm_file *file;
    mm_zip_entry *entries;
    size_t count;
    const char *root; /* the one folder that all entries lie in */
} mm_zip;

/* MM_ERR_INPUT, MM_ERR_UNSUPPORTED (compressed), MM_ERR_MEMORY. */
mm_status mm_zip_read(mm_zip *zip, const mm_file *file, mm_arena *arena, mm_error *error);
/* The entry "<root>/<name>"; NULL when there is none. */
const mm_zip_entry *mm_zip_find(const mm_zip *zip, const char *name);
/* A whole entry of at most `limit` bytes, its checksum verified, with a final NUL. */
mm_status mm_zip_read_entry(const mm_zip *zip, const mm_zip_entry *entry, size_t limit,
                            mm_arena *arena, char **out, mm_error *error);

#endif

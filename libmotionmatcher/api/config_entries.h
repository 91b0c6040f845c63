/* SPDX-License-Identifier: BSD-2-Clause */
/* A config file, whatever its syntax, as a flat list of keys and texts. */
#ifndef MM_API_CONFIG_ENTRIES_H
#define MM_API_CONFIG_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

#define MM_CONFIG_LIMIT (4u << 20)

typedef struct mm_config_entry {
    char *key;    /* with its section: "train_data.width" */
    char *value;  /* NULL for null and for an empty list */
    bool item;    /* one of a list */
    bool section; /* the head of an object: it has no value of its own */
    int line;     /* from 1; 0 where unknown */
} mm_config_entry;

typedef struct mm_config_entries {
    const char *path;
    mm_arena arena;
    mm_config_entry *entry;
    size_t count, capacity;
} mm_config_entries;

/* Copies key and value. MM_ERR_INPUT: the key was there before, or there are too many. */
mm_status mm_config_add(mm_config_entries *entries, const mm_config_entry *entry, mm_error *error);
/* "<section>.<key>", or the key alone without a section. NULL without memory. */
char *mm_config_key(mm_config_entries *entries, const char *section, const char *key);
void mm_config_entries_free(mm_config_entries *entries);
/* Puts "<path>:<line>: " before the message. */
mm_status mm_config_locate(const mm_config_entries *entries, int line, mm_error *error);

mm_status mm_config_read_json(mm_config_entries *entries, const char *text, size_t bytes,
                              mm_error *error);
/* MM_ERR_UNSUPPORTED in a build without libyaml. */
mm_status mm_config_read_yaml(mm_config_entries *entries, const char *text, size_t bytes,
                              mm_error *error);

#endif

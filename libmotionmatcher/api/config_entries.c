/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/config_entries.h"

#include <string.h>

#include "api/option_table.h"
#include "base/memory.h"

#define MOST_ENTRIES 4096

mm_status mm_config_locate(const mm_config_entries *entries, int line, mm_error *error)
{
    if (line > 0)
        return mm_error_prefix(error, "%s:%d", entries->path, line);
    return mm_error_prefix(error, "%s", entries->path);
}

/* The items of one list stand next to each other, under one key. */
static bool continues_list(const mm_config_entries *entries, const mm_config_entry *entry)
{
    if (!entry->item || entries->count == 0)
        return false;
    const mm_config_entry *last = &entries->entry[entries->count - 1];
    return last->item && strcmp(last->key, entry->key) == 0;
}

static mm_status check_new(const mm_config_entries *entries, const mm_config_entry *entry,
                           mm_error *error)
{
    if (continues_list(entries, entry))
        return MM_OK;
    for (size_t i = 0; i < entries->count; i++) {
        if (!mm_option_names_equal(entries->entry[i].key, entry->key))
            continue;
        mm_fail(error, MM_ERR_INPUT, "the key '%s' stands twice", entry->key);
        return mm_config_locate(entries, entry->line, error);
    }
    return MM_OK;
}

static mm_status grow(mm_config_entries *entries, mm_error *error)
{
    size_t capacity = entries->capacity ? entries->capacity * 2 : 64;
    if (capacity > MOST_ENTRIES)
        return mm_fail(error, MM_ERR_INPUT, "%s: more than %d keys", entries->path, MOST_ENTRIES);
    mm_config_entry *grown = mm_realloc(entries->entry, capacity * sizeof(*grown));
    if (!grown)
        return mm_fail_memory(error, entries->path, capacity * sizeof(*grown));
    entries->entry = grown;
    entries->capacity = capacity;
    return MM_OK;
}

mm_status mm_config_add(mm_config_entries *entries, const mm_config_entry *entry, mm_error *error)
{
    MM_TRY(check_new(entries, entry, error));
    if (entries->count == entries->capacity)
        MM_TRY(grow(entries, error));
    mm_config_entry copy = *entry;
    copy.key = mm_arena_strdup(&entries->arena, entry->key);
    copy.value = entry->value ? mm_arena_strdup(&entries->arena, entry->value) : NULL;
    if (!copy.key || (entry->value && !copy.value))
        return mm_fail_memory(error, entries->path, 0);
    entries->entry[entries->count++] = copy;
    return MM_OK;
}

char *mm_config_key(mm_config_entries *entries, const char *section, const char *key)
{
    return section ? mm_arena_format(&entries->arena, "%s.%s", section, key)
                   : mm_arena_strdup(&entries->arena, key);
}

void mm_config_entries_free(mm_config_entries *entries)
{
    mm_arena_free(&entries->arena);
    mm_free(entries->entry);
    entries->entry = NULL;
    entries->count = entries->capacity = 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* From a config file to options. */
#include <string.h>

#include "api/config_entries.h"
#include "api/options_state.h"
#include "api/reference_keys.h"
#include "base/file.h"
#include "base/memory.h"

/* The name's ending decides, else the first character. */
static bool is_json(const char *path, const char *text)
{
    if (mm_path_ends_with(path, ".json"))
        return true;
    if (mm_path_ends_with(path, ".yaml") || mm_path_ends_with(path, ".yml"))
        return false;
    return text[strspn(text, " \t\r\n")] == '{';
}

static mm_status read_entries(mm_config_entries *entries, mm_error *error)
{
    char *text;
    size_t bytes;
    MM_TRY(mm_file_read_all(entries->path, MM_CONFIG_LIMIT, &text, &bytes, error));
    mm_status status = is_json(entries->path, text)
                           ? mm_config_read_json(entries, text, bytes, error)
                           : mm_config_read_yaml(entries, text, bytes, error);
    mm_free(text);
    return status;
}

typedef struct loading {
    mm_options *options, *other;
    const mm_config_entries *entries;
} loading;

/* The options that an entry's key belongs to; NULL for an unknown key. */
static mm_options *owner(const loading *l, const char *key)
{
    if (mm_options_knows(l->options, key))
        return l->options;
    return l->other && mm_options_knows(l->other, key) ? l->other : NULL;
}

/* Settings of the machine may stand in any config; who asks for no context has no use for them. */
static bool is_for_absent_context(const loading *l, const char *key)
{
    return !l->other && (mm_option_table_row(&mm_context_table, key) ||
                         mm_reference_key_find(&mm_context_table, key));
}

/* Why a known key with a proper value is left out; NULL when it is not. */
static const char *reason_to_skip(const loading *l, const mm_options *target, const char *key)
{
    const mm_reference_key *reference = mm_reference_key_find(target->table, key);
    if (!reference || reference->kind != MM_REFERENCE_WARMUP)
        return NULL;
    for (size_t i = 0; i < l->entries->count; i++) {
        const mm_config_entry *entry = &l->entries->entry[i];
        if (strcmp(entry->key, "lr_scheduler") == 0 && entry->value &&
            strcmp(entry->value, MM_WARMUP_SCHEDULER) == 0)
            return NULL;
    }
    return "lr_scheduler is not " MM_WARMUP_SCHEDULER;
}

static mm_status apply_value(const loading *l, mm_options *target, size_t index, mm_error *error)
{
    const mm_config_entry *entry = &l->entries->entry[index];
    const mm_option_row *row = mm_options_row(target, entry->key);
    bool first = index == 0 || strcmp(entry[-1].key, entry->key) != 0;
    if (entry->item && row && row->type != MM_OPTION_LIST)
        return mm_fail(error, MM_ERR_USAGE, "'%s' takes one value, not a list", entry->key);
    if (first)
        mm_options_restart_list(target, entry->key, MM_SOURCE_FILE);
    const char *reason = reason_to_skip(l, target, entry->key);
    if (reason && entry->value && strcmp(entry->value, "0") != 0)
        return mm_options_notice(target, entry->key, reason, error);
    return reason
               ? MM_OK
               : mm_options_assign_or_null(target, entry->key, entry->value, MM_SOURCE_FILE, error);
}

static mm_status apply_entry(const loading *l, size_t index, mm_error *error)
{
    const mm_config_entry *entry = &l->entries->entry[index];
    mm_options *target = owner(l, entry->key);
    if (target && entry->section)
        return mm_fail(error, MM_ERR_USAGE, "'%s' takes a value, not a section", entry->key);
    if (target)
        return apply_value(l, target, index, error);
    if (is_for_absent_context(l, entry->key))
        return MM_OK;
    bool known_section = mm_reference_section_known(l->options->table, entry->key);
    if (known_section && (entry->section || !entry->value))
        return MM_OK;
    return known_section
               ? mm_fail(error, MM_ERR_USAGE, "'%s' is a section, it takes no value", entry->key)
               : mm_options_fail_unknown(l->options, l->other, entry->key, error);
}

/* sample_preview: false overrides validation_steps, wherever in the file the two stand. */
static bool comes_last(const loading *l, const char *key)
{
    const mm_reference_key *reference = mm_reference_key_find(l->options->table, key);
    return reference && reference->kind == MM_REFERENCE_PREVIEW;
}

static mm_status apply_entries(const loading *l, mm_error *error)
{
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < l->entries->count; i++) {
            const mm_config_entry *entry = &l->entries->entry[i];
            if (comes_last(l, entry->key) != (last == 1))
                continue;
            mm_status status = apply_entry(l, i, error);
            if (status != MM_OK)
                return mm_config_locate(l->entries, entry->line, error);
        }
    }
    return MM_OK;
}

mm_status mm_options_load_file(mm_options *options, mm_options *other, const char *path,
                               mm_error *error)
{
    mm_config_entries entries = {.path = path};
    const loading l = {options, other, &entries};
    mm_options_clear_notices(options);
    if (other)
        mm_options_clear_notices(other);
    mm_status status = read_entries(&entries, error);
    if (status == MM_OK)
        status = apply_entries(&l, error);
    mm_config_entries_free(&entries);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "api/config_entries.h"
#include "base/json.h"
#include "base/number.h"

static mm_status fail_value(const mm_config_entries *entries, const char *key, const char *what,
                            mm_error *error)
{
    return mm_fail(error, MM_ERR_USAGE, "%s: '%s' %s", entries->path, key, what);
}

/* A text or number as a text; false for anything else. */
static bool scalar_text(const mm_json *value, char *buffer, size_t size, const char **out)
{
    double number;
    int64_t whole;
    *out = mm_json_text(value);
    if (*out)
        return true;
    if (mm_json_whole(value, &whole))
        *out = mm_int_text(whole, buffer, size);
    else if (mm_json_number(value, &number))
        *out = mm_double_text(number, buffer, size);
    return *out != NULL;
}

static mm_status add_list(mm_config_entries *entries, char *key, const mm_json *list,
                          mm_error *error)
{
    mm_config_entry entry = {.key = key};
    if (mm_json_count(list) == 0)
        return mm_config_add(entries, &entry, error);
    entry.item = true;
    for (const mm_json *item = mm_json_first(list); item; item = mm_json_next(item)) {
        char buffer[MM_DOUBLE_TEXT];
        const char *text;
        if (!scalar_text(item, buffer, sizeof(buffer), &text))
            return fail_value(entries, key, "must be a list of texts or numbers", error);
        entry.value = (char *)(uintptr_t)text;
        MM_TRY(mm_config_add(entries, &entry, error));
    }
    return MM_OK;
}

static mm_status add_member(mm_config_entries *entries, const mm_json_document *document,
                            const mm_json *object, const mm_json *member, char *key,
                            mm_error *error)
{
    char buffer[MM_DOUBLE_TEXT];
    const char *text = NULL;
    bool flag;
    if (mm_json_is_array(member))
        return add_list(entries, key, member, error);
    if (mm_json_is_bool(member)) {
        MM_TRY(mm_json_get_bool(document, object, mm_json_key(member), false, &flag, error));
        text = flag ? "true" : "false";
    } else {
        scalar_text(member, buffer, sizeof(buffer), &text);
    }
    const mm_config_entry entry = {.key = key, .value = (char *)(uintptr_t)text};
    return mm_config_add(entries, &entry, error);
}

static mm_status add_object(mm_config_entries *entries, const mm_json_document *document,
                            const mm_json *object, const char *section, mm_error *error)
{
    for (const mm_json *member = mm_json_first(object); member; member = mm_json_next(member)) {
        char *key = mm_config_key(entries, section, mm_json_key(member));
        if (!key)
            return mm_fail_memory(error, entries->path, 0);
        if (!mm_json_is_object(member)) {
            MM_TRY(add_member(entries, document, object, member, key, error));
            continue;
        }
        const mm_config_entry head = {.key = key, .section = true};
        MM_TRY(mm_config_add(entries, &head, error));
        MM_TRY(add_object(entries, document, member, key, error));
    }
    return MM_OK;
}

mm_status mm_config_read_json(mm_config_entries *entries, const char *text, size_t bytes,
                              mm_error *error)
{
    mm_json_document document;
    MM_TRY(mm_json_parse(&document, entries->path, text, bytes, error));
    mm_status status =
        mm_json_is_object(document.root)
            ? add_object(entries, &document, document.root, NULL, error)
            : mm_fail(error, MM_ERR_INPUT, "%s: a config must be a JSON object", entries->path);
    mm_json_free(&document);
    return status;
}

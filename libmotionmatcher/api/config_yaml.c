/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of YAML that configs need: mappings, lists and scalars. Anchors, aliases, tags and
   further documents are refused. */
#include "api/config_entries.h"
#include "config.h"

#if MM_HAVE_YAML

#include <string.h>
#include <yaml.h>

#include "base/json.h"

#define MOST_DEPTH 8

typedef struct reader {
    mm_config_entries *entries;
    yaml_parser_t parser;
    yaml_event_t event; /* the present one */
    bool have_event;
    int depth;
    mm_error *error;
} reader;

static int line_of(const reader *r)
{
    return (int)r->event.start_mark.line + 1;
}

static mm_status fail_here(reader *r, const char *what)
{
    mm_fail(r->error, MM_ERR_INPUT, "%s", what);
    return mm_config_locate(r->entries, line_of(r), r->error);
}

static mm_status fail_syntax(reader *r)
{
    if (r->parser.error == YAML_MEMORY_ERROR)
        return mm_fail_memory(r->error, r->entries->path, 0);
    mm_fail(r->error, MM_ERR_INPUT, "no valid YAML: %s",
            r->parser.problem ? r->parser.problem : "unknown syntax");
    return mm_config_locate(r->entries, (int)r->parser.problem_mark.line + 1, r->error);
}

static void drop_event(reader *r)
{
    if (r->have_event)
        yaml_event_delete(&r->event);
    r->have_event = false;
}

/* What YAML can do beyond plain data is refused here, for every event. */
static mm_status check_event(reader *r)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return fail_here(r, "YAML aliases are not read");
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return fail_here(r, "YAML anchors are not read");
    return tag ? fail_here(r, "YAML tags are not read") : MM_OK;
}

static mm_status next_event(reader *r)
{
    drop_event(r);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r);
    r->have_event = true;
    return check_event(r);
}

static bool is_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

/* The present event's text, NULL for a null; it lives until the next event. */
static mm_status scalar_text(reader *r, char **out)
{
    char *text = (char *)r->event.data.scalar.value;
    if (strlen(text) != r->event.data.scalar.length)
        return fail_here(r, "a text must not hold a NUL character");
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    *out = plain && is_null(text) ? NULL : text;
    return MM_OK;
}

static mm_status fail_item(reader *r)
{
    mm_fail(r->error, MM_ERR_USAGE, "a list may hold texts and numbers alone");
    return mm_config_locate(r->entries, line_of(r), r->error);
}

static mm_status read_list(reader *r, char *key)
{
    mm_config_entry entry = {.key = key, .item = true, .line = line_of(r)};
    bool empty = true;
    for (;; empty = false) {
        MM_TRY(next_event(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        entry.line = line_of(r);
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_item(r);
        MM_TRY(scalar_text(r, &entry.value));
        if (!entry.value)
            return fail_item(r);
        MM_TRY(mm_config_add(r->entries, &entry, r->error));
    }
    if (!empty)
        return MM_OK;
    entry.item = false;
    return mm_config_add(r->entries, &entry, r->error);
}

static mm_status read_mapping(reader *r, const char *section);

static mm_status read_value(reader *r, char *key)
{
    mm_config_entry entry = {.key = key, .line = line_of(r)};
    MM_TRY(next_event(r));
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        MM_TRY(scalar_text(r, &entry.value));
        return mm_config_add(r->entries, &entry, r->error);
    case YAML_SEQUENCE_START_EVENT:
        return read_list(r, key);
    case YAML_MAPPING_START_EVENT:
        entry.section = true;
        MM_TRY(mm_config_add(r->entries, &entry, r->error));
        return read_mapping(r, key);
    default:
        return fail_here(r, "a value is expected");
    }
}

static mm_status read_mapping(reader *r, const char *section)
{
    if (++r->depth > MOST_DEPTH)
        return fail_here(r, "nested too deeply");
    for (;;) {
        char *text = NULL;
        MM_TRY(next_event(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_here(r, "a key must be a text");
        MM_TRY(scalar_text(r, &text));
        if (!text)
            return fail_here(r, "a key must be a text");
        char *key = mm_config_key(r->entries, section, text);
        if (!key)
            return mm_fail_memory(r->error, r->entries->path, 0);
        MM_TRY(read_value(r, key));
    }
    r->depth--;
    return MM_OK;
}

static mm_status read_stream(reader *r)
{
    do
        MM_TRY(next_event(r));
    while (r->event.type == YAML_STREAM_START_EVENT || r->event.type == YAML_DOCUMENT_START_EVENT);
    if (r->event.type == YAML_STREAM_END_EVENT)
        return MM_OK;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(r, "a config must be a mapping of keys to values");
    MM_TRY(read_mapping(r, NULL));
    do
        MM_TRY(next_event(r));
    while (r->event.type == YAML_DOCUMENT_END_EVENT);
    return r->event.type == YAML_STREAM_END_EVENT
               ? MM_OK
               : fail_here(r, "a config is a single YAML document");
}

mm_status mm_config_read_yaml(mm_config_entries *entries, const char *text, size_t bytes,
                              mm_error *error)
{
    reader r = {.entries = entries, .error = error};
    if (!mm_utf8_valid(text, bytes))
        return mm_fail(error, MM_ERR_INPUT, "%s: not UTF-8 text", entries->path);
    if (!yaml_parser_initialize(&r.parser))
        return mm_fail_memory(error, entries->path, bytes);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    mm_status status = read_stream(&r);
    drop_event(&r);
    yaml_parser_delete(&r.parser);
    return status;
}

#else

mm_status mm_config_read_yaml(mm_config_entries *entries, const char *text, size_t bytes,
                              mm_error *error)
{
    (void)text;
    (void)bytes;
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: this build of the library reads no YAML; write the config as JSON",
                   entries->path);
}

#endif

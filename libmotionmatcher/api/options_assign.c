/* SPDX-License-Identifier: BSD-2-Clause */
/* Setting one option by any of its names: the table's own, or the released code's. */
#include <string.h>

#include "api/options_state.h"
#include "api/reference_keys.h"
#include "base/json.h"
#include "base/memory.h"

static const mm_reference_key *reference_key(const mm_options *options, const char *key)
{
    return mm_reference_key_find(options->table, key);
}

const mm_option_row *mm_options_row(const mm_options *options, const char *key)
{
    const mm_option_row *row = mm_option_table_row(options->table, key);
    const mm_reference_key *reference = row ? NULL : reference_key(options, key);
    bool alias = reference &&
                 (reference->kind == MM_REFERENCE_ALIAS || reference->kind == MM_REFERENCE_WARMUP);
    return alias ? mm_option_table_row(options->table, reference->argument) : row;
}

bool mm_options_knows(const mm_options *options, const char *key)
{
    return mm_option_table_row(options->table, key) || reference_key(options, key);
}

static void offer_table(const mm_option_table *table, mm_nearest *nearest)
{
    for (size_t i = 0; i < table->count; i++)
        mm_nearest_offer(nearest, table->rows[i].name);
    mm_reference_key_offer(table, nearest);
}

mm_status mm_options_fail_unknown(const mm_options *options, const mm_options *other,
                                  const char *key, mm_error *error)
{
    mm_nearest nearest;
    if (!mm_utf8_valid(key, strlen(key)))
        return mm_fail(error, MM_ERR_USAGE, "an option's name is not UTF-8 text");
    mm_nearest_begin(&nearest, key);
    offer_table(options->table, &nearest);
    if (other)
        offer_table(other->table, &nearest);
    if (nearest.best)
        return mm_fail(error, MM_ERR_USAGE, "unknown option '%s'; did you mean '%s'?", key,
                       nearest.best);
    return mm_fail(error, MM_ERR_USAGE, "unknown option '%s'", key);
}

void mm_options_clear_notices(mm_options *options)
{
    mm_free(options->notices);
    mm_free(options->speed_keys);
    mm_free(options->all_notices);
    options->notices = options->speed_keys = options->all_notices = NULL;
}

/* Replaces *text by the format's result; false without memory. */
static bool replace(char **text, char *fresh)
{
    if (!fresh)
        return false;
    mm_free(*text);
    *text = fresh;
    return true;
}

static mm_status join_notices(mm_options *options, mm_error *error)
{
    const char *notices = options->notices ? options->notices : "";
    char *all = options->speed_keys ? mm_format("%s%signored, about speed alone: %s", notices,
                                                *notices ? "\n" : "", options->speed_keys)
                                    : mm_strdup(notices);
    return replace(&options->all_notices, all) ? MM_OK : mm_fail_memory(error, "notices", 0);
}

mm_status mm_options_notice(mm_options *options, const char *key, const char *why, mm_error *error)
{
    const char *old = options->notices ? options->notices : "";
    char *longer = mm_format("%s%s%s has no effect: %s", old, *old ? "\n" : "", key, why);
    if (!replace(&options->notices, longer))
        return mm_fail_memory(error, "notices", 0);
    return join_notices(options, error);
}

static mm_status notice_speed_key(mm_options *options, const char *key, mm_error *error)
{
    const char *old = options->speed_keys;
    char *longer = old ? mm_format("%s, %s", old, key) : mm_strdup(key);
    if (!replace(&options->speed_keys, longer))
        return mm_fail_memory(error, "notices", 0);
    return join_notices(options, error);
}

static mm_status assign_row(mm_options *options, const mm_option_row *row, const char *text,
                            int32_t source, mm_error *error)
{
    mm_option_state *state = mm_options_state(options, row);
    void *value = mm_options_value(options, row);
    mm_text_list old = {0};
    if (source < state->source) {
        /* It yields, but must make sense all the same. */
        union {
            bool flag;
            int64_t integer;
            double real;
            char *text;
            mm_text_list list;
        } scratch = {0};
        mm_status status = mm_option_value_parse(row, &scratch, text, error);
        if (row->type == MM_OPTION_TEXT || row->type == MM_OPTION_LIST)
            mm_option_value_clear(row, &scratch);
        return status;
    }
    if (row->type == MM_OPTION_LIST && source > state->source) {
        old = *(mm_text_list *)value;
        *(mm_text_list *)value = (mm_text_list){0};
    }
    mm_status status = mm_option_value_parse(row, value, text, error);
    if (status != MM_OK) {
        if (old.count > 0)
            *(mm_text_list *)value = old;
        return status;
    }
    if (old.count > 0)
        mm_option_value_clear(row, &old);
    mm_free(state->text);
    state->text = NULL;
    state->source = source;
    return MM_OK;
}

void mm_options_restart_list(mm_options *options, const char *key, int32_t source)
{
    const mm_option_row *row = mm_options_row(options, key);
    if (row && row->type == MM_OPTION_LIST && mm_options_state(options, row)->source == source)
        mm_option_value_clear(row, mm_options_value(options, row));
}

static mm_status parse_flag(const char *key, const char *value, bool *out, mm_error *error)
{
    const mm_option_row row = {.type = MM_OPTION_FLAG, .name = key};
    return mm_option_value_parse(&row, out, value, error);
}

static bool is_word(const char *words, const char *text)
{
    size_t length = strlen(text);
    for (const char *word = words;; word += strcspn(word, "|") + 1) {
        size_t size = strcspn(word, "|");
        if (size == length && memcmp(word, text, size) == 0)
            return true;
        if (!word[size])
            return false;
    }
}

static mm_status fail_unsupported(const char *key, const char *value, mm_error *error)
{
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: '%s' would change the result and is not supported", key, value);
}

static mm_status expect_flag(const char *key, const char *value, bool wanted, mm_error *error)
{
    bool flag = wanted;
    MM_TRY(parse_flag(key, value, &flag, error));
    return flag == wanted ? MM_OK : fail_unsupported(key, value, error);
}

static mm_status assign_preview(mm_options *options, const mm_reference_key *reference,
                                const char *value, int32_t source, mm_error *error)
{
    bool preview;
    MM_TRY(parse_flag(reference->key, value, &preview, error));
    if (preview)
        return MM_OK;
    return assign_row(options, mm_option_table_row(options->table, reference->argument), "0",
                      source, error);
}

static mm_status assign_no_effect(mm_options *options, const mm_reference_key *reference,
                                  const char *value, mm_error *error)
{
    double number;
    bool as_in_effect = strcmp(reference->key, "validation_data.lora_scale") == 0 &&
                        mm_parse_double(value, &number) && number == 1;
    return as_in_effect ? MM_OK
                        : mm_options_notice(options, reference->key, reference->argument, error);
}

static mm_status assign_reference(mm_options *options, const mm_reference_key *reference,
                                  const char *value, int32_t source, mm_error *error)
{
    const char *key = reference->key;
    switch (reference->kind) {
    case MM_REFERENCE_ALIAS:
    case MM_REFERENCE_WARMUP:
        return assign_row(options, mm_option_table_row(options->table, reference->argument), value,
                          source, error);
    case MM_REFERENCE_PREVIEW:
        return assign_preview(options, reference, value, source, error);
    case MM_REFERENCE_PRECISION:
        if (!is_word(reference->argument, value))
            return mm_fail(error, MM_ERR_USAGE, "%s: '%s' is none of %s", key, value,
                           reference->argument);
        return assign_row(options, mm_option_table_row(options->table, "precision"), "auto", source,
                          error);
    case MM_REFERENCE_SPEED:
        return notice_speed_key(options, key, error);
    case MM_REFERENCE_NO_EFFECT:
        return assign_no_effect(options, reference, value, error);
    case MM_REFERENCE_EXPECT_FALSE:
        return expect_flag(key, value, false, error);
    case MM_REFERENCE_EXPECT_TRUE:
        return expect_flag(key, value, true, error);
    case MM_REFERENCE_EXPECT_NOTHING:
        return *value ? fail_unsupported(key, value, error) : MM_OK;
    case MM_REFERENCE_EXPECT_WORD:
        return is_word(reference->argument, value) ? MM_OK : fail_unsupported(key, value, error);
    }
    return MM_OK;
}

mm_status mm_options_assign_or_null(mm_options *options, const char *key, const char *value,
                                    int32_t source, mm_error *error)
{
    const mm_option_row *row = mm_option_table_row(options->table, key);
    const mm_reference_key *reference = row ? NULL : reference_key(options, key);
    if (!row && !reference)
        return mm_options_fail_unknown(options, NULL, key, error);
    if (!value)
        return MM_OK;
    if (!mm_utf8_valid(value, strlen(value)))
        return mm_fail(error, MM_ERR_USAGE, "option %s: the value is not UTF-8 text", key);
    return row ? assign_row(options, row, value, source, error)
               : assign_reference(options, reference, value, source, error);
}

mm_status mm_options_assign(mm_options *options, const char *key, const char *value, int32_t source,
                            mm_error *error)
{
    return mm_options_assign_or_null(options, key, value, source, error);
}

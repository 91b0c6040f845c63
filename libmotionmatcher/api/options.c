/* SPDX-License-Identifier: BSD-2-Clause */
#include "motionmatcher/options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/options_state.h"
#include "api/reference_keys.h"
#include "api/status_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

void *mm_options_value(const mm_options *options, const mm_option_row *row)
{
    return (char *)options->config + row->offset;
}

mm_option_state *mm_options_state(const mm_options *options, const mm_option_row *row)
{
    return &options->state[row - options->table->rows];
}

const mm_context_config *mm_options_context(const mm_options *options)
{
    return options->table == &mm_context_table ? options->config : NULL;
}

const mm_train_config *mm_options_train(const mm_options *options)
{
    return options->table == &mm_train_table ? options->config : NULL;
}

const mm_sample_config *mm_options_sample(const mm_options *options)
{
    return options->table == &mm_sample_table ? options->config : NULL;
}

const mm_feature_config *mm_options_features(const mm_options *options)
{
    return options->table == &mm_feature_table ? options->config : NULL;
}

const mm_evaluate_config *mm_options_evaluate(const mm_options *options)
{
    return options->table == &mm_evaluate_table ? options->config : NULL;
}

const mm_retrieve_config *mm_options_retrieve(const mm_options *options)
{
    return options->table == &mm_retrieve_table ? options->config : NULL;
}

static mm_status set_defaults(mm_options *options, mm_error *error)
{
    for (size_t i = 0; i < options->table->count; i++) {
        const mm_option_row *row = &options->table->rows[i];
        void *value = mm_options_value(options, row);
        mm_option_value_clear(row, value);
        if (*row->fallback)
            MM_TRY(mm_option_value_parse(row, value, row->fallback, error));
    }
    return MM_OK;
}

static mm_status make(mm_options **out, const mm_option_table *table, mm_error *error)
{
    mm_options *options = mm_calloc(1, sizeof(*options));
    *out = NULL;
    if (!options)
        return mm_fail_memory(error, "options", sizeof(*options));
    options->table = table;
    options->config = mm_calloc(1, table->config_bytes);
    options->state = mm_calloc(table->count, sizeof(*options->state));
    mm_status status = options->config && options->state
                           ? set_defaults(options, error)
                           : mm_fail_memory(error, "options", table->config_bytes);
    if (status != MM_OK)
        mm_options_free(&options);
    *out = options;
    return status;
}

mm_status mm_options_make(mm_options **out, const char *table, mm_error *error)
{
    const mm_option_table *found = mm_option_table_find(table);
    *out = NULL;
    if (!found)
        return mm_fail(
            error, MM_ERR_USAGE,
            "there is no table of options '%s'; there are context, train, sample, features, "
            "evaluate, retrieve",
            table);
    return make(out, found, error);
}

void mm_options_free(mm_options **pointer)
{
    mm_options *options = pointer ? *pointer : NULL;
    if (!options)
        return;
    for (size_t i = 0; i < options->table->count && options->config && options->state; i++) {
        const mm_option_row *row = &options->table->rows[i];
        mm_option_value_clear(row, mm_options_value(options, row));
        mm_free(options->state[i].text);
    }
    mm_options_clear_notices(options);
    mm_free(options->state);
    mm_free(options->config);
    mm_free(options);
    *pointer = NULL;
}

mm_status mm_options_copy(mm_options **out, const mm_options *options, mm_error *error)
{
    MM_TRY(make(out, options->table, error));
    mm_status status = MM_OK;
    for (size_t i = 0; i < options->table->count && status == MM_OK; i++) {
        const mm_option_row *row = &options->table->rows[i];
        status = mm_option_value_copy(row, mm_options_value(*out, row),
                                      mm_options_value(options, row), error);
        (*out)->state[i].source = options->state[i].source;
    }
    if (status != MM_OK)
        mm_options_free(out);
    return status;
}

mm_status mm_options_inherit(mm_options *options, const mm_options *from, int32_t source,
                             mm_error *error)
{
    for (size_t i = 0; i < options->table->count; i++) {
        const mm_option_row *row = &options->table->rows[i];
        if (options->state[i].source > MM_SOURCE_DEFAULT ||
            from->state[i].source == MM_SOURCE_DEFAULT)
            continue;
        MM_TRY(mm_option_value_copy(row, mm_options_value(options, row),
                                    mm_options_value(from, row), error));
        options->state[i].source = source;
    }
    return MM_OK;
}

/* A list as "a, b"; "nothing" for no value. */
static char *describe_value(const mm_option_row *row, const void *value)
{
    size_t count = mm_option_value_count(row, value);
    char *all = count == 0 ? mm_strdup("nothing") : mm_option_value_text(row, value, 0);
    for (size_t i = 1; i < count && all; i++) {
        char *item = mm_option_value_text(row, value, i);
        char *longer = item ? mm_format("%s, %s", all, item) : NULL;
        mm_free(item);
        mm_free(all);
        all = longer;
    }
    return all;
}

static mm_status check_row_agrees(const mm_option_row *row, const void *given, const void *stored,
                                  mm_error *error)
{
    char *a = describe_value(row, given), *b = describe_value(row, stored);
    mm_status status = MM_OK;
    if (!a || !b)
        status = mm_fail_memory(error, row->name, 0);
    else if (strcmp(a, b) != 0)
        status =
            mm_fail(error, MM_ERR_USAGE, "option %s is %s, but the run has %s", row->name, a, b);
    mm_free(a);
    mm_free(b);
    return status;
}

static bool is_listed(const char *const *names, const char *name)
{
    for (; names && *names; names++) {
        if (mm_option_names_equal(*names, name))
            return true;
    }
    return false;
}

mm_status mm_options_check_agree(mm_options *given, mm_options *stored, const char *const *except,
                                 mm_error *error)
{
    for (size_t i = 0; i < given->table->count; i++) {
        const mm_option_row *row = &given->table->rows[i];
        if (given->state[i].source > MM_SOURCE_DEFAULT && !is_listed(except, row->name))
            MM_TRY(check_row_agrees(row, mm_options_value(given, row),
                                    mm_options_value(stored, row), error));
    }
    return MM_OK;
}

mm_status mm_options_create(mm_options **out, const char *table)
{
    if (out)
        *out = NULL;
    mm_error error = {0};
    if (!out || !table)
        return mm_api_misuse("mm_options_create", "out and table must not be NULL");
    return mm_api_return(mm_options_make(out, table, &error), &error);
}

mm_status mm_options_set(mm_options *options, const char *key, const char *value, int32_t source)
{
    mm_error error = {0};
    if (!options || !key || !value)
        return mm_api_misuse("mm_options_set", "options, key and value must not be NULL");
    if (source < MM_SOURCE_DEFAULT || source > MM_SOURCE_COMMAND_LINE)
        return mm_api_misuse("mm_options_set", "source must be one of MM_SOURCE_...");
    return mm_api_return(mm_options_assign(options, key, value, source, &error), &error);
}

mm_status mm_options_get(mm_options *options, const char *key, size_t index, const char **out)
{
    if (out)
        *out = NULL;
    mm_error error = {0};
    if (!options || !key || !out)
        return mm_api_misuse("mm_options_get", "options, key and out must not be NULL");
    const mm_option_row *row = mm_options_row(options, key);
    if (!row && mm_options_knows(options, key))
        return MM_OK;
    if (!row)
        return mm_api_return(mm_options_fail_unknown(options, NULL, key, &error), &error);
    const void *value = mm_options_value(options, row);
    if (index >= mm_option_value_count(row, value))
        return MM_OK;
    if (row->type == MM_OPTION_LIST || row->type == MM_OPTION_TEXT) {
        *out = row->type == MM_OPTION_TEXT ? *(char *const *)value
                                           : ((const mm_text_list *)value)->item[index];
        return MM_OK;
    }
    mm_option_state *state = mm_options_state(options, row);
    if (!state->text)
        state->text = mm_option_value_text(row, value, 0);
    *out = state->text;
    return mm_api_return(*out ? MM_OK : mm_fail_memory(&error, row->name, 0), &error);
}

int32_t mm_options_source(const mm_options *options, const char *key)
{
    if (!options || !key)
        return -1;
    const mm_option_row *row = mm_options_row(options, key);
    if (row)
        return mm_options_state(options, row)->source;
    return mm_options_knows(options, key) ? MM_SOURCE_DEFAULT : -1;
}

mm_status mm_options_load(mm_options *options, mm_options *other, const char *path)
{
    mm_error error = {0};
    if (!options || !path)
        return mm_api_misuse("mm_options_load", "options and path must not be NULL");
    return mm_api_return(mm_options_load_file(options, other, path, &error), &error);
}

const char *mm_options_notices(const mm_options *options)
{
    return options && options->all_notices ? options->all_notices : "";
}

static void put_list(mm_json_writer *writer, const char *name, const mm_text_list *list)
{
    mm_json_begin(writer, name, '[');
    for (size_t i = 0; i < list->count; i++)
        mm_json_put_string(writer, NULL, list->item[i]);
    mm_json_end(writer, ']');
}

static bool put_value(mm_json_writer *writer, const mm_option_row *row, const void *value)
{
    char *text = NULL;
    if (row->type != MM_OPTION_LIST && mm_option_value_count(row, value) == 0) {
        mm_json_put_null(writer, row->name);
        return true;
    }
    switch (row->type) {
    case MM_OPTION_FLAG:
        mm_json_put_bool(writer, row->name, *(const bool *)value);
        return true;
    case MM_OPTION_INTEGER:
    case MM_OPTION_OPTIONAL_INTEGER:
        mm_json_put_int(writer, row->name, *(const int64_t *)value);
        return true;
    case MM_OPTION_SIZE:
        mm_json_put_int(writer, row->name, (int64_t) * (const uint64_t *)value);
        return true;
    case MM_OPTION_REAL:
    case MM_OPTION_OPTIONAL_REAL:
        mm_json_put_double(writer, row->name, *(const double *)value);
        return true;
    case MM_OPTION_LIST:
        put_list(writer, row->name, value);
        return true;
    case MM_OPTION_TEXT:
    case MM_OPTION_CHOICE:
        text = mm_option_value_text(row, value, 0);
        if (text)
            mm_json_put_string(writer, row->name, text);
        mm_free(text);
        return text != NULL;
    }
    return false;
}

/* precision: the context's, NULL for none. */
static mm_status to_json(mm_options *options, const char *precision, char **out, mm_error *error)
{
    mm_json_writer writer = {.pretty = true};
    bool good = true;
    mm_json_begin(&writer, NULL, '{');
    for (size_t i = 0; i < options->table->count && good; i++) {
        const mm_option_row *row = &options->table->rows[i];
        good = put_value(&writer, row, mm_options_value(options, row));
    }
    if (precision)
        mm_json_put_string(&writer, "precision", precision);
    mm_json_end(&writer, '}');
    if (!good || writer.failed) {
        mm_free(writer.text);
        return mm_fail_memory(error, "the options as JSON", 0);
    }
    *out = writer.text;
    return MM_OK;
}

mm_status mm_options_to_json(mm_options *options, char **out)
{
    if (out)
        *out = NULL;
    mm_error error = {0};
    if (!options || !out)
        return mm_api_misuse("mm_options_to_json", "options and out must not be NULL");
    return mm_api_return(to_json(options, NULL, out, &error), &error);
}

mm_status mm_options_write(mm_options *options, const char *precision, const char *path,
                           mm_error *error)
{
    char *json = NULL;
    MM_TRY(to_json(options, precision, &json, error));
    char *line = mm_format("%s\n", json);
    mm_status status = line ? mm_output_file_write_all(path, line, strlen(line), error)
                            : mm_fail_memory(error, "the options as JSON", strlen(json));
    mm_free(line);
    mm_free(json);
    return status;
}

void mm_options_clear(mm_options *options, const char *key)
{
    const mm_option_row *row = mm_options_row(options, key);
    mm_option_state *state = mm_options_state(options, row);
    mm_option_value_clear(row, mm_options_value(options, row));
    mm_free(state->text);
    *state = (mm_option_state){0};
}

mm_status mm_options_make_absolute(mm_options *options, const char *key, mm_error *error)
{
    const mm_option_row *row = mm_options_row(options, key);
    const char *path = *(char *const *)mm_options_value(options, row);
    char *absolute = path ? realpath(path, NULL) : NULL;
    if (!absolute)
        return MM_OK;
    mm_status status = mm_options_assign(options, key, absolute, MM_SOURCE_COMMAND_LINE, error);
    free(absolute);
    return status;
}

void mm_string_free(char *text)
{
    mm_free(text);
}

size_t mm_option_count(const char *table)
{
    const mm_option_table *found = table ? mm_option_table_find(table) : NULL;
    return found ? found->count : 0;
}

static const char *type_name(mm_option_type type)
{
    switch (type) {
    case MM_OPTION_FLAG:
        return "flag";
    case MM_OPTION_INTEGER:
    case MM_OPTION_OPTIONAL_INTEGER:
        return "integer";
    case MM_OPTION_REAL:
    case MM_OPTION_OPTIONAL_REAL:
        return "real";
    case MM_OPTION_SIZE:
        return "size";
    case MM_OPTION_TEXT:
        return "text";
    case MM_OPTION_CHOICE:
        return "choice";
    case MM_OPTION_LIST:
        return "list";
    }
    return "text";
}

mm_status mm_option_describe(const char *table, size_t index, mm_option_info *info)
{
    const mm_option_table *found = table ? mm_option_table_find(table) : NULL;
    if (!found || !info || index >= found->count)
        return mm_api_misuse("mm_option_describe", "no such table or option");
    if (info->struct_size < sizeof(*info))
        return mm_api_misuse("mm_option_describe", "info->struct_size is not set, or too small");
    const mm_option_row *row = &found->rows[index];
    info->repeatable = row->type == MM_OPTION_LIST;
    info->name = row->name;
    info->type = type_name(row->type);
    info->fallback = row->fallback;
    info->unit = row->unit;
    info->help = row->help;
    info->low = row->low;
    info->high = row->high;
    return MM_OK;
}

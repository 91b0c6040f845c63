/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "api/option_table.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/number.h"

#define NUMBER_TEXT 64

static mm_status fail_value(const mm_option_row *row, const char *text, const char *wanted,
                            mm_error *error)
{
    return mm_fail(error, MM_ERR_USAGE, "option %s: '%s' is not %s", row->name, text, wanted);
}

static mm_status check_range(const mm_option_row *row, double number, const char *text,
                             mm_error *error)
{
    char low[MM_DOUBLE_TEXT], high[MM_DOUBLE_TEXT];
    if (number >= row->low && number <= row->high)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE, "option %s: '%s' is outside %s..%s", row->name, text,
                   mm_double_text(row->low, low, sizeof(low)),
                   mm_double_text(row->high, high, sizeof(high)));
}

static mm_status parse_flag(const mm_option_row *row, bool *value, const char *text,
                            mm_error *error)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return MM_OK;
        }
    }
    return fail_value(row, text, "true or false", error);
}

static mm_status parse_integer(const mm_option_row *row, int64_t *value, const char *text,
                               mm_error *error)
{
    int64_t number;
    if (!mm_parse_int(text, &number))
        return fail_value(row, text, "a whole number", error);
    MM_TRY(check_range(row, (double)number, text, error));
    *value = number;
    return MM_OK;
}

static mm_status parse_real(const mm_option_row *row, double *value, const char *text,
                            mm_error *error)
{
    double number;
    if (!mm_parse_double(text, &number) || !isfinite(number))
        return fail_value(row, text, "a number", error);
    MM_TRY(check_range(row, number, text, error));
    *value = number;
    return MM_OK;
}

/* The power of 1024 that the unit at the end of `text` stands for, and where it begins; -1 for an
   unknown unit. */
static int size_unit(const char *text, size_t *digits)
{
    static const char prefixes[] = "KMGT";
    *digits = strspn(text, "0123456789.");
    const char *unit = text + *digits;
    if (*unit == '\0' || strcasecmp(unit, "B") == 0)
        return 0;
    const char *found = strchr(prefixes, *unit & ~0x20);
    if (!found || !*found)
        return -1;
    bool end = unit[1] == '\0' || strcasecmp(unit + 1, "B") == 0 || strcasecmp(unit + 1, "iB") == 0;
    return end ? (int)(found - prefixes) + 1 : -1;
}

static mm_status parse_size(const mm_option_row *row, uint64_t *value, const char *text,
                            mm_error *error)
{
    char number_text[NUMBER_TEXT];
    double number;
    size_t digits;
    int power = size_unit(text, &digits);
    if (power < 0 || digits >= sizeof(number_text))
        return fail_value(row, text, "a size such as 16G or 500M", error);
    memcpy(number_text, text, digits);
    number_text[digits] = '\0';
    if (!mm_parse_double(number_text, &number))
        return fail_value(row, text, "a size such as 16G or 500M", error);
    number = ldexp(number, 10 * power);
    MM_TRY(check_range(row, number, text, error));
    *value = (uint64_t)number;
    return MM_OK;
}

static size_t word_length(const char *words)
{
    return strcspn(words, "|");
}

static mm_status parse_choice(const mm_option_row *row, int32_t *value, const char *text,
                              mm_error *error)
{
    int32_t index = 0;
    for (const char *word = row->unit;; index++) {
        size_t length = word_length(word);
        if (strlen(text) == length && memcmp(word, text, length) == 0) {
            *value = index;
            return MM_OK;
        }
        if (!word[length])
            break;
        word += length + 1;
    }
    return mm_fail(error, MM_ERR_USAGE, "option %s: '%s' is none of %s", row->name, text,
                   row->unit);
}

static mm_status parse_text(const mm_option_row *row, char **value, const char *text,
                            mm_error *error)
{
    char *copy = mm_strdup(text);
    if (!copy)
        return mm_fail_memory(error, row->name, strlen(text) + 1);
    mm_free(*value);
    *value = copy;
    return MM_OK;
}

static mm_status append_item(const mm_option_row *row, mm_text_list *list, const char *text,
                             mm_error *error)
{
    char *copy = mm_strdup(text);
    size_t bytes = (list->count + 1) * sizeof(*list->item);
    char **grown = copy ? mm_realloc(list->item, bytes) : NULL;
    if (!grown) {
        mm_free(copy);
        return mm_fail_memory(error, row->name, bytes);
    }
    grown[list->count++] = copy;
    list->item = grown;
    return MM_OK;
}

mm_status mm_option_value_parse(const mm_option_row *row, void *value, const char *text,
                                mm_error *error)
{
    if (!mm_utf8_valid(text, strlen(text)))
        return mm_fail(error, MM_ERR_USAGE, "option %s: the value is not UTF-8 text", row->name);
    switch (row->type) {
    case MM_OPTION_FLAG:
        return parse_flag(row, value, text, error);
    case MM_OPTION_INTEGER:
    case MM_OPTION_OPTIONAL_INTEGER:
        return parse_integer(row, value, text, error);
    case MM_OPTION_REAL:
    case MM_OPTION_OPTIONAL_REAL:
        return parse_real(row, value, text, error);
    case MM_OPTION_SIZE:
        return parse_size(row, value, text, error);
    case MM_OPTION_TEXT:
        return parse_text(row, value, text, error);
    case MM_OPTION_CHOICE:
        return parse_choice(row, value, text, error);
    case MM_OPTION_LIST:
        return append_item(row, value, text, error);
    }
    return fail_value(row, text, "of a known type", error);
}

static void clear_list(mm_text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mm_free(list->item[i]);
    mm_free(list->item);
    *list = (mm_text_list){0};
}

void mm_option_value_clear(const mm_option_row *row, void *value)
{
    switch (row->type) {
    case MM_OPTION_TEXT:
        mm_free(*(char **)value);
        *(char **)value = NULL;
        break;
    case MM_OPTION_LIST:
        clear_list(value);
        break;
    case MM_OPTION_OPTIONAL_REAL:
        *(double *)value = NAN;
        break;
    case MM_OPTION_OPTIONAL_INTEGER:
        *(int64_t *)value = MM_NOT_GIVEN;
        break;
    default: /* the others always have a default to take their place */
        break;
    }
}

size_t mm_option_value_count(const mm_option_row *row, const void *value)
{
    switch (row->type) {
    case MM_OPTION_TEXT:
        return *(char *const *)value != NULL;
    case MM_OPTION_LIST:
        return ((const mm_text_list *)value)->count;
    case MM_OPTION_OPTIONAL_REAL:
        return !isnan(*(const double *)value);
    case MM_OPTION_OPTIONAL_INTEGER:
        return *(const int64_t *)value != MM_NOT_GIVEN;
    default:
        return 1;
    }
}

static char *choice_text(const mm_option_row *row, int32_t index)
{
    const char *word = row->unit;
    for (; index > 0; index--)
        word += word_length(word) + 1;
    return mm_strndup(word, word_length(word));
}

char *mm_option_value_text(const mm_option_row *row, const void *value, size_t index)
{
    char number[NUMBER_TEXT];
    switch (row->type) {
    case MM_OPTION_FLAG:
        return mm_strdup(*(const bool *)value ? "true" : "false");
    case MM_OPTION_INTEGER:
    case MM_OPTION_OPTIONAL_INTEGER:
        return mm_format("%" PRId64, *(const int64_t *)value);
    case MM_OPTION_REAL:
    case MM_OPTION_OPTIONAL_REAL:
        return mm_strdup(mm_double_text(*(const double *)value, number, sizeof(number)));
    case MM_OPTION_SIZE:
        return mm_format("%" PRIu64, *(const uint64_t *)value);
    case MM_OPTION_TEXT:
        return mm_strdup(*(char *const *)value);
    case MM_OPTION_CHOICE:
        return choice_text(row, *(const int32_t *)value);
    case MM_OPTION_LIST:
        return mm_strdup(((const mm_text_list *)value)->item[index]);
    }
    return NULL;
}

mm_status mm_option_value_copy(const mm_option_row *row, void *to, const void *from,
                               mm_error *error)
{
    mm_option_value_clear(row, to);
    for (size_t i = 0; i < mm_option_value_count(row, from); i++) {
        char *text = mm_option_value_text(row, from, i);
        if (!text)
            return mm_fail_memory(error, row->name, 0);
        mm_status status = mm_option_value_parse(row, to, text, error);
        mm_free(text);
        MM_TRY(status);
    }
    return MM_OK;
}

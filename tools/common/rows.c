/* SPDX-License-Identifier: BSD-2-Clause */
#include "rows.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *find_letters(const cli_tool *tool, const char *name)
{
    if (strcmp(name, "help") == 0)
        return "h";
    for (const cli_short *row = tool->shorts; row && row->letters; row++) {
        if (row->kind == CLI_SHORT_OPTION && strcmp(row->name, name) == 0)
            return row->letters;
    }
    return NULL;
}

static cli_value value_of(const char *unit)
{
    static const char *const files[] = {"FILE", "file", "video", "path[:weight]"};
    if (!*unit)
        return CLI_VALUE_NONE;
    if (strchr(unit, '|'))
        return CLI_VALUE_WORDS;
    if (strcmp(unit, "DIR") == 0 || strcmp(unit, "directory") == 0)
        return CLI_VALUE_DIRECTORY;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (strcmp(unit, files[i]) == 0)
            return CLI_VALUE_FILE;
    }
    return CLI_VALUE_ANY;
}

static void begin_row(cli_row *row, const cli_tool *tool, const char *name, const char *unit)
{
    *row = (cli_row){.letters = find_letters(tool, name), .unit = unit, .value = value_of(unit)};
    snprintf(row->name, sizeof(row->name), "%s", name);
    for (char *c = row->name; *c; c++)
        *c = *c == '_' ? '-' : *c;
}

void cli_visit_extras(const cli_tool *tool, const cli_extra *extras, cli_visitor visit, void *user)
{
    for (const cli_extra *extra = extras; extra && extra->name; extra++) {
        cli_row row;
        begin_row(&row, tool, extra->name, extra->unit);
        snprintf(row.help, sizeof(row.help), "%s", extra->help);
        row.repeatable = strchr(extra->unit, '=') != NULL; /* one pair at a time */
        visit(user, &row);
    }
}

static bool is_number(const mm_option_info *info)
{
    return strcmp(info->type, "integer") == 0 || strcmp(info->type, "real") == 0;
}

static const char *shown_unit(const mm_option_info *info)
{
    if (*info->unit || strcmp(info->type, "flag") == 0)
        return info->unit;
    return is_number(info) ? "number" : "text";
}

/* The library's default seed is a number; the tools choose one. */
static const char *default_text(const mm_option_info *info)
{
    return strcmp(info->name, "seed") == 0 ? "chosen and printed" : info->fallback;
}

static void describe_option(cli_row *row, const cli_tool *tool, const mm_option_info *info)
{
    const size_t size = sizeof(row->help);
    begin_row(row, tool, info->name, shown_unit(info));
    row->repeatable = info->repeatable != 0;
    size_t n = (size_t)snprintf(row->help, size, "%s", info->help);
    if (is_number(info) && n < size)
        n += (size_t)snprintf(row->help + n, size - n, " (%.16g..%.16g)", info->low, info->high);
    if (*info->fallback && n < size)
        snprintf(row->help + n, size - n, " [%s]", default_text(info));
}

void cli_visit_table(const cli_tool *tool, const char *table, cli_visitor visit, void *user)
{
    for (size_t i = 0; table && i < mm_option_count(table); i++) {
        mm_option_info info = {.struct_size = sizeof(info)};
        cli_row row;
        if (mm_option_describe(table, i, &info) != MM_OK ||
            (table == tool->table && !cli_takes(tool, info.name)))
            continue;
        describe_option(&row, tool, &info);
        visit(user, &row);
    }
}

void cli_visit_own(const cli_tool *tool, cli_visitor visit, void *user)
{
    cli_visit_extras(tool, tool->extras, visit, user);
    cli_visit_table(tool, tool->table, visit, user);
}

void cli_visit_common(const cli_tool *tool, cli_visitor visit, void *user)
{
    cli_visit_table(tool, "context", visit, user);
    cli_visit_extras(tool, cli_common_help, visit, user);
}

void cli_visit_words(const char *unit, void (*visit)(void *user, const char *word), void *user)
{
    while (*unit) {
        char word[64];
        size_t length = strcspn(unit, "|");
        bool plain = length > 0 && length < sizeof(word);
        for (size_t i = 0; plain && i < length; i++)
            plain = !isupper((unsigned char)unit[i]);
        if (plain) {
            snprintf(word, sizeof(word), "%.*s", (int)length, unit);
            visit(user, word);
        }
        unit += length + (unit[length] == '|');
    }
}

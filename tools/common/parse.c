/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define NAME_SIZE 128

typedef struct scan {
    cli_state *cli;
    char **next, **end;
} scan;

/* '-' and '_' are the same in long names; the library's form is with '_'. */
static bool copy_name(char out[NAME_SIZE], const char *text, size_t length)
{
    if (length == 0 || length >= NAME_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        out[i] = text[i] == '-' ? '_' : text[i];
    out[length] = '\0';
    return true;
}

static mm_status take_value(scan *s, const char *shown, const char *attached, const char **out)
{
    if (attached) {
        *out = attached;
        return MM_OK;
    }
    if (s->next == s->end)
        return cli_fail(s->cli, MM_ERR_USAGE, "%s needs a value", shown);
    *out = *s->next++;
    return MM_OK;
}

static mm_status parse_bool(cli_state *cli, const char *shown, const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; text && i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 == 1;
            return MM_OK;
        }
    }
    *out = true;
    return text ? cli_fail(cli, MM_ERR_USAGE, "%s: '%s' is not true or false", shown, text) : MM_OK;
}

bool cli_takes(const cli_tool *tool, const char *key)
{
    for (const char *const *known = tool->keys; known && *known; known++) {
        if (strcmp(*known, key) == 0)
            return true;
    }
    return !tool->keys;
}

/* The options that know the key; NULL for an unknown one. */
static mm_options *owner(const cli_state *cli, const char *key)
{
    if (cli->options && cli_takes(cli->tool, key) && mm_options_source(cli->options, key) >= 0)
        return cli->options;
    return mm_options_source(cli->context_options, key) >= 0 ? cli->context_options : NULL;
}

static mm_status fail_unknown(cli_state *cli, const char *shown, const char *name)
{
    const char *nearest = cli_nearest(cli->tool, name);
    if (nearest)
        return cli_fail(cli, MM_ERR_USAGE, "unknown option %s; did you mean %s?", shown, nearest);
    return cli_fail(cli, MM_ERR_USAGE, "unknown option %s; see --help", shown);
}

static mm_status set_key(cli_state *cli, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    char key[NAME_SIZE];
    if (!equals || !copy_name(key, assignment, (size_t)(equals - assignment)))
        return cli_fail(cli, MM_ERR_USAGE, "--set takes key=value, not '%s'", assignment);
    mm_options *options = owner(cli, key);
    if (!options)
        options = cli->options ? cli->options : cli->context_options;
    return mm_options_set(options, key, equals + 1, MM_SOURCE_SET);
}

static const cli_extra *find_extra(const cli_tool *tool, const char *name)
{
    for (const cli_extra *extra = tool->extras; extra && extra->name; extra++) {
        if (strcmp(extra->name, name) == 0)
            return extra;
    }
    return NULL;
}

/* The flags that every tool has. */
static bool *find_common_flag(cli_state *cli, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"help", &cli->help},
        {"version", &cli->version},
        {"print_config", &cli->print_config},
        {"dry_run", &cli->dry_run},
        {"quiet", &cli->quiet},
        {"json", &cli->json},
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if (strcmp(flags[i].name, name) == 0)
            return flags[i].flag;
    }
    return NULL;
}

static bool is_flag_option(const cli_state *cli, const char *name)
{
    const char *tables[] = {cli->tool->table, "context"};
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; tables[t] && i < mm_option_count(tables[t]); i++) {
            mm_option_info info = {.struct_size = sizeof(info)};
            if (mm_option_describe(tables[t], i, &info) == MM_OK && strcmp(info.name, name) == 0)
                return strcmp(info.type, "flag") == 0;
        }
    }
    return false;
}

/* "--no-name" for a flag; *name is moved behind the "no_". */
static bool is_negated(cli_state *cli, const char **name)
{
    if (strncmp(*name, "no_", 3) != 0)
        return false;
    const char *rest = *name + 3;
    const cli_extra *extra = find_extra(cli->tool, rest);
    bool flag = (extra && extra->flag) || find_common_flag(cli, rest) || is_flag_option(cli, rest);
    if (flag)
        *name = rest;
    return flag;
}

static mm_status take_flag(cli_state *cli, const char *shown, const char *attached, bool negated,
                           bool *out)
{
    bool value;
    if (parse_bool(cli, shown, attached, &value) != MM_OK)
        return MM_ERR_USAGE;
    *out = value != negated;
    return MM_OK;
}

static mm_status take_table_option(scan *s, const char *shown, const char *name,
                                   const char *attached, bool negated)
{
    mm_options *options = owner(s->cli, name);
    const char *value = NULL;
    bool flag;
    if (!options)
        return fail_unknown(s->cli, shown, name);
    if (is_flag_option(s->cli, name)) {
        if (take_flag(s->cli, shown, attached, negated, &flag) != MM_OK)
            return MM_ERR_USAGE;
        value = flag ? "true" : "false";
    } else if (take_value(s, shown, attached, &value) != MM_OK) {
        return MM_ERR_USAGE;
    }
    return mm_options_set(options, name, value, MM_SOURCE_COMMAND_LINE);
}

static mm_status take_option(scan *s, const char *shown, const char *name, const char *attached)
{
    bool negated = is_negated(s->cli, &name);
    const cli_extra *extra = find_extra(s->cli->tool, name);
    bool *flag = extra ? extra->flag : find_common_flag(s->cli, name);
    if (flag)
        return take_flag(s->cli, shown, attached, negated, flag);
    if (extra)
        return take_value(s, shown, attached, extra->text);
    if (strcmp(name, "describe") == 0)
        return take_value(s, shown, attached, &s->cli->describe);
    if (strcmp(name, "config") == 0)
        return take_value(s, shown, attached, &s->cli->config);
    if (strcmp(name, "set") == 0) {
        const char *assignment = NULL;
        mm_status status = take_value(s, shown, attached, &assignment);
        return status == MM_OK ? set_key(s->cli, assignment) : status;
    }
    return take_table_option(s, shown, name, attached, negated);
}

static mm_status take_long(scan *s, const char *argument)
{
    const char *text = argument + 2;
    size_t length = strcspn(text, "=");
    char name[NAME_SIZE], shown[NAME_SIZE + 2];
    if (!copy_name(name, text, length))
        return cli_fail(s->cli, MM_ERR_USAGE, "unknown option %.40s; see --help", argument);
    snprintf(shown, sizeof(shown), "--%.*s", (int)length, text);
    return take_option(s, shown, name, text[length] ? text + length + 1 : NULL);
}

/* Exact letters first, then one letter with its value attached ("-W384"). */
static const cli_short *find_short(const cli_tool *tool, const char *argument,
                                   const char **attached)
{
    *attached = NULL;
    for (const cli_short *row = tool->shorts; row && row->letters; row++) {
        if (strcmp(argument + 1, row->letters) == 0)
            return row;
    }
    for (const cli_short *row = tool->shorts; row && row->letters; row++) {
        if (!row->letters[1] && argument[1] == row->letters[0] && row->kind != CLI_SHORT_IGNORED) {
            *attached = argument + 2;
            return row;
        }
    }
    return NULL;
}

static mm_status take_short(scan *s, const char *argument)
{
    const char *attached, *value = NULL;
    if (strcmp(argument, "-h") == 0) {
        s->cli->help = true;
        return MM_OK;
    }
    const cli_short *row = find_short(s->cli->tool, argument, &attached);
    char shown[16];
    if (!row)
        return cli_fail(s->cli, MM_ERR_USAGE, "unknown option %s; see --help", argument);
    snprintf(shown, sizeof(shown), "-%s", row->letters);
    if (row->kind == CLI_SHORT_OPTION)
        return take_option(s, shown, row->name, attached);
    if (row->kind == CLI_SHORT_IGNORED) {
        cli_notice(s->cli, "%s is ignored: %s", shown, row->name);
        return MM_OK;
    }
    if (take_value(s, shown, attached, &value) != MM_OK)
        return MM_ERR_USAGE;
    if (row->kind == CLI_SHORT_IGNORED_VALUE)
        cli_notice(s->cli, "%s is ignored: %s", shown, row->name);
    else if (strcmp(value, "1") != 0)
        return cli_fail(s->cli, MM_ERR_UNSUPPORTED, "%s: a %s of %s is not supported, 1 is", shown,
                        row->name, value);
    return MM_OK;
}

static mm_status take_operand(cli_state *cli, const char *argument)
{
    if (cli->operand_count >= cli->tool->most_operands)
        return cli_fail(cli, MM_ERR_USAGE, "unexpected argument '%s'; see --help", argument);
    cli->operands[cli->operand_count++] = argument;
    return MM_OK;
}

mm_status cli_parse(cli_state *cli, int argc, char **argv)
{
    scan s = {.cli = cli, .next = argv + 1, .end = argv + argc};
    bool operands_only = false;
    while (s.next < s.end) {
        const char *argument = *s.next++;
        mm_status status = MM_OK;
        /* "-0.5" is a number: no option begins with a digit. */
        if (operands_only || argument[0] != '-' || !argument[1] ||
            strchr("0123456789.", argument[1]))
            status = take_operand(cli, argument);
        else if (strcmp(argument, "--") == 0)
            operands_only = true;
        else if (argument[1] == '-')
            status = take_long(&s, argument);
        else
            status = take_short(&s, argument);
        if (status != MM_OK)
            return status;
        if (cli->help || cli->version || cli->describe)
            return MM_OK;
    }
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "motionmatcher/version.h"
#include "motionmatcher/video.h"

#define COLUMN 34
#define WIDTH 100

const cli_extra cli_common_help[] = {
    {"config", "FILE", "read options from JSON, or from a MotionMatcher YAML config", NULL, NULL},
    {"set", "KEY=VALUE", "set one option of the config; repeatable", NULL, NULL},
    {"print_config", "", "print all options as JSON, and end", NULL, NULL},
    {"dry_run", "", "check every input and print the memory plan; load no weights", NULL, NULL},
    {"quiet", "", "no progress and no notices", NULL, NULL},
    {"json", "", "one JSON object a line on standard output", NULL, NULL},
    {"help", "", "print this text", NULL, NULL},
    {"version", "", "print versions", NULL, NULL},
    {0},
};

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

/* Words, broken at WIDTH, behind COLUMN. `at` is where the cursor stands. */
static void print_wrapped(const char *text, int at)
{
    if (at >= COLUMN - 1) {
        putchar('\n');
        at = 0;
    }
    for (int indent = COLUMN - at; *text; indent = 1) {
        int length = (int)strcspn(text, " ");
        if (at + indent + length > WIDTH) {
            putchar('\n');
            at = 0;
            indent = COLUMN;
        }
        at += printf("%*s%.*s", indent, "", length, text);
        text += length + (text[length] == ' ');
    }
    putchar('\n');
}

static int print_name(const cli_tool *tool, const char *name, const char *unit)
{
    const char *letters = find_letters(tool, name);
    int at = letters ? printf("  -%s, --", letters) : printf("  --");
    for (const char *c = name; *c; c++)
        at += printf("%c", *c == '_' ? '-' : *c);
    return at + (*unit ? printf(" %s", unit) : 0);
}

static void print_extras(const cli_tool *tool, const cli_extra *extras)
{
    for (const cli_extra *extra = extras; extra && extra->name; extra++)
        print_wrapped(extra->help, print_name(tool, extra->name, extra->unit));
}

static const char *shown_unit(const mm_option_info *info)
{
    if (*info->unit)
        return info->unit;
    if (strcmp(info->type, "flag") == 0)
        return "";
    return strcmp(info->type, "integer") == 0 || strcmp(info->type, "real") == 0 ? "number"
                                                                                 : "text";
}

/* The library's default seed is a number; the tools choose one. */
static const char *default_text(const mm_option_info *info)
{
    return strcmp(info->name, "seed") == 0 ? "chosen and printed" : info->fallback;
}

static void print_option(const cli_tool *tool, const mm_option_info *info)
{
    char text[1024];
    bool number = strcmp(info->type, "integer") == 0 || strcmp(info->type, "real") == 0;
    size_t n = (size_t)snprintf(text, sizeof(text), "%s", info->help);
    if (number && n < sizeof(text))
        n += (size_t)snprintf(text + n, sizeof(text) - n, " (%.16g..%.16g)", info->low, info->high);
    if (*info->fallback && n < sizeof(text))
        snprintf(text + n, sizeof(text) - n, " [%s]", default_text(info));
    print_wrapped(text, print_name(tool, info->name, shown_unit(info)));
}

static void print_table(const cli_tool *tool, const char *table)
{
    for (size_t i = 0; i < mm_option_count(table); i++) {
        mm_option_info info = {.struct_size = sizeof(info)};
        if (mm_option_describe(table, i, &info) == MM_OK)
            print_option(tool, &info);
    }
}

static void print_commands(const cli_command *const *commands)
{
    printf("\nCommands (each has a --help of its own)\n");
    for (; *commands; commands++)
        print_wrapped((*commands)->help, printf("  %s", (*commands)->name));
}

void cli_print_help(const cli_tool *tool)
{
    printf("usage: %s\n\n%s\n", tool->usage, tool->summary);
    if (tool->commands)
        print_commands(tool->commands);
    if (tool->extras && tool->extras->name)
        printf("\nWhat to do\n");
    print_extras(tool, tool->extras);
    if (tool->table) {
        printf(
            "\nOptions (also keys of a config file; range in parentheses, default in brackets)\n");
        print_table(tool, tool->table);
    }
    printf("\nMachine\n");
    print_table(tool, "context");
    printf("\nGeneral\n");
    print_extras(tool, cli_common_help);
    printf("\nExit status: 0 done, 1 failed while running, 2 wrong usage, 3 bad input, 4 not "
           "supported,\n"
           "5 not enough memory, 6 no such device, 7 a number is not finite, 130 interrupted.\n");
}

mm_status cli_print_version(cli_state *cli)
{
    mm_context *context;
    mm_status status = mm_context_create(&context, NULL);
    if (status != MM_OK)
        return status;
    printf("%s %s\nlibmotionmatcher %s (ABI %u)\nFFmpeg: %s\ndevices: %s\n", cli->tool->name,
           MM_VERSION, mm_version(), (unsigned)mm_abi_version(), mm_video_backend_versions(),
           mm_context_device(context));
    mm_context_free(&context);
    return MM_OK;
}

/* Both tables as one object: that is what a config file looks like. */
mm_status cli_print_config(cli_state *cli)
{
    char *own = NULL, *machine = NULL;
    mm_status status = mm_options_to_json(cli->context_options, &machine);
    if (status == MM_OK && cli->options)
        status = mm_options_to_json(cli->options, &own);
    if (status == MM_OK && own) {
        *strrchr(own, '\n') = '\0';
        printf("%s,%s\n", own, strchr(machine, '{') + 1);
    } else if (status == MM_OK) {
        printf("%s\n", machine);
    }
    mm_string_free(own);
    mm_string_free(machine);
    return status;
}

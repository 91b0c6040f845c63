/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "rows.h"
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
    {"describe", "man|bash|zsh|fish", "print the manual page or a shell's completions, and end",
     NULL, NULL},
    {0},
};

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

static void print_row(void *user, const cli_row *row)
{
    (void)user;
    int at =
        row->letters ? printf("  -%s, --%s", row->letters, row->name) : printf("  --%s", row->name);
    at += *row->unit ? printf(" %s", row->unit) : 0;
    print_wrapped(row->help, at);
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
    cli_visit_extras(tool, tool->extras, print_row, NULL);
    if (tool->table) {
        printf(
            "\nOptions (also keys of a config file; range in parentheses, default in brackets)\n");
        cli_visit_table(tool, tool->table, print_row, NULL);
    }
    printf("\nMachine\n");
    cli_visit_table(tool, "context", print_row, NULL);
    printf("\nGeneral\n");
    cli_visit_extras(tool, cli_common_help, print_row, NULL);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* --describe: the manual page, in roff's man macros. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "completion.h"
#include "rows.h"
#include "motionmatcher/version.h"

/* Text as roff shows it: no line begins with a control character, no '-' becomes a hyphen. */
static void print_roff(const char *text)
{
    bool line_begins = true;
    for (const char *c = text; *c; c++) {
        if (line_begins && (*c == '.' || *c == '\''))
            fputs("\\&", stdout);
        line_begins = *c == '\n';
        if (*c == '-')
            fputs("\\-", stdout);
        else if (*c == '\\')
            fputs("\\e", stdout);
        else
            putchar(*c);
    }
}

static void print_option(void *user, const cli_row *row)
{
    (void)user;
    printf(".TP\n");
    if (row->letters)
        printf("\\fB\\-%s\\fR, ", row->letters);
    printf("\\fB\\-\\-");
    print_roff(row->name);
    printf("\\fR");
    if (row->value == CLI_VALUE_WORDS) {
        printf(" ");
        print_roff(row->unit);
    } else if (*row->unit) {
        printf(" \\fI");
        print_roff(row->unit);
        printf("\\fR");
    }
    printf("\n");
    print_roff(row->help);
    printf("\n");
}

/* One line of usage after the other, the tool's name in bold. */
static void print_usage(const char *usage)
{
    while (*usage) {
        size_t length = strcspn(usage, "\n");
        const char *line = usage + strspn(usage, " ");
        size_t name = strcspn(line, " \n");
        char rest[512];
        snprintf(rest, sizeof(rest), "%.*s", (int)(usage + length - line - (long)name),
                 line + name);
        printf("\\fB");
        char bold[64];
        snprintf(bold, sizeof(bold), "%.*s", (int)name, line);
        print_roff(bold);
        printf("\\fR");
        print_roff(rest);
        usage += length + (usage[length] == '\n');
        printf("%s\n", *usage ? "\n.br" : "");
    }
}

static void print_commands(const cli_command *const *commands)
{
    printf(".SH COMMANDS\n");
    for (; *commands; commands++) {
        const cli_tool *tool = &(*commands)->tool;
        printf(".SS ");
        print_roff((*commands)->name);
        printf("\n");
        print_usage(tool->usage);
        printf(".PP\n");
        print_roff(tool->summary);
        printf("\n");
        cli_visit_own(tool, print_option, NULL);
    }
}

/* "Learns the motion of a video as a LoRA": the first sentence, as apropos shows it. */
static void print_name(const cli_tool *tool)
{
    char line[256];
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(tool->summary, ".\n"), tool->summary);
    line[0] = (char)tolower((unsigned char)line[0]);
    print_roff(tool->name);
    printf(" \\- ");
    print_roff(line);
    printf("\n");
}

static void print_exit_status(void)
{
    static const char *const meanings[] = {
        "done",
        "failed while running; an output cannot be created or written",
        "wrong usage or config",
        "an input cannot be read, is damaged, or does not fit",
        "recognised, but not supported",
        "not enough memory",
        "device or backend not available",
        "a loss, gradient or sample is not finite",
    };
    printf(".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        printf(".TP\n.B %zu\n%s\n", i, meanings[i]);
    printf(".TP\n.B 130\ninterrupted\n");
}

static void print_manual(const cli_tool *tool)
{
    printf(".TH ");
    for (const char *c = tool->name; *c; c++)
        putchar(toupper((unsigned char)*c));
    printf(" 1 \"\" \"libmotionmatcher %s\" \"User Commands\"\n.SH NAME\n", MM_VERSION);
    print_name(tool);
    printf(".SH SYNOPSIS\n");
    print_usage(tool->usage);
    printf(".SH DESCRIPTION\n");
    print_roff(tool->summary);
    printf("\n");
    if (tool->commands)
        print_commands(tool->commands);
    printf(".SH OPTIONS\nRanges stand in parentheses, defaults in brackets.\n");
    cli_visit_own(tool, print_option, NULL);
    cli_visit_common(tool, print_option, NULL);
    print_exit_status();
    printf(".SH SEE ALSO\n.BR mm\\-train (1),\n.BR mm\\-infer (1),\n.BR mm\\-eval (1),\n"
           ".BR mm\\-lora (1)\n");
}

mm_status cli_describe(cli_state *cli)
{
    static const struct {
        const char *name;
        void (*print)(const cli_tool *tool);
    } forms[] = {
        {"man", print_manual},
        {"bash", cli_print_bash},
        {"zsh", cli_print_zsh},
        {"fish", cli_print_fish},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(cli->describe, forms[i].name) == 0) {
            forms[i].print(cli->tool);
            return MM_OK;
        }
    }
    return cli_fail(cli, MM_ERR_USAGE, "--describe: '%s' is none of man|bash|zsh|fish",
                    cli->describe);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "completion.h"

#include <stdio.h>
#include <string.h>

#include "rows.h"

/* The tool's name as a shell function's. */
static void print_function(const cli_tool *tool)
{
    printf("_");
    for (const char *c = tool->name; *c; c++)
        putchar(*c == '-' ? '_' : *c);
}

static void print_word(void *user, const char *word)
{
    (void)user;
    printf("%s ", word);
}

/* bash */

static void print_bash_option(void *user, const cli_row *row)
{
    (void)user;
    printf("--%s ", row->name);
}

/* What may follow an option, as a branch of a case over "<command>:<option>". */
static void print_bash_value(void *user, const cli_row *row)
{
    const char *command = user;
    if (row->value == CLI_VALUE_NONE)
        return;
    printf("    %s:--%s", command, row->name);
    if (row->letters)
        printf("|%s:-%s", command, row->letters);
    printf(") ");
    if (row->value == CLI_VALUE_WORDS) {
        printf("mapfile -t COMPREPLY < <(compgen -W '");
        cli_visit_words(row->unit, print_word, NULL);
        printf("' -- \"$cur\")");
    } else if (row->value == CLI_VALUE_FILE || row->value == CLI_VALUE_DIRECTORY) {
        printf("compopt -o filenames; mapfile -t COMPREPLY < <(compgen -%c -- \"$cur\")",
               row->value == CLI_VALUE_FILE ? 'f' : 'd');
    } else {
        printf("COMPREPLY=()");
    }
    printf("; return ;;\n");
}

static void print_bash_options(const cli_tool *tool, const cli_tool *owner)
{
    cli_visit_own(owner, print_bash_option, NULL);
    cli_visit_common(tool, print_bash_option, NULL);
}

static void print_bash_commands(const cli_tool *tool)
{
    printf("    case ${COMP_WORDS[1]} in\n");
    for (const cli_command *const *c = tool->commands; c && *c; c++) {
        printf("    %s) options='", (*c)->name);
        print_bash_options(tool, &(*c)->tool);
        printf("' ;;\n");
    }
    printf("    *) options='");
    print_bash_options(tool, tool);
    printf("' ;;\n    esac\n");
}

static void print_bash_values(const cli_tool *tool)
{
    static char any[] = "*";
    printf("    case ${COMP_WORDS[1]}:$prev in\n");
    for (const cli_command *const *c = tool->commands; c && *c; c++) {
        char name[64];
        snprintf(name, sizeof(name), "%s", (*c)->name);
        cli_visit_own(&(*c)->tool, print_bash_value, name);
    }
    cli_visit_own(tool, print_bash_value, any);
    cli_visit_common(tool, print_bash_value, any);
    printf("    esac\n");
}

void cli_print_bash(const cli_tool *tool)
{
    printf("# bash completion for %s\n", tool->name);
    print_function(tool);
    printf("()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} "
           "options\n");
    print_bash_commands(tool);
    print_bash_values(tool);
    printf("    if [[ $cur == -* ]]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n");
    if (tool->commands) {
        printf("    elif ((COMP_CWORD == 1)); then\n"
               "        mapfile -t COMPREPLY < <(compgen -W '");
        for (const cli_command *const *c = tool->commands; *c; c++)
            printf("%s ", (*c)->name);
        printf("' -- \"$cur\")\n");
    }
    printf("    else\n        compopt -o filenames\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n    fi\n}\ncomplete -F ");
    print_function(tool);
    printf(" %s\n", tool->name);
}

/* zsh */

/* Help inside single quotes and, in _arguments' specs, brackets. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void print_zsh_spec(const char *dashes, const char *name, const cli_row *row)
{
    printf("        '%s%s%s%s[", row->repeatable ? "*" : "", dashes, name,
           row->value == CLI_VALUE_NONE ? ""
           : dashes[1]                  ? "="
                                        : "");
    print_zsh_text(row->help);
    printf("]");
    if (row->value != CLI_VALUE_NONE) {
        printf(":");
        print_zsh_text(row->unit);
        printf(":");
    }
    if (row->value == CLI_VALUE_WORDS) {
        printf("(");
        cli_visit_words(row->unit, print_word, NULL);
        printf(")");
    } else if (row->value == CLI_VALUE_FILE) {
        printf("_files");
    } else if (row->value == CLI_VALUE_DIRECTORY) {
        printf("_files -/");
    }
    printf("' \\\n");
}

static void print_zsh_option(void *user, const cli_row *row)
{
    (void)user;
    print_zsh_spec("--", row->name, row);
    if (row->letters)
        print_zsh_spec("-", row->letters, row);
}

static void print_zsh_arguments(const cli_tool *tool, const cli_tool *owner)
{
    printf("    _arguments \\\n");
    cli_visit_own(owner, print_zsh_option, NULL);
    cli_visit_common(tool, print_zsh_option, NULL);
    printf("        '*:file:_files'\n");
}

static void print_zsh_commands(const cli_tool *tool)
{
    printf("    local -a commands=(\n");
    for (const cli_command *const *c = tool->commands; *c; c++) {
        printf("        '%s:", (*c)->name);
        print_zsh_text((*c)->help);
        printf("'\n");
    }
    printf("    )\n    if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then\n"
           "        _describe command commands\n        return\n    fi\n"
           "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n"
           "    case $command in\n");
    for (const cli_command *const *c = tool->commands; *c; c++) {
        printf("    %s)\n", (*c)->name);
        print_zsh_arguments(tool, &(*c)->tool);
        printf("    ;;\n");
    }
    printf("    esac\n");
}

void cli_print_zsh(const cli_tool *tool)
{
    printf("#compdef %s\n", tool->name);
    print_function(tool);
    printf("() {\n");
    if (tool->commands)
        print_zsh_commands(tool);
    else
        print_zsh_arguments(tool, tool);
    printf("}\n");
    print_function(tool);
    printf(" \"$@\"\n");
}

/* fish */

typedef struct fish_target {
    const char *tool;
    const char *command; /* NULL: everywhere */
} fish_target;

static void print_fish_text(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void begin_fish(const fish_target *target)
{
    printf("complete -c %s", target->tool);
    if (target->command)
        printf(" -n '__fish_seen_subcommand_from %s'", target->command);
}

static void print_fish_option(void *user, const cli_row *row)
{
    begin_fish(user);
    printf(" -l %s", row->name);
    if (row->letters)
        printf(" -%c %s", row->letters[1] ? 'o' : 's', row->letters);
    if (row->value == CLI_VALUE_FILE)
        printf(" -r -F");
    else if (row->value != CLI_VALUE_NONE)
        printf(" -x");
    if (row->value == CLI_VALUE_DIRECTORY)
        printf(" -a '(__fish_complete_directories)'");
    if (row->value == CLI_VALUE_WORDS) {
        printf(" -a '");
        cli_visit_words(row->unit, print_word, NULL);
        printf("'");
    }
    printf(" -d ");
    print_fish_text(row->help);
    printf("\n");
}

void cli_print_fish(const cli_tool *tool)
{
    fish_target target = {.tool = tool->name};
    for (const cli_command *const *c = tool->commands; c && *c; c++) {
        printf("complete -c %s -n __fish_use_subcommand -f -a %s -d ", tool->name, (*c)->name);
        print_fish_text((*c)->help);
        printf("\n");
        target.command = (*c)->name;
        cli_visit_own(&(*c)->tool, print_fish_option, &target);
    }
    target.command = NULL;
    cli_visit_own(tool, print_fish_option, &target);
    cli_visit_common(tool, print_fish_option, &target);
}

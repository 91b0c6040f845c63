/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tools share: the command line, reports to the user, signals. */
#ifndef MM_TOOLS_CLI_H
#define MM_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "motionmatcher/context.h"
#include "motionmatcher/model.h"
#include "motionmatcher/options.h"

/* An option of the tool itself. Exactly one of `text` and `flag` is set. */
typedef struct cli_extra {
    const char *name, *unit, *help;
    const char **text;
    bool *flag;
} cli_extra;

typedef enum cli_short_kind {
    CLI_SHORT_OPTION,        /* stands for the long option `name` */
    CLI_SHORT_IGNORED,       /* accepted for old command lines; takes no value */
    CLI_SHORT_IGNORED_VALUE, /* the same, with a value */
    CLI_SHORT_MUST_BE_1 /* takes a value of which only 1 is supported; `name` says what it is */
} cli_short_kind;

typedef struct cli_short {
    const char *letters; /* "cf" for -cf */
    cli_short_kind kind;
    const char *name;
} cli_short;

typedef struct cli_command cli_command;

/* Arrays end with NULL, or with a row whose first member is NULL, and may be NULL. */
typedef struct cli_tool {
    const char *name, *usage, *summary;
    const cli_command *const *commands; /* for help alone, see cli_run_command() */
    const char *table;       /* of the library's options beside "context"; NULL for none */
    const char *const *keys; /* the table's options that the command line takes; NULL for all */
    const cli_extra *extras;
    const cli_short *shorts;
    size_t most_operands;
} cli_tool;

typedef struct cli_state {
    const cli_tool *tool;
    mm_options *options; /* of tool->table */
    mm_options *context_options;
    mm_context *context;
    const char *config, *describe;
    const char **operands;
    size_t operand_count;
    bool help, version, print_config, dry_run, quiet, json;
    bool bar_shown;
    double step_seconds; /* running mean of a step */
    double seconds_left; /* where the tool knows better than the steps' mean; else 0 */
    char error[1024];    /* of the tool itself; empty when the library's counts */
} cli_state;

/* One of the things a tool does, named by the tool's first argument. Its `tool` describes the
   command line behind that name. */
struct cli_command {
    const char *name, *help;
    cli_tool tool;
    mm_status (*run)(cli_state *cli); /* answers --print-config too */
};

/* All of main() for a tool with commands: runs the one that the first argument names. */
int cli_run_command(const cli_tool *tool, int argc, char **argv);

/* Parses everything, loads the config and answers --help, --version and --print-config. When it
   returns true the tool shall end with cli_end(cli, *status). */
bool cli_begin(cli_state *cli, const cli_tool *tool, int argc, char **argv, mm_status *status);
/* Creates the context, and connects reports and signals. */
mm_status cli_open_context(cli_state *cli);
/* The same, and opens the model. */
mm_status cli_open_model(cli_state *cli, const char *directory, mm_model **out);
/* Reports a failure, frees everything and returns the exit code. */
int cli_end(cli_state *cli, mm_status status);

/* Sets the tool's own message; returns status. */
mm_status cli_fail(cli_state *cli, mm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cli_notice(cli_state *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A text option's value; NULL when it was not given or is empty. */
const char *cli_text(cli_state *cli, const char *key);
/* MM_ERR_USAGE when the text option has no value. */
mm_status cli_require(cli_state *cli, const char *key);
/* Chooses the seed when nobody gave one, and says so. */
mm_status cli_choose_seed(cli_state *cli);

/* parse.c */
mm_status cli_parse(cli_state *cli, int argc, char **argv);
/* Whether the tool's command line takes this option of its table. */
bool cli_takes(const cli_tool *tool, const char *key);
/* help.c */
void cli_print_help(const cli_tool *tool);
mm_status cli_print_version(cli_state *cli);
mm_status cli_print_config(cli_state *cli);
/* describe.c: the manual page or a shell's completions, as --describe asks for. */
mm_status cli_describe(cli_state *cli);
/* nearest.c: the option of this tool that a mistyped name most likely means; NULL for none. The
   result is valid until the next call. */
const char *cli_nearest(const cli_tool *tool, const char *name);
extern const cli_extra cli_common_help[];
/* report.c */
void cli_report_log(void *user, int32_t level, const char *message);
int32_t cli_report_event(void *user, const mm_event *event);
void cli_report_error(cli_state *cli, mm_status status);
void cli_clear_bar(cli_state *cli);
void cli_print_json_string(const char *text);
/* ,"key":value */
void cli_print_json_number(const char *key, double value);
/* text.c: any bytes as well-formed text; what is not UTF-8 becomes U+FFFD. */
void cli_write_html(FILE *file, const char *text);
void cli_write_json(FILE *file, const char *text);    /* in quotation marks */
void cli_write_json_number(FILE *file, double value); /* null where it is not finite */
void cli_write_csv(FILE *file, const char *text);
/* signals.c */
void cli_connect_signals(mm_context *context);
void cli_disconnect_signals(void);

#endif

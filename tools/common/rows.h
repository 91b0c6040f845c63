/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of a tool, one after the other, wherever they are defined: help, manual page and
   completions are written from these. */
#ifndef MM_TOOLS_ROWS_H
#define MM_TOOLS_ROWS_H

#include "cli.h"

typedef enum cli_value {
    CLI_VALUE_NONE, /* a flag */
    CLI_VALUE_ANY,
    CLI_VALUE_WORDS, /* one of the unit's words, which stand between '|' */
    CLI_VALUE_FILE,
    CLI_VALUE_DIRECTORY
} cli_value;

typedef struct cli_row {
    char name[64];       /* "memory-budget" */
    const char *letters; /* of the short form; NULL: none */
    const char *unit;    /* "" for a flag */
    char help[1024];     /* with range and default */
    cli_value value;
    bool repeatable;
} cli_row;

typedef void (*cli_visitor)(void *user, const cli_row *row);

void cli_visit_extras(const cli_tool *tool, const cli_extra *extras, cli_visitor visit, void *user);
void cli_visit_table(const cli_tool *tool, const char *table, cli_visitor visit, void *user);
/* The tool's own options, then what all tools have. */
void cli_visit_own(const cli_tool *tool, cli_visitor visit, void *user);
void cli_visit_common(const cli_tool *tool, cli_visitor visit, void *user);

/* Calls for each word of a unit like "auto|cpu|cuda:N" that can be typed as it stands. */
void cli_visit_words(const char *unit, void (*visit)(void *user, const char *word), void *user);

#endif

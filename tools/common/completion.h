/* SPDX-License-Identifier: BSD-2-Clause */
/* Completions of a tool's command line, as a script for one shell on standard output. */
#ifndef MM_TOOLS_COMPLETION_H
#define MM_TOOLS_COMPLETION_H

#include "cli.h"

void cli_print_bash(const cli_tool *tool);
void cli_print_zsh(const cli_tool *tool);
void cli_print_fish(const cli_tool *tool);

#endif

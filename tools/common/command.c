/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "cli.h"

static const cli_command *find(const cli_tool *tool, const char *name)
{
    for (const cli_command *const *command = tool->commands; *command; command++) {
        if (strcmp((*command)->name, name) == 0)
            return *command;
    }
    return NULL;
}

static mm_status fail_without_command(cli_state *cli)
{
    if (cli->operand_count == 0)
        return cli_fail(cli, MM_ERR_USAGE, "usage: %s; see --help", cli->tool->usage);
    const char *name = cli->operands[0];
    if (find(cli->tool, name))
        return cli_fail(cli, MM_ERR_USAGE, "'%s' must be the first argument; see --help", name);
    return cli_fail(cli, MM_ERR_USAGE, "unknown command '%s'; see --help", name);
}

int cli_run_command(const cli_tool *tool, int argc, char **argv)
{
    const cli_command *command = argc > 1 ? find(tool, argv[1]) : NULL;
    int behind = command ? 1 : 0;
    cli_state cli;
    mm_status status;
    if (!cli_begin(&cli, command ? &command->tool : tool, argc - behind, argv + behind, &status))
        status = command ? command->run(&cli) : fail_without_command(&cli);
    return cli_end(&cli, status);
}

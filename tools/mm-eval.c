/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "common/cli.h"

static const cli_tool tool = {
    .name = "mm-eval",
    .usage = "mm-eval features|clip-scores|image-reward|motion-discrepancy|retrieve|report ...",
    .summary = "Scores videos. This version has none of the metrics yet.",
    .most_operands = 1024,
};

static mm_status run(cli_state *cli)
{
    static const char *const commands[] = {"features",           "clip-scores", "image-reward",
                                           "motion-discrepancy", "retrieve",    "report"};
    const char *command = cli->operand_count ? cli->operands[0] : "";
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        if (strcmp(command, commands[i]) == 0)
            return cli_fail(cli, MM_ERR_UNSUPPORTED, "%s is not available in this version",
                            command);
    }
    return cli_fail(cli, MM_ERR_USAGE, "usage: %s", tool.usage);
}

int main(int argc, char **argv)
{
    cli_state cli;
    mm_status status;
    if (!cli_begin(&cli, &tool, argc, argv, &status))
        status = cli.print_config ? cli_print_config(&cli) : run(&cli);
    return cli_end(&cli, status);
}

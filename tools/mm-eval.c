/* SPDX-License-Identifier: BSD-2-Clause */
#include "eval.h"

/* A command is a file eval_<name>.c, a line in eval.h, and one here. */
static const cli_command *const commands[] = {
    &eval_clip_scores, &eval_features, &eval_image_reward, &eval_motion_discrepancy, &eval_report,
    &eval_retrieve,    NULL,
};

static const cli_tool tool = {
    .name = "mm-eval",
    .usage = "mm-eval COMMAND VIDEO... [options]",
    .summary = "Measures videos, and shows what the method sees in them.",
    .commands = commands,
    .most_operands = 1,
};

int main(int argc, char **argv)
{
    return cli_run_command(&tool, argc, argv);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "eval.h"

static mm_status run(cli_state *cli)
{
    return eval_scores(cli, "image_reward_model");
}

static const char *const keys[] = {"image_reward_model", "vision_heads", "prompt", NULL};

const cli_command eval_image_reward = {
    .name = "image-reward",
    .help = "how well the frames fit the prompt, as people would judge",
    .tool =
        {
            .name = "mm-eval",
            .usage = "mm-eval image-reward --image-reward-model DIR VIDEO|FOLDER... "
                     "[--prompt TEXT] [options]",
            .summary = "ImageReward of each frame with the prompt, averaged over a video's frames.",
            .table = "evaluate",
            .keys = keys,
            .most_operands = 1 << 16,
        },
    .run = run,
};

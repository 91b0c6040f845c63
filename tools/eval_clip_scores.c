/* SPDX-License-Identifier: BSD-2-Clause */
#include "eval.h"

static mm_status run(cli_state *cli)
{
    return eval_scores(cli, "clip_model");
}

static const char *const keys[] = {"clip_model", "prompt", NULL};

const cli_command eval_clip_scores = {
    .name = "clip-scores",
    .help = "CLIP text similarity and frame consistency",
    .tool =
        {
            .name = "mm-eval",
            .usage = "mm-eval clip-scores --clip-model DIR VIDEO|FOLDER... [--prompt TEXT] "
                     "[options]",
            .summary =
                "Compares each frame with the prompt (clip_text) and with the frame before it\n"
                "(frame_consistency): cosines of CLIP features, averaged over a video's frames.\n"
                "Tables show them times 100.",
            .table = "evaluate",
            .keys = keys,
            .most_operands = 1 << 16,
        },
    .run = run,
};

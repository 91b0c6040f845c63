/* SPDX-License-Identifier: BSD-2-Clause */
#include "eval.h"

static mm_status run(cli_state *cli)
{
    return eval_scores(cli, "tracker_model");
}

static const char *const keys[] = {"tracker_model", "reference",   "grid", "size",
                                   "tracker_size",  "save_tracks", NULL};

const cli_command eval_motion_discrepancy = {
    .name = "motion-discrepancy",
    .help = "how far the motion of points is from a reference video's",
    .tool =
        {
            .name = "mm-eval",
            .usage = "mm-eval motion-discrepancy --tracker-model FILE --reference VIDEO "
                     "VIDEO|FOLDER... [options]",
            .summary =
                "Follows a grid of points through each video with CoTracker3 and measures how "
                "far\ntheir paths are from those in the reference: 0 for the same motion.",
            .table = "evaluate",
            .keys = keys,
            .most_operands = 1 << 16,
        },
    .run = run,
};

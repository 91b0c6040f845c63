/* SPDX-License-Identifier: BSD-2-Clause */
#include "eval.h"
#include "motionmatcher/video.h"

mm_status eval_prompt(cli_state *cli, const char *given, const char *video, char **out)
{
    *out = NULL;
    mm_status status = given ? MM_OK : mm_video_read_prompt(video, out);
    if (status != MM_OK || given || *out)
        return status;
    return cli_fail(cli, MM_ERR_USAGE,
                    "%s: there is no .json beside it that tells the prompt; give one with --prompt",
                    video);
}

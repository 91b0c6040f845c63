/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of mm-eval, each in a file of its own, and what they share. */
#ifndef MM_TOOLS_EVAL_H
#define MM_TOOLS_EVAL_H

#include "common/cli.h"

extern const cli_command eval_clip_scores, eval_features, eval_image_reward,
    eval_motion_discrepancy, eval_report, eval_retrieve;

/* How a figure is shown. */
typedef struct eval_column {
    const char *figure, *title;
    double factor;
    int decimals;
    bool higher_is_better;
} eval_column;

/* eval_scores.c: of a figure; one that is made up where it is unknown. */
const eval_column *eval_column_of(const char *figure);
/* Which of its two conventions a motion discrepancy follows: "--size" in words. */
void eval_size_in_words(const char *size, char *out, size_t bytes);

/* The prompt of a video where none was given: what the .json beside it says, to be freed with
   mm_string_free(); *out is NULL where one was given. MM_ERR_USAGE: neither is there. */
mm_status eval_prompt(cli_state *cli, const char *given, const char *video, char **out);

/* eval_scores.c: scores the operands with an evaluator made of cli->options, which must name
   `model`, and prints a table, or events. */
mm_status eval_scores(cli_state *cli, const char *model);

#endif

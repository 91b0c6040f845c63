/* SPDX-License-Identifier: BSD-2-Clause */
/* Videos through an evaluator, and its figures as a table or as events. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval.h"
#include "motionmatcher/evaluator.h"

static const eval_column columns[] = {
    {"clip_text", "clip_text x100", 100.0, 2, true},
    {"frame_consistency", "frame_consistency x100", 100.0, 2, true},
    {"image_reward", "image_reward", 1.0, 4, true},
    {"motion_discrepancy", "motion_discrepancy", 1.0, 6, false},
};

static const eval_column unknown = {"", "score", 1.0, 6, true};

const eval_column *eval_column_of(const char *figure)
{
    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
        if (strcmp(columns[i].figure, figure) == 0)
            return &columns[i];
    }
    return &unknown;
}

static void print_json_score(const mm_score *score)
{
    printf("{\"event\":\"%s\"", score->path ? "score" : "mean");
    if (score->path) {
        printf(",\"path\":");
        cli_print_json_string(score->path);
    }
    printf(",\"%s\":%" PRId64, score->path ? "frames" : "videos", score->frames);
    for (size_t i = 0; i < score->figure_count; i++)
        cli_print_json_number(score->figures[i], score->values[i]);
    puts("}");
}

static void print_json_skipped(const mm_score *score)
{
    printf("{\"event\":\"skipped\",\"path\":");
    cli_print_json_string(score->path);
    printf(",\"status\":%d,\"message\":", (int)score->status);
    cli_print_json_string(score->message);
    puts("}");
}

static void print_row(const mm_score *score)
{
    for (size_t i = 0; i < score->figure_count; i++) {
        const eval_column *c = eval_column_of(score->figures[i]);
        if (isfinite(score->values[i]))
            printf("%*.*f  ", (int)strlen(c->title), c->decimals, c->factor * score->values[i]);
        else
            printf("%*s  ", (int)strlen(c->title), "-");
    }
    if (score->path)
        printf("%s\n", score->path);
    else
        printf("mean of %" PRId64 " video%s\n", score->frames, score->frames == 1 ? "" : "s");
}

static int32_t report(void *user, const mm_score *score)
{
    cli_state *cli = user;
    cli_clear_bar(cli);
    if (score->status != MM_OK)
        cli_report_log(cli, MM_LEVEL_WARNING, score->message);
    if (cli->json && score->status != MM_OK)
        print_json_skipped(score);
    else if (cli->json)
        print_json_score(score);
    else if (score->status == MM_OK)
        print_row(score);
    fflush(stdout);
    return 0;
}

static void print_titles(const mm_evaluator *evaluator)
{
    size_t count;
    const char *const *figures = mm_evaluator_figures(evaluator, &count);
    for (size_t i = 0; i < count; i++)
        printf("%s  ", eval_column_of(figures[i])->title);
    printf("video\n");
}

void eval_size_in_words(const char *size, char *out, size_t bytes)
{
    if (strcmp(size, "native") == 0)
        snprintf(out, bytes, "native: tracks in each video's own pixels, divided by 384x384");
    else
        snprintf(out, bytes, "%s: tracks rescaled to it and divided by it", size);
}

static void print_convention(cli_state *cli)
{
    const char *size = cli_text(cli, "size");
    char words[128];
    eval_size_in_words(size, words, sizeof(words));
    if (cli->json) {
        printf("{\"event\":\"size\",\"size\":");
        cli_print_json_string(size);
        puts("}");
    } else {
        printf("size %s\n", words);
    }
}

static bool has_figure(const mm_evaluator *evaluator, const char *name)
{
    size_t count;
    const char *const *figures = mm_evaluator_figures(evaluator, &count);
    while (count > 0 && strcmp(figures[count - 1], name) != 0)
        count--;
    return count > 0;
}

static mm_status score(cli_state *cli, mm_evaluator *evaluator)
{
    for (size_t i = 0; i < cli->operand_count; i++) {
        mm_status status = mm_evaluator_add(evaluator, cli->operands[i], NULL);
        if (status != MM_OK)
            return status;
    }
    if (cli->dry_run)
        return mm_evaluator_plan(evaluator);
    if (has_figure(evaluator, "motion_discrepancy"))
        print_convention(cli);
    if (!cli->json)
        print_titles(evaluator);
    return mm_evaluator_run(evaluator, report, cli);
}

mm_status eval_scores(cli_state *cli, const char *model)
{
    mm_evaluator *evaluator = NULL;
    if (cli->print_config)
        return cli_print_config(cli);
    mm_status status = cli_require(cli, model);
    if (status == MM_OK && cli->operand_count == 0)
        status = cli_fail(cli, MM_ERR_USAGE, "no videos: name files or folders; see --help");
    if (status == MM_OK)
        status = cli_open_context(cli);
    if (status == MM_OK)
        status = mm_evaluator_create(&evaluator, cli->context, cli->options);
    if (status == MM_OK)
        status = score(cli, evaluator);
    mm_evaluator_free(&evaluator);
    return status;
}

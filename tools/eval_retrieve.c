/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "eval.h"
#include "motionmatcher/retriever.h"

/* The first, the method's own distance, needs no name. */
static void print_json_precisions(const mm_retrieval *r, const char *what, const double *values)
{
    char key[64];
    cli_print_json_number(what, values[0]);
    for (size_t i = 1; i < r->figure_count; i++) {
        snprintf(key, sizeof(key), "%s_%s", what, r->figures[i]);
        cli_print_json_number(key, values[i]);
    }
}

static void print_json_path(const char *key, const char *path)
{
    printf(",\"%s\":", key);
    cli_print_json_string(path);
}

static void print_json_found(const mm_retrieval *r)
{
    print_json_path("query", r->query);
    print_json_path("path", r->path);
    printf(",\"rank\":%" PRId64, r->rank);
    if (r->positive >= 0)
        printf(",\"positive\":%s", r->positive ? "true" : "false");
    for (size_t i = 0; i < r->figure_count; i++)
        cli_print_json_number(r->figures[i], r->values[i]);
}

static void print_json(const mm_retrieval *r)
{
    static const char *const events[] = {"", "score", "query", "mean", "skipped"};
    printf("{\"event\":\"%s\"", events[r->kind]);
    if (r->kind == MM_RETRIEVED_VIDEO) {
        print_json_found(r);
    } else if (r->kind == MM_RETRIEVED_SKIPPED) {
        print_json_path("path", r->path);
        printf(",\"status\":%d", (int)r->status);
        print_json_path("message", r->message);
    } else {
        if (r->query)
            print_json_path("path", r->query);
        if (r->query)
            printf(",\"positives\":%" PRId64 ",\"candidates\":%" PRId64, r->positives,
                   r->candidates);
        else
            printf(",\"queries\":%" PRId64, r->candidates);
        print_json_precisions(r, "average_precision", r->values);
        if (r->spreads)
            print_json_precisions(r, "spread", r->spreads);
        cli_print_json_number("chance", r->chance);
    }
    puts("}");
}

/* A positive video is marked with a star. */
static void print_found(const mm_retrieval *r)
{
    if (r->rank == 1) {
        printf("query %s\nrank ", r->query);
        for (size_t i = 0; i < r->figure_count; i++)
            printf(" %11s", r->figures[i]);
        puts("  video");
    }
    printf("%4" PRId64 "%c", r->rank, r->positive > 0 ? '*' : ' ');
    for (size_t i = 0; i < r->figure_count; i++)
        printf(" %11.5g", r->values[i]);
    printf("  %s\n", r->path);
}

static void print_precisions(const mm_retrieval *r)
{
    if (!isfinite(r->chance))
        return;
    if (r->kind == MM_RETRIEVED_QUERY)
        printf("average precision x100 (%" PRId64 " of %" PRId64 " videos to be found)\n",
               r->positives, r->candidates);
    else
        printf("mean average precision x100 over %" PRId64 " queries, and its spread\n",
               r->candidates);
    for (size_t i = 0; i < r->figure_count; i++) {
        printf("%12s %7.2f", r->figures[i], 100.0 * r->values[i]);
        if (r->spreads && isfinite(r->spreads[i]))
            printf(" +- %.2f", 100.0 * r->spreads[i]);
        putchar('\n');
    }
    printf("%12s %7.2f\n", "chance", 100.0 * r->chance);
}

static int32_t report(void *user, const mm_retrieval *r)
{
    cli_state *cli = user;
    const char *all = NULL;
    cli_clear_bar(cli);
    mm_options_get(cli->options, "all", 0, &all);
    bool every = all && *all == 't';
    if (r->kind == MM_RETRIEVED_SKIPPED)
        cli_report_log(cli, MM_LEVEL_WARNING, r->message);
    if (cli->json)
        print_json(r);
    else if (r->kind == MM_RETRIEVED_VIDEO && !every)
        print_found(r);
    else if (r->kind == (every ? MM_RETRIEVED_MEAN : MM_RETRIEVED_QUERY))
        print_precisions(r);
    fflush(stdout);
    return 0;
}

static mm_status retrieve(cli_state *cli, mm_model *model)
{
    mm_retriever *retriever = NULL;
    mm_status status = mm_retriever_create(&retriever, model, cli->options);
    for (size_t i = 0; status == MM_OK && i < cli->operand_count; i++)
        status = mm_retriever_add(retriever, cli->operands[i]);
    if (status == MM_OK)
        status =
            cli->dry_run ? mm_retriever_plan(retriever) : mm_retriever_run(retriever, report, cli);
    mm_retriever_free(&retriever);
    return status;
}

static mm_status run(cli_state *cli)
{
    mm_model *model = NULL;
    if (cli->print_config)
        return cli_print_config(cli);
    mm_status status = cli_require(cli, "model");
    if (status == MM_OK && cli->operand_count == 0)
        status = cli_fail(cli, MM_ERR_USAGE, "no videos: name files or folders; see --help");
    if (status == MM_OK && !cli_text(cli, "noise"))
        status = cli_choose_seed(cli);
    if (status == MM_OK)
        status = cli_open_model(cli, cli_text(cli, "model"), &model);
    if (status == MM_OK)
        status = retrieve(cli, model);
    mm_model_free(&model);
    return status;
}

const cli_command eval_retrieve = {
    .name = "retrieve",
    .help = "finds videos of like motion by their motion features",
    .tool =
        {
            .name = "mm-eval",
            .usage = "mm-eval retrieve --model DIR --query VIDEO VIDEO|FOLDER... [options]\n"
                     "       mm-eval retrieve --model DIR --all VIDEO|FOLDER... --positives FILE|"
                     "--tracker-model FILE",
            .summary = "Ranks videos by the distance of their motion features to the query's, and "
                       "where it is\nknown what should be found, says how well that works.",
            .table = "retrieve",
            .most_operands = 1 << 16,
        },
    .run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause */
#include "eval.h"
#include "motionmatcher/extractor.h"

static mm_status check_usage(cli_state *cli)
{
    if (cli->operand_count != 1)
        return cli_fail(cli, MM_ERR_USAGE, "one video is needed; see --help");
    mm_status status = cli_require(cli, "model");
    if (status == MM_OK)
        status = cli_require(cli, "timestep");
    if (status == MM_OK && !cli_text(cli, "output") && !cli_text(cli, "pictures"))
        return cli_fail(cli, MM_ERR_USAGE, "--output or --pictures is needed; see --help");
    return status;
}

static mm_status settle_prompt(cli_state *cli)
{
    char *found = NULL;
    const char *given = NULL;
    mm_status status = mm_options_get(cli->options, "prompt", 0, &given);
    if (status == MM_OK)
        status = eval_prompt(cli, given, cli->operands[0], &found);
    if (status == MM_OK && found)
        status = mm_options_set(cli->options, "prompt", found, MM_SOURCE_FILE);
    mm_string_free(found);
    return status;
}

static mm_status settle_options(cli_state *cli)
{
    mm_status status = check_usage(cli);
    if (status == MM_OK)
        status = settle_prompt(cli);
    /* A given noise leaves nothing to chance. */
    return status == MM_OK && !cli_text(cli, "noise") ? cli_choose_seed(cli) : status;
}

static mm_status write_features(cli_state *cli, mm_extractor *extractor)
{
    const char *output = cli_text(cli, "output"), *pictures = cli_text(cli, "pictures");
    mm_status status = output ? mm_extractor_write(extractor, output) : MM_OK;
    if (status == MM_OK && pictures)
        status = mm_extractor_write_pictures(extractor, pictures);
    return status;
}

static mm_status extract(cli_state *cli, mm_extractor *extractor)
{
    const char *prompt = NULL;
    mm_video *video = NULL;
    mm_status status = mm_extractor_plan(extractor);
    if (status == MM_OK)
        status = mm_video_decode(&video, cli->context, cli->operands[0], cli->options);
    if (status == MM_OK)
        status = mm_options_get(cli->options, "prompt", 0, &prompt);
    if (status == MM_OK && !cli->dry_run)
        status = mm_extractor_set_video(extractor, video, prompt);
    mm_video_free(&video);
    if (status == MM_OK && !cli->dry_run)
        status = mm_extractor_run(extractor);
    if (status == MM_OK && !cli->dry_run)
        status = write_features(cli, extractor);
    return status;
}

static mm_status run(cli_state *cli)
{
    mm_model *model = NULL;
    mm_extractor *extractor = NULL;
    mm_status status = settle_options(cli);
    if (status != MM_OK || cli->print_config)
        return status == MM_OK ? cli_print_config(cli) : status;
    status = cli_open_model(cli, cli_text(cli, "model"), &model);
    if (status == MM_OK)
        status = mm_extractor_create(&extractor, model, cli->options);
    if (status == MM_OK)
        status = extract(cli, extractor);
    mm_extractor_free(&extractor);
    mm_model_free(&model);
    return status;
}

const cli_command eval_features = {
    .name = "features",
    .help = "writes a video's motion features, as tensors and as pictures",
    .tool = {.name = "mm-eval",
             .usage = "mm-eval features VIDEO --model DIR --timestep T [--prompt TEXT] "
                      "--output FILE|--pictures DIR [options]",
             .summary =
                 "Writes what the method compares: where each word is seen (cross-attention) "
                 "and\nhow the frames relate (temporal self-attention) in a video with noise "
                 "on it.",
             .table = "features",
             .most_operands = 1},
    .run = run,
};

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "common/cli.h"
#include "motionmatcher/model.h"
#include "motionmatcher/trainer.h"
#include "motionmatcher/video.h"

static const char *resume, *replay, *dump;

static const cli_extra extras[] = {
    {"resume", "DIR", "go on with a run from its newest whole checkpoint", &resume, NULL},
    {"replay", "FILE", "run training steps on the numbers of a safetensors file", &replay, NULL},
    {"dump", "FILE", "where --replay writes what was computed", &dump, NULL},
    {0},
};

static const cli_tool tool = {
    .name = "mm-train",
    .usage = "mm-train --model DIR --video FILE --prompt TEXT --output-dir DIR [options]\n"
             "       mm-train --resume DIR [options]\n"
             "       mm-train --model DIR --replay FILE --dump FILE [options]",
    .summary = "Learns the motion of a video as a LoRA for a text-to-video diffusion model.",
    .table = "train",
    .extras = extras,
};

static mm_status check_usage(cli_state *cli)
{
    static const char *const needed[] = {"model", "video", "prompt", "output_dir"};
    size_t count = replay ? 1 : sizeof(needed) / sizeof(*needed);
    if (!replay != !dump)
        return cli_fail(cli, MM_ERR_USAGE, "--replay and --dump belong together");
    if (replay && resume)
        return cli_fail(cli, MM_ERR_USAGE, "--replay and --resume exclude each other");
    for (size_t i = 0; i < count && !resume; i++) {
        mm_status status = cli_require(cli, needed[i]);
        if (status != MM_OK)
            return status;
    }
    return MM_OK;
}

/* All settings of the run, before anything is opened. */
static mm_status settle_options(cli_state *cli)
{
    mm_status status = check_usage(cli);
    if (status == MM_OK && resume)
        status = mm_trainer_load_options(cli->context_options, resume);
    if (status == MM_OK && resume)
        status = mm_trainer_load_options(cli->options, resume);
    else if (status == MM_OK)
        status = mm_trainer_complete_options(cli->options);
    return status == MM_OK ? cli_choose_seed(cli) : status;
}

static mm_status run_new(cli_state *cli, mm_model *model)
{
    mm_video *video = NULL;
    mm_trainer *trainer = NULL;
    mm_status status = mm_trainer_create(&trainer, model, cli->options);
    if (status == MM_OK)
        status = mm_trainer_plan(trainer);
    if (status == MM_OK)
        status = mm_video_decode(&video, cli->context, cli_text(cli, "video"), cli->options);
    if (status == MM_OK && !cli->dry_run)
        status = mm_trainer_add_clip(trainer, video, cli_text(cli, "prompt"));
    mm_video_free(&video);
    if (status == MM_OK && !cli->dry_run)
        status = mm_trainer_run(trainer);
    mm_trainer_free(&trainer);
    return status;
}

static mm_status run_resumed(cli_state *cli, mm_model *model)
{
    mm_trainer *trainer = NULL;
    mm_status status = mm_trainer_resume(&trainer, model, cli->options);
    if (status == MM_OK)
        status = cli->dry_run ? mm_trainer_plan(trainer) : mm_trainer_run(trainer);
    mm_trainer_free(&trainer);
    return status;
}

static mm_status run_replay(cli_state *cli, mm_model *model)
{
    mm_trainer *trainer = NULL;
    mm_status status = mm_trainer_create(&trainer, model, cli->options);
    if (status == MM_OK)
        status = cli->dry_run ? mm_trainer_plan(trainer) : mm_trainer_replay(trainer, replay, dump);
    mm_trainer_free(&trainer);
    return status;
}

static mm_status run(cli_state *cli)
{
    mm_model *model = NULL;
    mm_status status = settle_options(cli);
    if (status != MM_OK || cli->print_config)
        return status == MM_OK ? cli_print_config(cli) : status;
    status = cli_open_model(cli, cli_text(cli, "model"), &model);
    if (status == MM_OK && replay)
        status = run_replay(cli, model);
    else if (status == MM_OK && resume)
        status = run_resumed(cli, model);
    else if (status == MM_OK)
        status = run_new(cli, model);
    mm_model_free(&model);
    return status;
}

int main(int argc, char **argv)
{
    cli_state cli;
    mm_status status;
    if (!cli_begin(&cli, &tool, argc, argv, &status))
        status = run(&cli);
    return cli_end(&cli, status);
}

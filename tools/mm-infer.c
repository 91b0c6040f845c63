/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cli.h"
#include "motionmatcher/model.h"
#include "motionmatcher/sampler.h"

/* The letters of the released inference script. */
static const cli_short shorts[] = {
    {"m", CLI_SHORT_OPTION, "model"},
    {"p", CLI_SHORT_OPTION, "prompt"},
    {"n", CLI_SHORT_OPTION, "negative_prompt"},
    {"o", CLI_SHORT_OPTION, "output_dir"},
    {"W", CLI_SHORT_OPTION, "width"},
    {"H", CLI_SHORT_OPTION, "height"},
    {"T", CLI_SHORT_OPTION, "num_frames"},
    {"s", CLI_SHORT_OPTION, "num_steps"},
    {"g", CLI_SHORT_OPTION, "guidance_scale"},
    {"f", CLI_SHORT_OPTION, "fps"},
    {"d", CLI_SHORT_OPTION, "device"},
    {"r", CLI_SHORT_OPTION, "seed"},
    {"cf", CLI_SHORT_OPTION, "checkpoint_folder"},
    {"ci", CLI_SHORT_OPTION, "checkpoint_index"},
    {"ls", CLI_SHORT_OPTION, "lora_scale"},
    {"np", CLI_SHORT_OPTION, "noise_prior"},
    {"rn", CLI_SHORT_OPTION, "repeat_num"},
    {"mn", CLI_SHORT_OPTION, "min_timestep"},
    {"x", CLI_SHORT_IGNORED, "attention is always memory-efficient"},
    {"S", CLI_SHORT_IGNORED, "attention is always memory-efficient"},
    {"lr", CLI_SHORT_IGNORED_VALUE, "the rank is the LoRA file's"},
    {"B", CLI_SHORT_MUST_BE_1, "batch size"},
    {0},
};

static const cli_tool tool = {
    .name = "mm-infer",
    .usage = "mm-infer --prompt TEXT --output-dir DIR --model DIR [--lora FILE] [options]\n"
             "       mm-infer --prompt TEXT --output-dir DIR --checkpoint-folder DIR [options]",
    .summary = "Draws videos from a text, with the motion that mm-train has learnt.",
    .table = "sample",
    .shorts = shorts,
};

static mm_status check_usage(cli_state *cli)
{
    static const char *const outputs[] = {"output_dir", "output", "save_latents", "save_inversion",
                                          "save_frames"};
    const char *prompt = NULL;
    if (mm_options_get(cli->options, "prompt", 0, &prompt) != MM_OK || !prompt)
        return cli_fail(cli, MM_ERR_USAGE, "--prompt is needed; see --help");
    for (size_t i = 0; i < sizeof(outputs) / sizeof(*outputs); i++) {
        if (cli_text(cli, outputs[i]))
            return MM_OK;
    }
    return cli_fail(cli, MM_ERR_USAGE, "--output-dir or --output is needed; see --help");
}

static mm_status settle_options(cli_state *cli)
{
    mm_status status = check_usage(cli);
    if (status == MM_OK)
        status = mm_sampler_complete_options(cli->options);
    if (status == MM_OK)
        status = cli_require(cli, "model");
    return status == MM_OK ? cli_choose_seed(cli) : status;
}

static mm_status sample(cli_state *cli, mm_model *model)
{
    mm_sampler *sampler = NULL;
    mm_status status = mm_sampler_create(&sampler, model, cli->options);
    if (status == MM_OK)
        status = mm_sampler_plan(sampler);
    if (status == MM_OK && !cli->dry_run)
        status = mm_sampler_run(sampler, NULL);
    mm_sampler_free(&sampler);
    return status;
}

static mm_status run(cli_state *cli)
{
    mm_model *model = NULL;
    mm_status status = settle_options(cli);
    if (status != MM_OK || cli->print_config)
        return status == MM_OK ? cli_print_config(cli) : status;
    status = cli_open_model(cli, cli_text(cli, "model"), &model);
    if (status == MM_OK)
        status = sample(cli, model);
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

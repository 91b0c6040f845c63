/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "lora.h"

static void warn_about_timesteps(cli_state *cli, const mm_lora *lora)
{
    const char *timestep = mm_lora_metadata(lora, "mm_min_timestep");
    if (timestep && strcmp(timestep, "0") != 0)
        cli_notice(cli,
                   "the LoRA is meant for timesteps from %.20s; in a fused model it is always on",
                   timestep);
}

static mm_status fuse(cli_state *cli)
{
    mm_lora *lora = NULL;
    if (!lora_model)
        return cli_fail(cli, MM_ERR_USAGE, "--model is needed; see --help");
    mm_status status = lora_open_one(cli, &lora, cli->operands[0]);
    if (status == MM_OK)
        warn_about_timesteps(cli, lora);
    if (status == MM_OK && !cli->dry_run)
        status = mm_lora_fuse(lora, cli->operands[1]);
    mm_lora_free(&lora);
    return status;
}

static const cli_extra extras[] = {LORA_MODEL, {0}};

static mm_status run_fuse(cli_state *cli)
{
    return lora_run(cli, 2, 2, fuse);
}

const cli_command lora_fuse = {
    .name = "fuse",
    .help = "writes the model's UNet with a LoRA added to it",
    .tool = {.name = "mm-lora",
             .usage = "mm-lora fuse --model DIR IN OUTDIR",
             .summary = "Writes config.json and diffusion_pytorch_model.safetensors, which "
                        "diffusers opens, in the types of\n"
                        "the model's file. OUTDIR must not exist, or be empty.",
             .extras = extras,
             .most_operands = 2},
    .run = run_fuse,
};

/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "motionmatcher/lora.h"

static const char *directory, *format;

static const cli_extra extras[] = {
    {"model", "DIR", "the model that the LoRA is for", &directory, NULL},
    {"to", "peft|pt", "what convert writes: PEFT safetensors, or the released code's list", &format,
     NULL},
    {0},
};

static const cli_tool tool = {
    .name = "mm-lora",
    .usage = "mm-lora info FILE --model DIR\n"
             "       mm-lora convert IN OUT --to peft|pt --model DIR",
    .summary = "Shows and converts LoRA files.",
    .extras = extras,
    .most_operands = 3,
};

static mm_status open_lora(cli_state *cli, mm_lora **out, const char *path)
{
    mm_model *model = NULL;
    *out = NULL;
    if (!directory)
        return cli_fail(cli, MM_ERR_USAGE, "--model is needed; see --help");
    mm_status status = cli_open_model(cli, directory, &model);
    if (status == MM_OK)
        status = mm_lora_open(out, model, path);
    mm_model_free(&model);
    return status;
}

static void print_info(const cli_state *cli, const char *path, const mm_lora *lora)
{
    const char *timestep = mm_lora_metadata(lora, "mm_min_timestep");
    int64_t modules = mm_lora_modules(lora), rank = mm_lora_rank(lora);
    if (!cli->json) {
        printf("%s: %" PRId64 " linear layers, rank %" PRId64 ", on at timesteps from %s\n", path,
               modules, rank, timestep ? timestep : "0");
        return;
    }
    printf("{\"event\":\"lora\",\"path\":");
    cli_print_json_string(path);
    printf(",\"modules\":%" PRId64 ",\"rank\":%" PRId64 "}\n", modules, rank);
}

static mm_status show(cli_state *cli)
{
    mm_lora *lora;
    mm_status status = open_lora(cli, &lora, cli->operands[1]);
    if (status == MM_OK)
        print_info(cli, cli->operands[1], lora);
    mm_lora_free(&lora);
    return status;
}

static mm_status check_ending(cli_state *cli, const char *path)
{
    const char *ending = strrchr(path, '.'), *wanted;
    if (!format)
        return MM_OK;
    if (strcmp(format, "kohya") == 0)
        return cli_fail(cli, MM_ERR_UNSUPPORTED, "--to kohya is not supported; peft and pt are");
    if (strcmp(format, "peft") != 0 && strcmp(format, "pt") != 0)
        return cli_fail(cli, MM_ERR_USAGE, "--to: '%s' is none of peft|pt", format);
    wanted = strcmp(format, "peft") == 0 ? ".safetensors" : ".pt";
    if (ending && strcmp(ending, wanted) == 0)
        return MM_OK;
    return cli_fail(cli, MM_ERR_USAGE, "--to %s writes a file whose name ends with %s, not '%s'",
                    format, wanted, path);
}

static mm_status convert(cli_state *cli)
{
    mm_lora *lora = NULL;
    mm_status status = check_ending(cli, cli->operands[2]);
    if (status == MM_OK)
        status = open_lora(cli, &lora, cli->operands[1]);
    if (status == MM_OK && !cli->dry_run)
        status = mm_lora_save(lora, cli->operands[2]);
    mm_lora_free(&lora);
    return status;
}

static mm_status run(cli_state *cli)
{
    const char *command = cli->operand_count ? cli->operands[0] : "";
    if (strcmp(command, "info") == 0 && cli->operand_count == 2)
        return show(cli);
    if (strcmp(command, "convert") == 0 && cli->operand_count == 3)
        return convert(cli);
    return cli_fail(cli, MM_ERR_USAGE, "usage: %s", tool.usage);
}

int main(int argc, char **argv)
{
    cli_state cli;
    mm_status status;
    if (!cli_begin(&cli, &tool, argc, argv, &status))
        status = cli.print_config ? cli_print_config(&cli) : run(&cli);
    return cli_end(&cli, status);
}

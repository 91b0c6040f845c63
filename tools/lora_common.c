/* SPDX-License-Identifier: BSD-2-Clause */
#include "lora.h"

const char *lora_model, *lora_format;
bool lora_overwrite;

mm_status lora_begin(cli_state *cli, mm_model **model)
{
    *model = NULL;
    return lora_model ? cli_open_model(cli, lora_model, model) : cli_open_context(cli);
}

mm_status lora_open(cli_state *cli, mm_model *model, mm_lora **out, const char *path)
{
    return model ? mm_lora_open(out, model, path) : mm_lora_open_alone(out, cli->context, path);
}

mm_status lora_open_one(cli_state *cli, mm_lora **out, const char *path)
{
    mm_model *model;
    *out = NULL;
    mm_status status = lora_begin(cli, &model);
    if (status == MM_OK)
        status = lora_open(cli, model, out, path);
    mm_model_free(&model);
    return status;
}

mm_status lora_run(cli_state *cli, size_t least, size_t most, mm_status (*work)(cli_state *cli))
{
    if (cli->print_config)
        return cli_print_config(cli);
    if (cli->operand_count < least || cli->operand_count > most)
        return cli_fail(cli, MM_ERR_USAGE, "usage: %s", cli->tool->usage);
    return work(cli);
}

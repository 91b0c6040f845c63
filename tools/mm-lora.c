/* SPDX-License-Identifier: BSD-2-Clause */
#include "lora.h"

static const cli_command *const commands[] = {
    &lora_info, &lora_convert, &lora_merge, &lora_scale, &lora_fuse, NULL,
};

static const cli_tool tool = {
    .name = "mm-lora",
    .usage = "mm-lora COMMAND FILE... [options]",
    .summary =
        "Shows, converts, adds up and scales LoRA files, and fuses one into a model's UNet. Reads "
        "PEFT,\n"
        "older diffusers and kohya files; the released code's .pt where --model is given.",
    .commands = commands,
    .most_operands = 64, /* whatever follows a mistyped command, the command is what is wrong */
};

int main(int argc, char **argv)
{
    return cli_run_command(&tool, argc, argv);
}

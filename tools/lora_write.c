/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands that write a LoRA file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lora.h"

#define MOST_OPERANDS 65

static const cli_extra extras[] = {LORA_MODEL, LORA_TO, LORA_OVERWRITE, {0}};

/* Before anything is read: what is there is not replaced unasked. */
static mm_status check_output(cli_state *cli, const char *path)
{
    struct stat facts;
    if (!lora_overwrite && lstat(path, &facts) == 0)
        return cli_fail(cli, MM_ERR_RUNTIME, "%s: is in the way; --overwrite replaces it", path);
    return MM_OK;
}

/* A wrong format or ending shall not cost the work before it. */
static mm_status check_format(cli_state *cli, const char *path)
{
    static const char *const names[] = {"peft", "pt", "kohya"};
    const char *ending = strrchr(path, '.');
    bool list = ending && strcmp(ending, ".pt") == 0;
    bool tensors = ending && strcmp(ending, ".safetensors") == 0;
    bool known = !lora_format;
    for (size_t i = 0; !known && i < 3; i++)
        known = strcmp(lora_format, names[i]) == 0;
    if (!known)
        return cli_fail(cli, MM_ERR_USAGE, "--to: '%s' is none of peft|pt|kohya", lora_format);
    if (lora_format ? strcmp(lora_format, "pt") == 0 : list)
        return list ? MM_OK
                    : cli_fail(cli, MM_ERR_USAGE,
                               "--to pt writes a file whose name ends with .pt, not '%s'", path);
    return tensors ? MM_OK
                   : cli_fail(cli, MM_ERR_USAGE,
                              "'%s': a LoRA's name ends with .safetensors, or .pt for the released "
                              "code's list",
                              path);
}

static mm_status save(cli_state *cli, const mm_lora *lora, const char *path)
{
    return cli->dry_run ? MM_OK : mm_lora_save(lora, path, lora_format);
}

static mm_status check_target(cli_state *cli, const char *path)
{
    mm_status status = check_format(cli, path);
    return status == MM_OK ? check_output(cli, path) : status;
}

static mm_status convert(cli_state *cli)
{
    mm_lora *lora = NULL;
    mm_status status = check_target(cli, cli->operands[1]);
    if (status == MM_OK)
        status = lora_open_one(cli, &lora, cli->operands[0]);
    if (status == MM_OK)
        status = save(cli, lora, cli->operands[1]);
    mm_lora_free(&lora);
    return status;
}

static mm_status run_convert(cli_state *cli)
{
    return lora_run(cli, 2, 2, convert);
}

const cli_command lora_convert = {
    .name = "convert",
    .help = "writes a LoRA in another layout",
    .tool = {.name = "mm-lora",
             .usage = "mm-lora convert IN OUT --to peft|pt|kohya [--model DIR]",
             .summary = "Keeps every matrix byte for byte, and the metadata. The released code's "
                        ".pt has no names: reading\n"
                        "and writing it takes --model.",
             .extras = extras,
             .most_operands = 2},
    .run = run_convert,
};

static bool read_number(const char *text, double *out)
{
    char *end = NULL;
    bool plain = *text && strspn(text, "0123456789+-.eE") == strlen(text);
    *out = plain ? strtod(text, &end) : 0.0;
    return plain && end && !*end && isfinite(*out);
}

static mm_status scale(cli_state *cli)
{
    mm_lora *lora = NULL;
    double factor;
    if (!read_number(cli->operands[1], &factor))
        return cli_fail(cli, MM_ERR_USAGE, "FACTOR is '%s', which is no number", cli->operands[1]);
    mm_status status = check_target(cli, cli->operands[2]);
    if (status == MM_OK)
        status = lora_open_one(cli, &lora, cli->operands[0]);
    if (status == MM_OK)
        status = mm_lora_scale(lora, factor);
    if (status == MM_OK)
        status = save(cli, lora, cli->operands[2]);
    mm_lora_free(&lora);
    return status;
}

static mm_status run_scale(cli_state *cli)
{
    return lora_run(cli, 3, 3, scale);
}

const cli_command lora_scale = {
    .name = "scale",
    .help = "multiplies what a LoRA adds",
    .tool = {.name = "mm-lora",
             .usage = "mm-lora scale IN FACTOR OUT [--to peft|pt|kohya] [--model DIR]",
             .summary = "The factor goes into the up matrices, which become f32, so that every "
                        "program applies it.",
             .extras = extras,
             .most_operands = 3},
    .run = run_scale,
};

/* "file.safetensors:0.5": a weight is what follows the last colon, when it is a number and the
   whole text is no path itself. Fresh; NULL without memory. */
static char *split_weight(const char *text, double *weight)
{
    struct stat facts;
    const char *colon = strrchr(text, ':');
    *weight = 1.0;
    if (!colon || stat(text, &facts) == 0 || !read_number(colon + 1, weight)) {
        *weight = 1.0;
        return strdup(text);
    }
    return strndup(text, (size_t)(colon - text));
}

static mm_status open_inputs(cli_state *cli, mm_lora **loras, double *weights, size_t count)
{
    mm_model *model;
    mm_status status = lora_begin(cli, &model);
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        char *path = split_weight(cli->operands[i], &weights[i]);
        status = path ? lora_open(cli, model, &loras[i], path)
                      : cli_fail(cli, MM_ERR_MEMORY, "not enough memory");
        free(path);
    }
    mm_model_free(&model);
    return status;
}

static mm_status merge(cli_state *cli)
{
    const size_t count = cli->operand_count - 1;
    mm_lora *loras[MOST_OPERANDS] = {NULL}, *sum = NULL;
    double weights[MOST_OPERANDS];
    const char *path = cli->operands[cli->operand_count - 1];
    mm_status status = check_target(cli, path);
    if (status == MM_OK)
        status = open_inputs(cli, loras, weights, count);
    if (status == MM_OK)
        status = mm_lora_merge(&sum, (const mm_lora *const *)loras, weights, count);
    if (status == MM_OK)
        status = save(cli, sum, path);
    mm_lora_free(&sum);
    for (size_t i = 0; i < count; i++)
        mm_lora_free(&loras[i]);
    return status;
}

static mm_status run_merge(cli_state *cli)
{
    return lora_run(cli, 2, MOST_OPERANDS, merge);
}

const cli_command lora_merge = {
    .name = "merge",
    .help = "adds up LoRAs, each with a weight",
    .tool = {.name = "mm-lora",
             .usage = "mm-lora merge IN[:WEIGHT]... OUT [--to peft|pt|kohya] [--model DIR]",
             .summary = "Concatenates the ranks, so that the sum is exact; where that would pass a "
                        "layer's smaller side, the\n"
                        "sum of the products is stored beside an identity.",
             .extras = extras,
             .most_operands = MOST_OPERANDS},
    .run = run_merge,
};

/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cli.h"
#include "motionmatcher/lora.h"

#define MOST_OPERANDS 66
#define MOST_METADATA 160 /* bytes of a value that are shown as text */

static const char *directory, *format;
static bool overwrite;

static const cli_extra extras[] = {
    {"model", "DIR",
     "the model that the LoRA is for: checks names and shapes, names a .pt's layers", &directory,
     NULL},
    {"to", "peft|pt|kohya",
     "what is written: PEFT safetensors, the released code's list, or kohya's safetensors "
     "(default: "
     "by the ending of OUT)",
     &format, NULL},
    {"overwrite", "", "replace OUT when it exists", NULL, &overwrite},
    {0},
};

static const cli_tool tool = {
    .name = "mm-lora",
    .usage = "mm-lora info FILE [--model DIR]\n"
             "       mm-lora convert IN OUT --to peft|pt|kohya [--model DIR]\n"
             "       mm-lora merge IN[:WEIGHT]... OUT [--model DIR]\n"
             "       mm-lora scale IN FACTOR OUT [--model DIR]\n"
             "       mm-lora fuse --model DIR IN OUTDIR",
    .summary =
        "Shows, converts, adds up and scales LoRA files, and fuses one into a model's UNet.\n"
        "Reads PEFT, older diffusers and kohya files by themselves; the released code's .pt\n"
        "needs --model. merge concatenates ranks, so that the sum is exact.",
    .extras = extras,
    .most_operands = MOST_OPERANDS,
};

/* The context, and the model when there is one. */
static mm_status begin(cli_state *cli, mm_model **model)
{
    *model = NULL;
    return directory ? cli_open_model(cli, directory, model) : cli_open_context(cli);
}

static mm_status open_lora(cli_state *cli, mm_model *model, mm_lora **out, const char *path)
{
    return model ? mm_lora_open(out, model, path) : mm_lora_open_alone(out, cli->context, path);
}

static mm_status open_one(cli_state *cli, mm_lora **out, const char *path)
{
    mm_model *model;
    *out = NULL;
    mm_status status = begin(cli, &model);
    if (status == MM_OK)
        status = open_lora(cli, model, out, path);
    mm_model_free(&model);
    return status;
}

static const char *types_of(const mm_lora *lora)
{
    const char *type = "";
    for (int64_t i = 0; i < mm_lora_modules(lora); i++) {
        mm_lora_layer_info info = {.struct_size = sizeof(info)};
        if (mm_lora_describe(lora, i, &info) != MM_OK)
            return "";
        if (i > 0 && strcmp(type, info.dtype) != 0)
            return "mixed";
        type = info.dtype;
    }
    return type;
}

static void print_json_number(const char *key, double value)
{
    printf(isfinite(value) ? ",\"%s\":%.9g" : ",\"%s\":null", key, value);
}

static void print_json(const char *path, const mm_lora *lora)
{
    printf("{\"event\":\"lora\",\"path\":");
    cli_print_json_string(path);
    printf(",\"format\":\"%s\",\"modules\":%" PRId64 ",\"rank\":%" PRId64 ",\"dtype\":\"%s\"",
           mm_lora_format(lora), mm_lora_modules(lora), mm_lora_rank(lora), types_of(lora));
    printf(",\"tensors\":%" PRId64 ",\"%s\":%" PRId64 ",\"metadata\":{", mm_lora_tensors(lora),
           directory ? "applied" : "recognised", mm_lora_tensors_applied(lora));
    const char *key;
    for (size_t i = 0; (key = mm_lora_metadata_key(lora, i)); i++) {
        printf(i ? "," : "");
        cli_print_json_string(key);
        printf(":");
        cli_print_json_string(mm_lora_metadata(lora, key));
    }
    puts("}}");
}

static void print_json_layer(const mm_lora_layer_info *info)
{
    printf("{\"event\":\"layer\",\"path\":");
    cli_print_json_string(info->path);
    printf(",\"dtype\":\"%s\",\"rank\":%" PRId64 ",\"in\":%" PRId64 ",\"out\":%" PRId64,
           info->dtype, info->rank, info->in, info->out);
    print_json_number("alpha", info->alpha);
    print_json_number("norm", info->norm);
    puts("}");
}

/* Quoted, so that nothing in a file can drive the terminal; cut when it is long. */
static void print_text(const char *text)
{
    char shown[MOST_METADATA + 1];
    size_t length = strlen(text);
    snprintf(shown, sizeof(shown), "%s", text);
    for (size_t end = strlen(shown); length > MOST_METADATA && end > 0;) {
        bool inside = ((unsigned char)text[end] & 0xc0) == 0x80;
        shown[end--] = '\0';
        if (!inside)
            break;
    }
    cli_print_json_string(shown);
    if (length > MOST_METADATA)
        printf("... (%zu bytes)", length);
}

static void print_summary(const char *path, const mm_lora *lora)
{
    const char *timestep = mm_lora_metadata(lora, "mm_min_timestep"), *key;
    printf(
        "%s: %s, %" PRId64 " layers, rank %" PRId64 ", %s, %" PRId64 " of %" PRId64 " tensors %s",
        path, mm_lora_format(lora), mm_lora_modules(lora), mm_lora_rank(lora), types_of(lora),
        mm_lora_tensors_applied(lora), mm_lora_tensors(lora), directory ? "applied" : "recognised");
    if (timestep) {
        printf(", mm_min_timestep ");
        print_text(timestep);
    }
    if (!directory && strcmp(mm_lora_format(lora), "pt") == 0)
        printf(", without names: --model gives them");
    printf("\n");
    for (size_t i = 0; (key = mm_lora_metadata_key(lora, i)); i++) {
        printf("  ");
        print_text(key);
        printf(": ");
        print_text(mm_lora_metadata(lora, key));
        printf("\n");
    }
}

static void print_layer(const mm_lora_layer_info *info)
{
    printf("  ");
    print_text(info->path);
    printf("  %" PRId64 " -> %" PRId64 "  rank %" PRId64 "  alpha %g  %s  norm %.4g\n", info->in,
           info->out, info->rank, info->alpha, info->dtype, info->norm);
}

static mm_status show(cli_state *cli)
{
    const char *path = cli->operands[1];
    mm_lora *lora;
    mm_status status = open_one(cli, &lora, path);
    if (status == MM_OK && cli->json)
        print_json(path, lora);
    else if (status == MM_OK)
        print_summary(path, lora);
    for (int64_t i = 0; status == MM_OK && i < mm_lora_modules(lora); i++) {
        mm_lora_layer_info info = {.struct_size = sizeof(info)};
        status = mm_lora_describe(lora, i, &info);
        if (status == MM_OK)
            (cli->json ? print_json_layer : print_layer)(&info);
    }
    mm_lora_free(&lora);
    return status;
}

/* Before anything is read: what is there is not replaced unasked. */
static mm_status check_output(cli_state *cli, const char *path)
{
    struct stat facts;
    if (!overwrite && lstat(path, &facts) == 0)
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
    bool known = !format;
    for (size_t i = 0; !known && i < 3; i++)
        known = strcmp(format, names[i]) == 0;
    if (!known)
        return cli_fail(cli, MM_ERR_USAGE, "--to: '%s' is none of peft|pt|kohya", format);
    if (format ? strcmp(format, "pt") == 0 : list)
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
    return cli->dry_run ? MM_OK : mm_lora_save(lora, path, format);
}

static mm_status check_target(cli_state *cli, const char *path)
{
    mm_status status = check_format(cli, path);
    return status == MM_OK ? check_output(cli, path) : status;
}

static mm_status convert(cli_state *cli)
{
    mm_lora *lora = NULL;
    mm_status status = check_target(cli, cli->operands[2]);
    if (status == MM_OK)
        status = open_one(cli, &lora, cli->operands[1]);
    if (status == MM_OK)
        status = save(cli, lora, cli->operands[2]);
    mm_lora_free(&lora);
    return status;
}

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
    if (!read_number(cli->operands[2], &factor))
        return cli_fail(cli, MM_ERR_USAGE, "FACTOR is '%s', which is no number", cli->operands[2]);
    mm_status status = check_target(cli, cli->operands[3]);
    if (status == MM_OK)
        status = open_one(cli, &lora, cli->operands[1]);
    if (status == MM_OK)
        status = mm_lora_scale(lora, factor);
    if (status == MM_OK)
        status = save(cli, lora, cli->operands[3]);
    mm_lora_free(&lora);
    return status;
}

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
    mm_status status = begin(cli, &model);
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        char *path = split_weight(cli->operands[1 + i], &weights[i]);
        status = path ? open_lora(cli, model, &loras[i], path)
                      : cli_fail(cli, MM_ERR_MEMORY, "not enough memory");
        free(path);
    }
    mm_model_free(&model);
    return status;
}

static mm_status merge(cli_state *cli)
{
    const size_t count = cli->operand_count - 2;
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
    if (!directory)
        return cli_fail(cli, MM_ERR_USAGE, "--model is needed; see --help");
    mm_status status = open_one(cli, &lora, cli->operands[1]);
    if (status == MM_OK)
        warn_about_timesteps(cli, lora);
    if (status == MM_OK && !cli->dry_run)
        status = mm_lora_fuse(lora, cli->operands[2]);
    mm_lora_free(&lora);
    return status;
}

static const struct {
    const char *name;
    size_t least, most; /* operands, the command itself included */
    mm_status (*run)(cli_state *cli);
} commands[] = {
    {"info", 2, 2, show},   {"convert", 3, 3, convert}, {"merge", 3, MOST_OPERANDS, merge},
    {"scale", 4, 4, scale}, {"fuse", 3, 3, fuse},
};

static mm_status run(cli_state *cli)
{
    const char *command = cli->operand_count ? cli->operands[0] : "";
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(command, commands[i].name) == 0 && cli->operand_count >= commands[i].least &&
            cli->operand_count <= commands[i].most)
            return commands[i].run(cli);
    }
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

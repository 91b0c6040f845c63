/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lora.h"

#define MOST_METADATA 160 /* bytes of a value that are shown as text */

static const char *types_of(const mm_lora *lora)
{
    const char *type = "";
    for (int64_t i = 0; i < mm_lora_modules(lora); i++) {
        mm_lora_layer_info layer = {.struct_size = sizeof(layer)};
        if (mm_lora_describe(lora, i, &layer) != MM_OK)
            return "";
        if (i > 0 && strcmp(type, layer.dtype) != 0)
            return "mixed";
        type = layer.dtype;
    }
    return type;
}

static void print_json(const char *path, const mm_lora *lora)
{
    printf("{\"event\":\"lora\",\"path\":");
    cli_print_json_string(path);
    printf(",\"format\":\"%s\",\"modules\":%" PRId64 ",\"rank\":%" PRId64 ",\"dtype\":\"%s\"",
           mm_lora_format(lora), mm_lora_modules(lora), mm_lora_rank(lora), types_of(lora));
    printf(",\"tensors\":%" PRId64 ",\"%s\":%" PRId64 ",\"metadata\":{", mm_lora_tensors(lora),
           lora_model ? "applied" : "recognised", mm_lora_tensors_applied(lora));
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
    cli_print_json_number("alpha", info->alpha);
    cli_print_json_number("norm", info->norm);
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
    printf("%s: %s, %" PRId64 " layers, rank %" PRId64 ", %s, %" PRId64 " of %" PRId64
           " tensors %s",
           path, mm_lora_format(lora), mm_lora_modules(lora), mm_lora_rank(lora), types_of(lora),
           mm_lora_tensors_applied(lora), mm_lora_tensors(lora),
           lora_model ? "applied" : "recognised");
    if (timestep) {
        printf(", mm_min_timestep ");
        print_text(timestep);
    }
    if (!lora_model && strcmp(mm_lora_format(lora), "pt") == 0)
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

static mm_status info(cli_state *cli)
{

    const char *path = cli->operands[0];
    mm_lora *lora;
    mm_status status = lora_open_one(cli, &lora, path);
    if (status == MM_OK && cli->json)
        print_json(path, lora);
    else if (status == MM_OK)
        print_summary(path, lora);
    for (int64_t i = 0; status == MM_OK && i < mm_lora_modules(lora); i++) {
        mm_lora_layer_info layer = {.struct_size = sizeof(layer)};
        status = mm_lora_describe(lora, i, &layer);
        if (status == MM_OK)
            (cli->json ? print_json_layer : print_layer)(&layer);
    }
    mm_lora_free(&lora);
    return status;
}

static const cli_extra extras[] = {LORA_MODEL, {0}};

static mm_status run_info(cli_state *cli)
{
    return lora_run(cli, 1, 1, info);
}

const cli_command lora_info = {
    .name = "info",
    .help = "shows layers, ranks, types, norms and metadata",
    .tool = {.name = "mm-lora",
             .usage = "mm-lora info FILE [--model DIR]",
             .summary = "Shows what a LoRA file says by itself. With --model it is checked against "
                        "the model, and the layers\n"
                        "of the released code's list have names.",
             .extras = extras,
             .most_operands = 1},
    .run = run_info,
};

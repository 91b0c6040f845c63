/* SPDX-License-Identifier: BSD-2-Clause */
/* The option tables as the library describes them: docs/options.md, or JSON for the tests.
 *
 * usage: print_options markdown|json */
#include <stdio.h>
#include <string.h>

#include "motionmatcher/options.h"

static const struct {
    const char *table, *title, *users;
} tables[] = {
    {"context", "Machine", "`mm_context_create()`; every tool"},
    {"train", "Training", "`mm_trainer_create()`, `mm_video_decode()`; `mm-train`"},
    {"sample", "Sampling", "`mm_sampler_create()`; `mm-infer`"},
    {"features", "Motion features",
     "`mm_extractor_create()`, `mm_video_decode()`; `mm-eval features`"},
    {"evaluate", "Scores",
     "`mm_evaluator_create()`; `mm-eval clip-scores`, `image-reward`, `motion-discrepancy`, "
     "`report`"},
    {"retrieve", "Retrieval", "`mm_retriever_create()`; `mm-eval retrieve`"},
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

/* The fewest digits that read back equal. */
static void put_number(double value)
{
    char text[40];
    double back = 0.0;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (sscanf(text, "%lf", &back) == 1 && back == value)
            break;
    }
    printf("%s", text);
}

static void put_escaped(const char *text, const char *special)
{
    for (; *text; text++) {
        if (strchr(special, *text))
            putchar('\\');
        putchar(*text);
    }
}

static int has_range(const mm_option_info *info)
{
    return (strcmp(info->type, "integer") == 0 || strcmp(info->type, "real") == 0);
}

static void put_markdown_row(const mm_option_info *info)
{
    printf("| `%s` | %s%s", info->name, info->type, info->repeatable ? ", repeatable" : "");
    if (has_range(info)) {
        printf(" ");
        put_number(info->low);
        printf("..");
        put_number(info->high);
    }
    printf(" | %s%s%s | ", *info->fallback ? "`" : "", info->fallback, *info->fallback ? "`" : "");
    put_escaped(info->help, "|");
    if (*info->unit) {
        printf(" (");
        put_escaped(info->unit, "|");
        printf(")");
    }
    printf(" |\n");
}

static int describe(const char *table, size_t index, mm_option_info *info)
{
    *info = (mm_option_info){.struct_size = sizeof(*info)};
    if (mm_option_describe(table, index, info) == MM_OK)
        return 1;
    fprintf(stderr, "%s\n", mm_last_error());
    return 0;
}

static int print_markdown(void)
{
    mm_option_info info;
    printf("# Options\n\n"
           "Made from the library's own tables by `tests/api/print_options.c`; a test keeps it "
           "current.\n\n"
           "A name is the same in C (`mm_options_set()`), in Python (a keyword), in JSON and YAML "
           "files,\nand on the command line (`--name value`, with `-` or `_`). The type \"size\" "
           "takes K, M and G\n(binary). A range belongs to its numbers. An empty default means "
           "that there is no value. Where `seed` is not given,\nC and Python take 0; the tools "
           "choose one and print it.\n");
    for (size_t t = 0; t < TABLES; t++) {
        printf("\n## %s: table \"%s\"\n\nFor %s.\n\n| name | type | default | what it is |\n"
               "|---|---|---|---|\n",
               tables[t].title, tables[t].table, tables[t].users);
        for (size_t i = 0; i < mm_option_count(tables[t].table); i++) {
            if (!describe(tables[t].table, i, &info))
                return 1;
            put_markdown_row(&info);
        }
    }
    return 0;
}

static void put_text(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    put_escaped(text, "\"\\");
    printf("\"");
}

static void put_json_row(const mm_option_info *info)
{
    printf("{\"repeatable\": %s, \"low\": ", info->repeatable ? "true" : "false");
    put_number(info->low);
    printf(", \"high\": ");
    put_number(info->high);
    put_text("name", info->name);
    put_text("type", info->type);
    put_text("default", info->fallback);
    put_text("unit", info->unit);
    put_text("help", info->help);
    printf("}");
}

static int print_json(void)
{
    mm_option_info info;
    for (size_t t = 0; t < TABLES; t++) {
        printf("%s\"%s\": [", t ? ",\n" : "{", tables[t].table);
        for (size_t i = 0; i < mm_option_count(tables[t].table); i++) {
            if (!describe(tables[t].table, i, &info))
                return 1;
            printf("%s", i ? ",\n " : "");
            put_json_row(&info);
        }
        printf("]");
    }
    printf("}\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "markdown") == 0)
        return print_markdown();
    if (argc == 2 && strcmp(argv[1], "json") == 0)
        return print_json();
    fprintf(stderr, "usage: %s markdown|json\n", argv[0]);
    return 2;
}

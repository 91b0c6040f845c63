/* SPDX-License-Identifier: BSD-2-Clause */
/* Prints every table of options as Markdown; the manual page of section 5 is made of it. */
#include <stdio.h>
#include <string.h>

#include "motionmatcher/options.h"

static void print_default(const mm_option_info *info)
{
    if (*info->fallback)
        printf("; default %s", info->fallback);
}

static void print_type(const mm_option_info *info)
{
    const char *repeatable = info->repeatable ? ", repeatable" : "";
    if (strcmp(info->type, "choice") == 0) {
        printf("one of ");
        for (const char *c = info->unit; *c; c++)
            printf(*c == '|' ? ", " : "%c", *c);
    } else if (strcmp(info->type, "integer") == 0 || strcmp(info->type, "real") == 0) {
        printf("%s from %.16g to %.16g%s%s", info->type, info->low, info->high,
               *info->unit ? ", " : "", info->unit);
    } else {
        printf("%s%s", strcmp(info->type, "list") == 0 ? "text" : info->type, repeatable);
    }
}

static int print_table(const char *name, const char *about)
{
    size_t count = mm_option_count(name);
    printf("## TABLE %s\n\n%s\n\n| option | meaning |\n|---|---|\n", name, about);
    for (size_t i = 0; i < count; i++) {
        mm_option_info info = {.struct_size = sizeof(info)};
        if (mm_option_describe(name, i, &info) != MM_OK)
            return 1;
        printf("| `%s` | %s (", info.name, info.help);
        print_type(&info);
        print_default(&info);
        printf(") |\n");
    }
    printf("\n");
    return count == 0;
}

int main(void)
{
    static const char *const tables[][2] = {
        {"context", "The device and its limits; for every tool."},
        {"train", "Training: mm-train, mm_trainer_create()."},
        {"sample", "Sampling: mm-infer, mm_sampler_create()."},
        {"features", "Motion features: mm-eval features, mm_extractor_create()."},
        {"evaluate", "Scores of videos: mm-eval, mm_evaluator_create()."},
        {"retrieve", "Videos of like motion: mm-eval retrieve, mm_retriever_create()."},
    };
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (print_table(tables[i][0], tables[i][1]) != 0) {
            fprintf(stderr, "no table %s: %s\n", tables[i][0], mm_last_error());
            return 1;
        }
    }
    return fflush(stdout) != 0;
}

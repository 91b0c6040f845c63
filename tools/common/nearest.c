/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define MOST_LETTERS 48

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance; names as typed may have '-' for '_'. */
static size_t distance(const char *a, const char *b)
{
    size_t row[MOST_LETTERS + 1], length = strlen(b);
    if (strlen(a) > MOST_LETTERS || length > MOST_LETTERS)
        return MOST_LETTERS;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t replaced = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[length];
}

static void offer(const char *name, const char *candidate, const char **best, size_t *least_far)
{
    size_t far = distance(name, candidate);
    if (far < *least_far) {
        *least_far = far;
        *best = candidate;
    }
}

const char *cli_nearest(const cli_tool *tool, const char *name)
{
    static char shown[MOST_LETTERS + 3];
    const char *best = NULL, *tables[] = {tool->table, "context"};
    size_t far = strlen(name) / 3 + 2;
    for (const cli_extra *extra = cli_common_help; extra->name; extra++)
        offer(name, extra->name, &best, &far);
    for (const cli_extra *extra = tool->extras; extra && extra->name; extra++)
        offer(name, extra->name, &best, &far);
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; tables[t] && i < mm_option_count(tables[t]); i++) {
            mm_option_info info = {.struct_size = sizeof(info)};
            if (mm_option_describe(tables[t], i, &info) == MM_OK &&
                (t == 1 || cli_takes(tool, info.name)))
                offer(name, info.name, &best, &far);
        }
    }
    if (!best)
        return NULL;
    snprintf(shown, sizeof(shown), "--%s", best);
    for (char *c = shown; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return shown;
}

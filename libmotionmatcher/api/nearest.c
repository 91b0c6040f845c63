/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/nearest.h"

#include <string.h>

#define MOST_LETTERS 64

static char plain(char c)
{
    return c == '-' ? '_' : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein distance, each pair of letters swapped at most once. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][MOST_LETTERS + 1];
    size_t length_a = strlen(a), length_b = strlen(b);
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    if (length_a > MOST_LETTERS || length_b > MOST_LETTERS)
        return MOST_LETTERS;
    for (size_t j = 0; j <= length_b; j++)
        above[j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            char x = plain(a[i - 1]), y = plain(b[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == plain(b[j - 2]) && plain(a[i - 2]) == y)
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[length_b];
}

void mm_nearest_begin(mm_nearest *nearest, const char *word)
{
    size_t length = strlen(word);
    *nearest = (mm_nearest){.word = word, .distance = length < 4 ? 2 : length / 3 + 2};
}

void mm_nearest_offer(mm_nearest *nearest, const char *candidate)
{
    size_t far = distance(nearest->word, candidate);
    if (far < nearest->distance) {
        nearest->distance = far;
        nearest->best = candidate;
    }
}

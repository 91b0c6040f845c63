/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_NEAREST_H
#define MM_API_NEAREST_H

#include <stddef.h>

/* Collects candidates one by one and keeps the one that a mistyped word most likely means. */
typedef struct mm_nearest {
    const char *word;
    const char *best; /* NULL while nothing is near enough */
    size_t distance;
} mm_nearest;

void mm_nearest_begin(mm_nearest *nearest, const char *word);
void mm_nearest_offer(mm_nearest *nearest, const char *candidate);

#endif

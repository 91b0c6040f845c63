/* SPDX-License-Identifier: BSD-2-Clause */
/* Many small objects with one lifetime: allocated one after the other, freed together. */
#ifndef MM_BASE_ARENA_H
#define MM_BASE_ARENA_H

#include <stddef.h>

typedef struct mm_arena_chunk mm_arena_chunk;

typedef struct mm_arena {
    mm_arena_chunk *chunk;
    size_t limit; /* most bytes it may hold; 0 for no limit */
    size_t total;
} mm_arena;

/* Zeroed, aligned to 16 bytes; NULL without memory or beyond the limit. */
void *mm_arena_alloc(mm_arena *arena, size_t bytes);
char *mm_arena_strdup(mm_arena *arena, const char *text);
char *mm_arena_strndup(mm_arena *arena, const char *text, size_t length);
char *mm_arena_format(mm_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mm_arena_free(mm_arena *arena);

#endif

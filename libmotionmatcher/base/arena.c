/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct mm_arena_chunk {
    mm_arena_chunk *next;
    size_t used, size;
    alignas(16) unsigned char data[];
};

static const size_t chunk_bytes = 64 * 1024;

static mm_arena_chunk *add_chunk(mm_arena *arena, size_t bytes)
{
    size_t size = bytes > chunk_bytes ? bytes : chunk_bytes, total;
    if (!mm_add_size(size, sizeof(mm_arena_chunk), &total))
        return NULL;
    mm_arena_chunk *chunk = mm_calloc(1, total);
    if (!chunk)
        return NULL;
    chunk->size = size;
    chunk->next = arena->chunk;
    arena->chunk = chunk;
    return chunk;
}

void *mm_arena_alloc(mm_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - 15)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (arena->limit && (bytes > arena->limit || arena->total > arena->limit - bytes))
        return NULL;
    mm_arena_chunk *chunk = arena->chunk;
    if (!chunk || chunk->size - chunk->used < bytes)
        chunk = add_chunk(arena, bytes);
    if (!chunk)
        return NULL;
    void *block = chunk->data + chunk->used;
    chunk->used += bytes;
    arena->total += bytes;
    return block;
}

char *mm_arena_strndup(mm_arena *arena, const char *text, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = mm_arena_alloc(arena, length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

char *mm_arena_strdup(mm_arena *arena, const char *text)
{
    return mm_arena_strndup(arena, text, strlen(text));
}

char *mm_arena_format(mm_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : mm_arena_alloc(arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void mm_arena_free(mm_arena *arena)
{
    while (arena->chunk) {
        mm_arena_chunk *next = arena->chunk->next;
        mm_free(arena->chunk);
        arena->chunk = next;
    }
    arena->total = 0;
}

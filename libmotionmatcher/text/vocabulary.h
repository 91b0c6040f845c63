/* SPDX-License-Identifier: BSD-2-Clause */
/* The tokens and merges of a byte-level BPE model, as read from its files. */
#ifndef MM_TEXT_VOCABULARY_H
#define MM_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

typedef struct mm_vocabulary_entry {
    const char *token;
    int32_t id;
} mm_vocabulary_entry;

/* left + right -> result; lower ranks go first. */
typedef struct mm_merge {
    uint64_t pair; /* left << 32 | right */
    int32_t rank, result;
} mm_merge;

typedef struct mm_vocabulary {
    mm_arena arena;
    mm_vocabulary_entry *entries; /* sorted by token */
    size_t entry_count;
    int32_t size;     /* ids are below this */
    mm_merge *merges; /* sorted by pair */
    size_t merge_count, merge_capacity;
    bool from_whole_file;               /* tokenizer.json */
    int32_t letters[256], endings[256]; /* byte -> id alone and as a word's last byte, or -1 */
} mm_vocabulary;

/* From vocab.json and merges.txt, or from tokenizer.json where there is no vocab.json. The caller
   frees the vocabulary on failure, too. */
mm_status mm_vocabulary_load(mm_vocabulary *vocabulary, const char *directory, mm_error *error);
void mm_vocabulary_free(mm_vocabulary *vocabulary);

int32_t mm_vocabulary_find(const mm_vocabulary *vocabulary, const char *token); /* -1: none */
const mm_merge *mm_vocabulary_find_merge(const mm_vocabulary *vocabulary, int32_t left,
                                         int32_t right); /* NULL: none */

/* The readable form of a token: bytes instead of their stand-in letters, no end-of-word mark, bytes
   that are no UTF-8 as \xNN. NULL without memory. */
const char *mm_vocabulary_display(mm_arena *arena, const char *token);

#endif

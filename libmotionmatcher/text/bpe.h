/* SPDX-License-Identifier: BSD-2-Clause */
/* Byte-pair encoding of one word. */
#ifndef MM_TEXT_BPE_H
#define MM_TEXT_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "text/vocabulary.h"

typedef struct mm_bpe_symbol {
    int32_t id;
    int32_t previous, next; /* -1 at the ends */
    int32_t merged;         /* 1: part of the symbol before it */
} mm_bpe_symbol;

typedef struct mm_bpe_candidate {
    int32_t rank, position, result;
} mm_bpe_candidate;

/* One word and its memory, used again for the next; zero at first. */
typedef struct mm_bpe_word {
    mm_bpe_symbol *symbols;
    mm_bpe_candidate *heap;
    size_t count, heap_count, capacity;
} mm_bpe_word;

/* Splits `bytes` into tokens, which are the symbols not `merged`, in order. Bytes without a token
   of their own become `unknown`. Time is n log n for any word. */
mm_status mm_bpe_encode(mm_bpe_word *word, const mm_vocabulary *vocabulary, int32_t unknown,
                        const unsigned char *bytes, size_t count, mm_error *error);
void mm_bpe_free(mm_bpe_word *word);

#endif

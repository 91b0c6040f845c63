/* SPDX-License-Identifier: BSD-2-Clause */
/* BERT's uncased WordPiece tokenizer, from a vocab.txt. */
#ifndef MM_TEXT_WORDPIECE_H
#define MM_TEXT_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct mm_wordpiece mm_wordpiece;

/* Reads one token a line; an id is the line's number, from 0. Special tokens that the file lacks
   can be added behind it: `added` ends with NULL and may be NULL. MM_ERR_INPUT names the file;
   MM_ERR_MEMORY. */
mm_status mm_wordpiece_open(mm_wordpiece **out, const char *path, const char *const *added,
                            mm_error *error);
void mm_wordpiece_close(mm_wordpiece **tokenizer);

/* Ids are below this. */
int64_t mm_wordpiece_vocabulary(const mm_wordpiece *tokenizer);

/* [CLS], the text's pieces, [SEP], without padding: *count ids, at most `length` (2 or more). Of a
   longer text the beginning is used, and *truncated (may be NULL) is true. MM_ERR_USAGE: the text
   is not UTF-8. Thread-safety: any thread. */
mm_status mm_wordpiece_encode(const mm_wordpiece *tokenizer, const char *text, size_t length,
                              int64_t *ids, size_t *count, bool *truncated, mm_error *error);

#endif

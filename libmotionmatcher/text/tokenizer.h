/* SPDX-License-Identifier: BSD-2-Clause */
/* CLIP's byte-pair tokenizer, from a diffusers "tokenizer" directory. */
#ifndef MM_TEXT_TOKENIZER_H
#define MM_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct mm_tokenizer mm_tokenizer;

/* Reads vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json (the last two may
   be absent: CLIP's own special tokens). MM_ERR_INPUT names the file; MM_ERR_MEMORY. */
mm_status mm_tokenizer_open(mm_tokenizer **out, const char *directory, mm_error *error);
void mm_tokenizer_close(mm_tokenizer **tokenizer);

/* Ids are below this. */
int64_t mm_tokenizer_vocabulary(const mm_tokenizer *tokenizer);

/*
 * Start token, the text's tokens, end token, then the pad token up to exactly `length` ids. Longer
 * texts are cut before the end token and *truncated (may be NULL) tells how many tokens were left
 * out. MM_ERR_USAGE: the text is not UTF-8. Thread-safety: any thread.
 */
mm_status mm_tokenizer_encode(const mm_tokenizer *tokenizer, const char *text, size_t length,
                              int64_t *ids, size_t *truncated, mm_error *error);

/* How many of `length` ids, as above, stand before the padding: the end token is the last. */
size_t mm_tokenizer_unpadded(const mm_tokenizer *tokenizer, const int64_t *ids, size_t length);

/* The text of one token for display ("sitting", "snow", "<|endoftext|>"), NULL when out of range.
 */
const char *mm_tokenizer_token(const mm_tokenizer *tokenizer, int64_t id);

#endif

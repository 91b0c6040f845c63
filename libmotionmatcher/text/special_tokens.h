/* SPDX-License-Identifier: BSD-2-Clause */
/* The tokens that are cut out of a text as they stand, before byte-pair encoding. */
#ifndef MM_TEXT_SPECIAL_TOKENS_H
#define MM_TEXT_SPECIAL_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

typedef struct mm_special_token {
    const char *content; /* in the vocabulary's arena */
    int32_t id;
    bool normalized;        /* looked for in the normalised text, not in the text as given */
    bool single_word;       /* only where no word character touches it */
    bool settled;           /* described by a list of added tokens, which has the last word */
    uint32_t descriptions;  /* a bit for each way in which it has been described so far */
    mm_code_points pattern; /* what is looked for */
} mm_special_token;

typedef struct mm_special_tokens {
    mm_special_token *items;
    size_t count;
    int32_t start, end, pad, unknown; /* ids */
    int32_t size;                     /* all ids, the vocabulary's included, are below */
    bool starts[2][256]; /* [normalized]: some pattern starts with a point of this low byte */
} mm_special_tokens;

/* Reads special_tokens_map.json and tokenizer_config.json. The caller frees the tokens on failure,
   too. */
mm_status mm_special_tokens_load(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                                 const char *directory, mm_error *error);
void mm_special_tokens_free(mm_special_tokens *tokens);

/* The longest token that starts at `position` among those looked for in the given text; NULL when
   there is none. */
const mm_special_token *mm_special_tokens_match(const mm_special_tokens *tokens, bool normalized,
                                                const mm_code_points *text, size_t position);

#endif

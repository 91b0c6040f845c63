/* SPDX-License-Identifier: BSD-2-Clause */
/* Text as code points, and what CLIP's preparation asks of Unicode's tables. */
#ifndef MM_TEXT_UNICODE_H
#define MM_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Code points; free `points` with mm_free. */
typedef struct mm_code_points {
    uint32_t *points;
    size_t count;
} mm_code_points;

typedef enum mm_letter_class {
    MM_LETTER_OTHER = 0,
    MM_LETTER_SPACE,
    MM_LETTER_LETTER,
    MM_LETTER_NUMBER
} mm_letter_class;

mm_letter_class mm_letter_classify(uint32_t point);
/* Part of a word as regular expressions' \w has it. */
bool mm_letter_in_word(uint32_t point);

/* `text` must be well-formed UTF-8. */
mm_status mm_code_points_from_utf8(mm_code_points *out, const char *text, size_t bytes,
                                   mm_error *error);
/* NFC, runs of white space to one blank, lower case. */
mm_status mm_code_points_normalize(mm_code_points *out, const uint32_t *points, size_t count,
                                   mm_error *error);

/* Lower case, then canonical decomposition. */
mm_status mm_code_points_lower_decomposed(mm_code_points *out, const uint32_t *points, size_t count,
                                          mm_error *error);

#endif

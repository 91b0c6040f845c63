/* SPDX-License-Identifier: BSD-2-Clause */
/* The keys of the released MotionMatcher code's configuration files, and what each means here. */
#ifndef MM_API_REFERENCE_KEYS_H
#define MM_API_REFERENCE_KEYS_H

#include "api/nearest.h"
#include "api/option_table.h"

typedef enum mm_reference_kind {
    MM_REFERENCE_ALIAS,        /* another name of the option `argument` */
    MM_REFERENCE_PREVIEW,      /* false: validation_every is 0 */
    MM_REFERENCE_PRECISION,    /* a kind of mixed precision; the context chooses its own */
    MM_REFERENCE_WARMUP,       /* alias of warmup_steps that counts with one scheduler alone */
    MM_REFERENCE_SPEED,        /* changes the speed there, never the result */
    MM_REFERENCE_NO_EFFECT,    /* `argument` says why */
    MM_REFERENCE_EXPECT_FALSE, /* what the value would switch on is not implemented */
    MM_REFERENCE_EXPECT_TRUE,
    MM_REFERENCE_EXPECT_NOTHING, /* null or empty */
    MM_REFERENCE_EXPECT_WORD     /* one of the words in `argument`, separated by '|' */
} mm_reference_kind;

typedef struct mm_reference_key {
    const char *key; /* with its section: "train_data.width" */
    mm_reference_kind kind;
    const char *argument;
    const mm_option_table *table;
} mm_reference_key;

#define MM_WARMUP_SCHEDULER "constant_with_warmup"

/* NULL when the table has no such key; '-' and '_' are the same. */
const mm_reference_key *mm_reference_key_find(const mm_option_table *table, const char *key);
/* True for the name of a section, "train_data". */
bool mm_reference_section_known(const mm_option_table *table, const char *section);
void mm_reference_key_offer(const mm_option_table *table, mm_nearest *nearest);

#endif

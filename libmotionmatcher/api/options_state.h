/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of an mm_options, shared by setting, reading and loading. */
#ifndef MM_API_OPTIONS_STATE_H
#define MM_API_OPTIONS_STATE_H

#include "api/option_table.h"
#include "api/options_internal.h"

typedef struct mm_option_state {
    int32_t source;
    char *text; /* what mm_options_get() handed out last */
} mm_option_state;

struct mm_options {
    const mm_option_table *table;
    void *config;           /* the table's struct */
    mm_option_state *state; /* one per row */
    char *notices, *speed_keys, *all_notices;
};

void *mm_options_value(const mm_options *options, const mm_option_row *row);
mm_option_state *mm_options_state(const mm_options *options, const mm_option_row *row);

/* True when the key is an option of the table, or a key of the released code that belongs to it. */
bool mm_options_knows(const mm_options *options, const char *key);
/* MM_ERR_USAGE that names the nearest key. */
mm_status mm_options_fail_unknown(const mm_options *options, const mm_options *other,
                                  const char *key, mm_error *error);
/* As mm_options_assign, and a NULL value stands for "nothing", as null in a file. */
mm_status mm_options_assign_or_null(mm_options *options, const char *key, const char *value,
                                    int32_t source, mm_error *error);
/* Empties the list `key` so that a file's items replace those of an earlier file. */
void mm_options_restart_list(mm_options *options, const char *key, int32_t source);
/* For a key that stands for an option: that option's row; NULL for every other key. */
const mm_option_row *mm_options_row(const mm_options *options, const char *key);

void mm_options_clear_notices(mm_options *options);
mm_status mm_options_notice(mm_options *options, const char *key, const char *why, mm_error *error);

#endif

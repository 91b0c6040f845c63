/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of the *.def tables as data, and the values they describe. */
#ifndef MM_API_OPTION_TABLE_H
#define MM_API_OPTION_TABLE_H

#include "base/error.h"
#include "base/option_row.h"

typedef enum mm_option_type {
    MM_OPTION_FLAG,
    MM_OPTION_INTEGER,
    MM_OPTION_REAL,
    MM_OPTION_SIZE,
    MM_OPTION_TEXT,
    MM_OPTION_CHOICE,
    MM_OPTION_LIST,
    MM_OPTION_OPTIONAL_REAL,
    MM_OPTION_OPTIONAL_INTEGER
} mm_option_type;

typedef struct mm_option_row {
    mm_option_type type;
    const char *name, *fallback, *unit, *help;
    double low, high;
    size_t offset; /* of the value in the table's config struct */
} mm_option_row;

typedef struct mm_option_table {
    const char *name;
    const mm_option_row *rows;
    size_t count;
    size_t config_bytes;
} mm_option_table;

extern const mm_option_table mm_context_table, mm_train_table, mm_sample_table, mm_feature_table,
    mm_evaluate_table, mm_retrieve_table;

/* NULL for an unknown name. */
const mm_option_table *mm_option_table_find(const char *name);
/* '-' and '_' are the same; NULL for an unknown name. */
const mm_option_row *mm_option_table_row(const mm_option_table *table, const char *name);
bool mm_option_names_equal(const char *a, const char *b);

/* The values of one row inside a config struct; `value` points at the row's field. */

/* Replaces the value; for a list appends to it. MM_ERR_USAGE: not of the type, or out of range. */
mm_status mm_option_value_parse(const mm_option_row *row, void *value, const char *text,
                                mm_error *error);
/* The state before anything was given: numbers not given, texts NULL, lists empty. */
void mm_option_value_clear(const mm_option_row *row, void *value);
mm_status mm_option_value_copy(const mm_option_row *row, void *to, const void *from,
                               mm_error *error);
size_t mm_option_value_count(const mm_option_row *row, const void *value);
/* Item `index` as a fresh text that parses to the same value; NULL without memory. */
char *mm_option_value_text(const mm_option_row *row, const void *value, size_t index);

#endif

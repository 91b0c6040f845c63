/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One option, one row: the tables (*.def) expand to the struct that the library reads and to the
 * descriptions that setters, config files, command lines and help are driven by (api/options.c).
 *
 * MM_OPTION(type, name, default, low, high, unit, help)
 *   type   FLAG bool | INTEGER int64_t | REAL double | SIZE uint64_t (K, M, G) | TEXT char *
 *          | CHOICE int32_t, `unit` lists the words, separated by '|' | LIST mm_text_list,
 * repeatable | OPTIONAL_REAL, OPTIONAL_INTEGER: like the plain ones, NaN or INT64_MIN when not
 * given default is a text, "" for none
 */
#ifndef MM_BASE_OPTION_ROW_H
#define MM_BASE_OPTION_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mm_text_list {
    char **item;
    size_t count;
} mm_text_list;

#define MM_OPTION_TYPE_FLAG bool
#define MM_OPTION_TYPE_INTEGER int64_t
#define MM_OPTION_TYPE_REAL double
#define MM_OPTION_TYPE_SIZE uint64_t
#define MM_OPTION_TYPE_TEXT char *
#define MM_OPTION_TYPE_CHOICE int32_t
#define MM_OPTION_TYPE_LIST mm_text_list
#define MM_OPTION_TYPE_OPTIONAL_REAL double
#define MM_OPTION_TYPE_OPTIONAL_INTEGER int64_t

/* INT64_MIN stands for an OPTIONAL_INTEGER that nobody gave. */
#define MM_NOT_GIVEN INT64_MIN

#endif

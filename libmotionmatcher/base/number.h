/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers and their text, the same whatever locale the program has set. */
#ifndef MM_BASE_NUMBER_H
#define MM_BASE_NUMBER_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls between the two see the "C" locale on this thread; other threads see nothing of it. */
locale_t mm_locale_enter(void);
void mm_locale_leave(locale_t before);
/* vsnprintf in the "C" locale; what does not fit is cut. */
void mm_format_plain(char *out, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* The whole text must be the number: sign, digits, point, exponent; no blanks, hexadecimal,
   infinity or NaN, and nothing too large for the type. */
bool mm_parse_double(const char *text, double *out);
bool mm_parse_int(const char *text, int64_t *out);

#define MM_DOUBLE_TEXT 40
#define MM_INT_TEXT 24

/* The fewest digits that read back equal; returns out. */
const char *mm_double_text(double value, char *out, size_t size);
const char *mm_int_text(int64_t value, char *out, size_t size);

#endif

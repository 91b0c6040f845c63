/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

locale_t mm_locale_enter(void)
{
    /* In glibc this is a constant object: nothing is allocated, nothing can fail. */
    return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

void mm_locale_leave(locale_t before)
{
    uselocale(before);
}

void mm_format_plain(char *out, size_t size, const char *format, va_list args)
{
    locale_t before = mm_locale_enter();
    vsnprintf(out, size, format, args);
    mm_locale_leave(before);
}

static const char *skip_digits(const char *text)
{
    while (*text >= '0' && *text <= '9')
        text++;
    return text;
}

static bool is_decimal(const char *text)
{
    text += *text == '+' || *text == '-';
    const char *point = skip_digits(text), *end = point;
    if (*point == '.')
        end = skip_digits(point + 1);
    if (end - text - (*point == '.') < 1)
        return false;
    if (*end == 'e' || *end == 'E') {
        const char *exponent = end + 1 + (end[1] == '+' || end[1] == '-');
        end = skip_digits(exponent);
        if (end == exponent)
            return false;
    }
    return *end == '\0';
}

bool mm_parse_double(const char *text, double *out)
{
    if (!is_decimal(text))
        return false;
    locale_t before = mm_locale_enter();
    double value = strtod(text, NULL);
    mm_locale_leave(before);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

bool mm_parse_int(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    int64_t value = 0;
    text += *text == '+' || *text == '-';
    if (!*text)
        return false;
    for (; *text; text++) {
        int digit = *text - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

const char *mm_double_text(double value, char *out, size_t size)
{
    locale_t before = mm_locale_enter();
    if (value == trunc(value) && fabs(value) < 1e15) {
        snprintf(out, size, "%.0f", value);
        mm_locale_leave(before);
        return out;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, value);
        if (!isfinite(value) || strtod(out, NULL) == value)
            break;
    }
    mm_locale_leave(before);
    return out;
}

const char *mm_int_text(int64_t value, char *out, size_t size)
{
    snprintf(out, size, "%lld", (long long)value);
    return out;
}

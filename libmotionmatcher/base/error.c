/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/number.h"

/* Bytes of the character at `text` when it can be shown as it is; 0 when it cannot. */
static size_t printable_length(const char *text)
{
    unsigned char c = (unsigned char)*text;
    if (c < 0x80)
        return c >= 0x20 && c != 0x7f;
    for (size_t length = 2; length <= 4; length++) {
        if (mm_utf8_valid(text, length))
            return length;
    }
    return 0;
}

/* Names from untrusted files and directories end up in messages: a terminal must not obey them, and
   a message is UTF-8 whatever they are. */
static void copy_printable(char *out, size_t size, const char *text)
{
    size_t n = 0;
    while (*text && n + 5 < size) {
        size_t length = printable_length(text);
        if (length > 0)
            memcpy(out + n, text, length);
        n += length > 0 ? length
                        : (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned char)*text);
        text += length > 0 ? length : 1;
    }
    out[n] = '\0';
}

mm_status mm_fail(mm_error *error, mm_status status, const char *format, ...)
{
    if (!error)
        return status;
    char text[MM_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    mm_format_plain(text, sizeof(text), format, args);
    va_end(args);
    error->status = status;
    copy_printable(error->text, sizeof(error->text), text);
    return status;
}

mm_status mm_fail_memory(mm_error *error, const char *what, unsigned long long bytes)
{
    return mm_fail(error, MM_ERR_MEMORY, "not enough memory for %s (%llu bytes)", what, bytes);
}

mm_status mm_error_prefix(mm_error *error, const char *format, ...)
{
    if (!error)
        return MM_ERR_RUNTIME;
    char prefix[MM_ERROR_TEXT / 2], old[MM_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    mm_format_plain(prefix, sizeof(prefix), format, args);
    va_end(args);
    memcpy(old, error->text, sizeof(old));
    return mm_fail(error, error->status, "%s: %s", prefix, old);
}

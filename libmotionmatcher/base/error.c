/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names from untrusted files end up in messages: a terminal must not obey them. */
static void copy_printable(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 5 < size; p++) {
        if (*p >= 0x20 && *p != 0x7f)
            out[n++] = (char)*p;
        else
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", *p);
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
    vsnprintf(text, sizeof(text), format, args);
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
    vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    memcpy(old, error->text, sizeof(old));
    return mm_fail(error, error->status, "%s: %s", prefix, old);
}

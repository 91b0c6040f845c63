/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <stdarg.h>

#include "base/number.h"

void mm_log(const mm_logger *logger, mm_log_level level, const char *format, ...)
{
    if (!logger || !logger->sink)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    mm_format_plain(text, sizeof(text), format, args);
    va_end(args);
    logger->sink(logger->user, (int32_t)level, text);
}

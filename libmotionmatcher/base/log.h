/* SPDX-License-Identifier: BSD-2-Clause */
/* Notices on their way to the caller's log callback. */
#ifndef MM_BASE_LOG_H
#define MM_BASE_LOG_H

#include <stdint.h>

typedef enum mm_log_level {
    MM_LOG_WARNING = 1, /* the result may not be what the user expects */
    MM_LOG_NOTICE = 2,  /* something was ignored, chosen or clamped */
    MM_LOG_INFO = 3,    /* what is being done */
    MM_LOG_DEBUG = 4
} mm_log_level;

typedef void (*mm_log_sink)(void *user, int32_t level, const char *message);

/* A NULL logger or a NULL sink swallows everything. */
typedef struct mm_logger {
    mm_log_sink sink;
    void *user;
} mm_logger;

void mm_log(const mm_logger *logger, mm_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

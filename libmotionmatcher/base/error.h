/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors inside the library: a status is returned, the message goes into the caller's mm_error. */
#ifndef MM_BASE_ERROR_H
#define MM_BASE_ERROR_H

#include "motionmatcher/status.h"

#define MM_ERROR_TEXT 1024

typedef struct mm_error {
    mm_status status;
    char text[MM_ERROR_TEXT];
} mm_error;

/* Sets the message (cut at MM_ERROR_TEXT, control characters from hostile input shown as \xNN) and
   returns `status`, so that a failing function can end with `return mm_fail(...)`. */
mm_status mm_fail(mm_error *error, mm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For failed allocations: "not enough memory for <what> (<bytes> bytes)". */
mm_status mm_fail_memory(mm_error *error, const char *what, unsigned long long bytes);

/* Puts "<prefix>: " before the message that is already there. */
mm_status mm_error_prefix(mm_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Runs a call and returns its status from the enclosing function when it fails. */
#define MM_TRY(call)                       \
    do {                                   \
        mm_status mm_try_status_ = (call); \
        if (mm_try_status_ != MM_OK)       \
            return mm_try_status_;         \
    } while (0)

#endif

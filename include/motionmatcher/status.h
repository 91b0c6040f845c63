/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file status.h
 * What a call returns, and the message that goes with it.
 *
 * Every function that can fail returns an mm_status: MM_OK (0) or one of the negative values
 * below. A status is the negated exit code that the command-line tools end with, so a program
 * that wraps a tool and one that links the library see the same numbers. Each function names the
 * statuses to expect; take one that is not known for a failure. NULL for a parameter that is not
 * said to take it is MM_ERR_USAGE, and getters then return 0, "" or NULL. A handle that a failed
 * call would have made is NULL. The handles that were there before stay good: they can be used
 * again and have to be freed as ever.
 */
#ifndef MOTIONMATCHER_STATUS_H
#define MOTIONMATCHER_STATUS_H

#include <stdint.h>

#include "motionmatcher/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** MM_OK, or one of the values below. */
typedef int32_t mm_status;

/** Done. */
#define MM_OK 0
/** Failed while running; an output that cannot be created or written. */
#define MM_ERR_RUNTIME (-1)
/** Wrong use: a bad argument, an unknown option, a value outside its range, a wrong order of calls.
 */
#define MM_ERR_USAGE (-2)
/** An input cannot be read, is damaged, or does not fit. */
#define MM_ERR_INPUT (-3)
/** An input is recognised but not supported. */
#define MM_ERR_UNSUPPORTED (-4)
/** Not enough memory, or a plan does not fit the memory budget; what was there before stays good.
 */
#define MM_ERR_MEMORY (-5)
/** The device or backend that was asked for is not available. */
#define MM_ERR_DEVICE (-6)
/** A loss, a gradient or a sample is not finite. */
#define MM_ERR_NONFINITE (-7)
/** The caller asked to stop, by mm_context_stop(), mm_context_cancel() or a callback's result. */
#define MM_ERR_CANCELLED (-130)

/**
 * The name of a status as written above ("MM_ERR_INPUT"), or "MM_ERR_UNKNOWN".
 * @return a static string, never NULL. Thread-safety: any thread.
 */
MM_API const char *mm_status_name(mm_status status);

/**
 * What went wrong in the last call on this thread that did not return MM_OK: what, where, which
 * file, and what to do about it, in one line of UTF-8 without a final newline. Options go by their
 * names, which on the tools' command lines have two dashes before them.
 *
 * @return a string owned by the library, valid until the next failing call on this thread; "" when
 *         no call on this thread has failed. Thread-safety: each thread has its own message.
 */
MM_API const char *mm_last_error(void);

#ifdef __cplusplus
}
#endif

#endif

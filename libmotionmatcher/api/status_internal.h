/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_STATUS_INTERNAL_H
#define MM_API_STATUS_INTERNAL_H

#include "base/error.h"

/*
 * The end of every public function that can fail: when `status` is not MM_OK, the message becomes
 * this thread's mm_last_error(). Returns `status`. Typical use:
 *
 *     mm_error error = {0};
 *     return mm_api_return(open_model(out, directory, &error), &error);
 */
mm_status mm_api_return(mm_status status, const mm_error *error);

/* For wrong arguments: publishes "<function>: <what>" and returns MM_ERR_USAGE. */
mm_status mm_api_misuse(const char *function, const char *what);

#endif

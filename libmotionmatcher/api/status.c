/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/status_internal.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char last_message[MM_ERROR_TEXT];

const char *mm_status_name(mm_status status)
{
    switch (status) {
    case MM_OK:
        return "MM_OK";
    case MM_ERR_RUNTIME:
        return "MM_ERR_RUNTIME";
    case MM_ERR_USAGE:
        return "MM_ERR_USAGE";
    case MM_ERR_INPUT:
        return "MM_ERR_INPUT";
    case MM_ERR_UNSUPPORTED:
        return "MM_ERR_UNSUPPORTED";
    case MM_ERR_MEMORY:
        return "MM_ERR_MEMORY";
    case MM_ERR_DEVICE:
        return "MM_ERR_DEVICE";
    case MM_ERR_NONFINITE:
        return "MM_ERR_NONFINITE";
    case MM_ERR_CANCELLED:
        return "MM_ERR_CANCELLED";
    default:
        return "MM_ERR_UNKNOWN";
    }
}

const char *mm_last_error(void)
{
    return last_message;
}

mm_status mm_api_return(mm_status status, const mm_error *error)
{
    if (status != MM_OK) {
        memcpy(last_message, error->text, sizeof(last_message));
        last_message[sizeof(last_message) - 1] = '\0';
    }
    return status;
}

mm_status mm_api_misuse(const char *function, const char *what)
{
    snprintf(last_message, sizeof(last_message), "%s: %s", function, what);
    return MM_ERR_USAGE;
}

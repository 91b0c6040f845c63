/* SPDX-License-Identifier: BSD-2-Clause */
/* What the examples share: one way to end, options from "name=value" arguments. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <motionmatcher/context.h>
#include <motionmatcher/options.h>
#include <motionmatcher/status.h>

/* A status is the negated exit code of the tools; the message is this thread's. */
static inline int finish(mm_status status)
{
    if (status != MM_OK)
        fprintf(stderr, "%s: %s\n", mm_status_name(status), mm_last_error());
    return -status;
}

/* Options of a table from arguments like "width=256"; *out is to be freed in any case. */
static inline mm_status parse_options(mm_options **out, const char *table, int count,
                                      char *const *arguments)
{
    mm_status status = mm_options_create(out, table);
    for (int i = 0; status == MM_OK && i < count; i++) {
        char name[64];
        const char *equals = strchr(arguments[i], '=');
        size_t length = equals ? (size_t)(equals - arguments[i]) : strlen(arguments[i]);
        if (length >= sizeof(name))
            length = sizeof(name) - 1;
        memcpy(name, arguments[i], length);
        name[length] = '\0';
        status = mm_options_set(*out, name, equals ? equals + 1 : "true", MM_SOURCE_COMMAND_LINE);
    }
    return status;
}

static inline void print_message(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level <= MM_LEVEL_NOTICE)
        fprintf(stderr, "%s\n", message);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* How a benchmark ends when a call fails: with its message and status. */
#ifndef MM_BENCH_FAILURE_H
#define MM_BENCH_FAILURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

static mm_error error;

static void check(mm_status status)
{
    if (status == MM_OK)
        return;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, error.text);
    exit(-status);
}

#endif

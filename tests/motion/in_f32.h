/* SPDX-License-Identifier: BSD-2-Clause */
/* A context that computes in f32, and a scratch directory, for a whole program of tests. */
#ifndef MM_TESTS_MOTION_IN_F32_H
#define MM_TESTS_MOTION_IN_F32_H

#include "check.h"

static mm_context *context;
static char *scratch;

static int open_context(void **state)
{
    (void)state;
    scratch = check_directory();
    mm_options *options = check_options("context", "precision", "f32", NULL);
    OK(mm_context_create(&context, options));
    mm_options_free(&options);
    return 0;
}

static int close_context(void **state)
{
    (void)state;
    mm_context_free(&context);
    check_remove(scratch);
    return 0;
}

#endif

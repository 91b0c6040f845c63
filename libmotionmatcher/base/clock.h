/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_BASE_CLOCK_H
#define MM_BASE_CLOCK_H

#include <time.h>

/* Seconds on a clock that never goes back. */
static inline double mm_clock_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#endif

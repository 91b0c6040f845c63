/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/processors.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include "base/control_group.h"

#define MOST_PROCESSORS 4096

static int32_t affinity_count(void)
{
    cpu_set_t set[MOST_PROCESSORS / CPU_SETSIZE];
    CPU_ZERO_S(sizeof(set), set);
    if (sched_getaffinity(0, sizeof(set), set) != 0)
        return 1;
    return (int32_t)CPU_COUNT_S(sizeof(set), set);
}

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Processors that `quota` out of each `period` is worth, rounded up. */
static int32_t worth(int64_t quota, int64_t period)
{
    if (quota <= 0 || period <= 0)
        return MOST_PROCESSORS;
    int64_t count = (quota + period - 1) / period;
    return count < MOST_PROCESSORS ? (int32_t)count : MOST_PROCESSORS;
}

/* "<quota> <period>" of a version-2 group; "max" for no quota. */
static void take_quota(void *user, const char *line)
{
    int32_t *least = user;
    int64_t quota, period;
    if (sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) == 2)
        *least = smaller(*least, worth(quota, period));
}

static void take_number(void *user, const char *line)
{
    sscanf(line, "%" SCNd64, (int64_t *)user);
}

static int32_t legacy_limit(void)
{
    int64_t quota = -1, period = -1;
    mm_first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", take_number, &quota);
    mm_first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", take_number, &period);
    return worth(quota, period);
}

int32_t mm_usable_processors(void)
{
    int32_t least = smaller(affinity_count(), legacy_limit());
    mm_group_lines("cpu.max", take_quota, &least);
    return least > 0 ? least : 1;
}

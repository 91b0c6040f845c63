/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/processors.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MOST_PROCESSORS 4096

static int32_t affinity_count(void)
{
    cpu_set_t set[MOST_PROCESSORS / CPU_SETSIZE];
    CPU_ZERO_S(sizeof(set), set);
    if (sched_getaffinity(0, sizeof(set), set) != 0)
        return 1;
    return (int32_t)CPU_COUNT_S(sizeof(set), set);
}

/* Processors that `quota` out of each `period` is worth, rounded up. */
static int32_t worth(int64_t quota, int64_t period)
{
    if (quota <= 0 || period <= 0)
        return MOST_PROCESSORS;
    int64_t count = (quota + period - 1) / period;
    return count < MOST_PROCESSORS ? (int32_t)count : MOST_PROCESSORS;
}

static bool read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char *got = fgets(line, size, file);
    fclose(file);
    return got != NULL;
}

/* "<quota> <period>" of a version-2 group; "max" for no quota. */
static int32_t unified_limit(const char *group)
{
    char path[4200], line[64];
    int64_t quota, period;
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
    if (!read_line(path, line, sizeof(line)) ||
        sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) != 2)
        return MOST_PROCESSORS;
    return worth(quota, period);
}

/* Walks from this process's version-2 group to the root: every level's quota counts. */
static int32_t unified_limits(void)
{
    char line[4096];
    int32_t least = unified_limit("");
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        for (char *group = line + 3, *slash; (slash = strrchr(group, '/')); *slash = '\0') {
            int32_t limit = unified_limit(group);
            least = limit < least ? limit : least;
        }
    }
    if (file)
        fclose(file);
    return least;
}

static int32_t legacy_limit(void)
{
    char line[64];
    int64_t quota = -1, period = -1;
    if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, sizeof(line)))
        sscanf(line, "%" SCNd64, &quota);
    if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", line, sizeof(line)))
        sscanf(line, "%" SCNd64, &period);
    return worth(quota, period);
}

int32_t mm_usable_processors(void)
{
    int32_t count = affinity_count(), unified = unified_limits(), legacy = legacy_limit();
    count = unified < count ? unified : count;
    count = legacy < count ? legacy : count;
    return count > 0 ? count : 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/control_group.h"

#include <stdio.h>
#include <string.h>

#define MOST_PATH 4096

void mm_first_line(const char *path, mm_line_callback *take, void *user)
{
    char line[128];
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(line, sizeof(line), file))
        take(user, line);
    fclose(file);
}

static void group_line(const char *group, const char *name, mm_line_callback *take, void *user)
{
    char path[MOST_PATH + 128];
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/%s", group, name);
    mm_first_line(path, take, user);
}

void mm_group_lines(const char *name, mm_line_callback *take, void *user)
{
    char line[MOST_PATH];
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        for (char *group = line + 3, *slash; (slash = strrchr(group, '/')); *slash = '\0')
            group_line(group, name, take, user);
    }
    if (file)
        fclose(file);
    group_line("", name, take, user);
}

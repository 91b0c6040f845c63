/* SPDX-License-Identifier: BSD-2-Clause */
/* What the control groups of this process allow it, from the kernel's one-line files. */
#ifndef MM_BASE_CONTROL_GROUP_H
#define MM_BASE_CONTROL_GROUP_H

typedef void mm_line_callback(void *user, const char *line);

/* Hands over the first line of a file; does nothing where there is none. */
void mm_first_line(const char *path, mm_line_callback *take, void *user);
/* The same for a file of this name in each version-2 group from this process's own up to the root:
   every level's limit counts. */
void mm_group_lines(const char *name, mm_line_callback *take, void *user);

#endif

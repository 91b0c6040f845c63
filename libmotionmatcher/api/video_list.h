/* SPDX-License-Identifier: BSD-2-Clause */
/* The videos of a folder. */
#ifndef MM_API_VIDEO_LIST_H
#define MM_API_VIDEO_LIST_H

#include <stddef.h>

#include "base/error.h"

typedef struct mm_video_list {
    char **item; /* paths, in the order of the files' names */
    size_t count, capacity;
} mm_video_list;

/* MM_ERR_INPUT: cannot be read, or holds no video. The list must be freed after a failure too. */
mm_status mm_video_list_folder(mm_video_list *list, const char *folder, mm_error *error);
void mm_video_list_free(mm_video_list *list);

#endif

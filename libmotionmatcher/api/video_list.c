/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/video_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"

void mm_video_list_free(mm_video_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mm_free(list->item[i]);
    mm_free(list->item);
    *list = (mm_video_list){0};
}

static bool is_video_name(const char *name)
{
    static const char *const endings[] = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof(endings) / sizeof(*endings); i++) {
        if (strcasecmp(dot, endings[i]) == 0)
            return name[0] != '.';
    }
    return false;
}

static mm_status append_path(mm_video_list *list, const char *folder, const char *name,
                             mm_error *error)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **grown = mm_realloc(list->item, capacity * sizeof(*grown));
        if (!grown)
            return mm_fail_memory(error, "a list of videos", capacity * sizeof(*grown));
        list->item = grown;
        list->capacity = capacity;
    }
    char *path = mm_path_join(folder, name);
    if (!path)
        return mm_fail_memory(error, "a path", strlen(folder) + strlen(name));
    if (mm_path_is_directory(path))
        mm_free(path);
    else
        list->item[list->count++] = path;
    return MM_OK;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

mm_status mm_video_list_folder(mm_video_list *list, const char *folder, mm_error *error)
{
    *list = (mm_video_list){0};
    DIR *directory = opendir(folder);
    if (!directory)
        return mm_fail(error, MM_ERR_INPUT, "%s: cannot be opened: %s", folder, strerror(errno));
    mm_status status = MM_OK;
    for (struct dirent *entry; status == MM_OK && (entry = readdir(directory));) {
        if (is_video_name(entry->d_name))
            status = append_path(list, folder, entry->d_name, error);
    }
    closedir(directory);
    if (status == MM_OK && list->count == 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: no videos in this folder (.mp4, .mkv, .mov, .webm, .avi or .gif)",
                       folder);
    if (status == MM_OK)
        qsort(list->item, list->count, sizeof(*list->item), compare_paths);
    return status;
}

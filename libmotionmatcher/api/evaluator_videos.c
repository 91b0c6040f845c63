/* SPDX-License-Identifier: BSD-2-Clause */
/* Which videos are scored, and what they show. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/evaluator_internal.h"
#include "api/video_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* Paths while a folder is read. */
typedef struct path_list {
    char **item;
    size_t count, capacity;
} path_list;

static void free_paths(path_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mm_free(list->item[i]);
    mm_free(list->item);
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

static mm_status append_path(path_list *list, const char *folder, const char *name, mm_error *error)
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

static mm_status list_folder(path_list *list, const char *folder, mm_error *error)
{
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

/* Fresh: what was given, else the option, else the description beside the video. */
static mm_status find_prompt(const mm_evaluator *e, const char *path, const char *given, char **out,
                             mm_error *error)
{
    const char *prompt = given ? given : e->config->prompt;
    if (!prompt) {
        MM_TRY(mm_video_read_description_prompt(path, out, error));
        if (*out)
            return MM_OK;
        return mm_fail(error, MM_ERR_USAGE,
                       "%s: there is no .json beside it that tells the prompt; give one with "
                       "--prompt",
                       path);
    }
    if (!mm_utf8_valid(prompt, strlen(prompt)))
        return mm_fail(error, MM_ERR_USAGE, "the prompt is not UTF-8 text");
    *out = mm_strdup(prompt);
    return *out ? MM_OK : mm_fail_memory(error, "a prompt", strlen(prompt));
}

static mm_status reserve_video(mm_evaluator *e, mm_error *error)
{
    if (e->video_count < e->video_capacity)
        return MM_OK;
    size_t capacity = e->video_capacity ? 2 * e->video_capacity : 64;
    mm_evaluated_video *grown = mm_realloc(e->video, capacity * sizeof(*grown));
    if (!grown)
        return mm_fail_memory(error, "a list of videos", capacity * sizeof(*grown));
    e->video = grown;
    e->video_capacity = capacity;
    return MM_OK;
}

static mm_status add_video(mm_evaluator *e, const char *path, const char *prompt, mm_error *error)
{
    mm_evaluated_video video = {0};
    MM_TRY(reserve_video(e, error));
    /* A file that is not there is reported with the others that cannot be read. */
    if (mm_evaluator_needs_prompt(e) && (prompt || e->config->prompt || mm_path_is_file(path)))
        MM_TRY(find_prompt(e, path, prompt, &video.prompt, error));
    video.path = mm_strdup(path);
    if (!video.path) {
        mm_free(video.prompt);
        return mm_fail_memory(error, "a path", strlen(path));
    }
    e->video[e->video_count++] = video;
    return MM_OK;
}

static void drop_videos(mm_evaluator *e, size_t count)
{
    while (e->video_count > count) {
        mm_evaluated_video *video = &e->video[--e->video_count];
        mm_free(video->path);
        mm_free(video->prompt);
    }
}

static mm_status add_folder(mm_evaluator *e, const char *folder, const char *prompt,
                            mm_error *error)
{
    path_list list = {0};
    size_t before = e->video_count;
    mm_status status = list_folder(&list, folder, error);
    for (size_t i = 0; status == MM_OK && i < list.count; i++)
        status = add_video(e, list.item[i], prompt, error);
    if (status != MM_OK)
        drop_videos(e, before);
    free_paths(&list);
    return status;
}

mm_status mm_evaluator_add_videos(mm_evaluator *e, const char *path, const char *prompt,
                                  mm_error *error)
{
    return mm_path_is_directory(path) ? add_folder(e, path, prompt, error)
                                      : add_video(e, path, prompt, error);
}

void mm_evaluator_free_videos(mm_evaluator *e)
{
    drop_videos(e, 0);
    mm_free(e->video);
}

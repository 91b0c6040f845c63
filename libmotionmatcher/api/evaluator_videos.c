/* SPDX-License-Identifier: BSD-2-Clause */
/* Which videos are scored, and what they show. */
#include <string.h>

#include "api/evaluator_internal.h"
#include "api/video_internal.h"
#include "api/video_list.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

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
    mm_video_list list;
    size_t before = e->video_count;
    mm_status status = mm_video_list_folder(&list, folder, error);
    for (size_t i = 0; status == MM_OK && i < list.count; i++)
        status = add_video(e, list.item[i], prompt, error);
    if (status != MM_OK)
        drop_videos(e, before);
    mm_video_list_free(&list);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* Which videos are scored, and what they show. */
#include <string.h>

#include "api/evaluator_internal.h"
#include "api/video_internal.h"
#include "api/video_list.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "media/media.h"

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
                       "%s: there is no .json beside it that tells the prompt; set option "
                       "prompt",
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

/* Fresh: what was given, else the option. */
static mm_status find_reference(const mm_evaluator *e, const char *given, char **out,
                                mm_error *error)
{
    const char *reference = given ? given : e->config->reference;
    if (!reference)
        return mm_fail(error, MM_ERR_USAGE,
                       "motion discrepancy compares videos with a reference: name one in "
                       "option reference");
    *out = mm_strdup(reference);
    return *out ? MM_OK : mm_fail_memory(error, "a path", strlen(reference));
}

static void free_video(mm_evaluated_video *video)
{
    mm_free(video->path);
    mm_free(video->prompt);
    mm_free(video->reference);
}

/* What cannot be read is no failure yet: it is skipped when its turn comes. */
static void expect(mm_evaluator *e, const char *path, bool reference)
{
    mm_media_info info;
    if (mm_media_probe(&info, path, &(mm_error){0}) != MM_OK)
        return;
    int64_t pixels = (int64_t)info.width * info.height;
    if (pixels > e->most_pixels)
        e->most_pixels = pixels;
    for (size_t i = 0; i < e->metric_count; i++) {
        if (e->metric[i]->table->expect)
            e->metric[i]->table->expect(e->metric[i], &info, reference);
    }
}

static mm_status fill_video(const mm_evaluator *e, const mm_metric_video *given,
                            mm_evaluated_video *out, mm_error *error)
{
    /* A file that is not there is reported with the others that cannot be read. */
    bool known = given->prompt || e->config->prompt || mm_path_is_file(given->path);
    if (mm_evaluator_needs_prompt(e) && known)
        MM_TRY(find_prompt(e, given->path, given->prompt, &out->prompt, error));
    if (mm_evaluator_needs_reference(e))
        MM_TRY(find_reference(e, given->reference, &out->reference, error));
    out->path = mm_strdup(given->path);
    return out->path ? MM_OK : mm_fail_memory(error, "a path", strlen(given->path));
}

static bool is_last_reference(const mm_evaluator *e, const char *reference)
{
    return e->video_count && strcmp(e->video[e->video_count - 1].reference, reference) == 0;
}

static mm_status add_video(mm_evaluator *e, const mm_metric_video *given, mm_error *error)
{
    mm_evaluated_video video = {0};
    mm_status status = fill_video(e, given, &video, error);
    if (status == MM_OK)
        status = reserve_video(e, error);
    if (status != MM_OK) {
        free_video(&video);
        return status;
    }
    expect(e, video.path, false);
    if (video.reference && !is_last_reference(e, video.reference))
        expect(e, video.reference, true);
    e->video[e->video_count++] = video;
    return MM_OK;
}

static void drop_videos(mm_evaluator *e, size_t count)
{
    while (e->video_count > count)
        free_video(&e->video[--e->video_count]);
}

static mm_status add_folder(mm_evaluator *e, const mm_metric_video *folder, mm_error *error)
{
    mm_video_list list;
    size_t before = e->video_count;
    mm_status status = mm_video_list_folder(&list, folder->path, error);
    for (size_t i = 0; status == MM_OK && i < list.count; i++) {
        mm_metric_video video = {list.item[i], folder->prompt, folder->reference};
        status = add_video(e, &video, error);
    }
    if (status != MM_OK)
        drop_videos(e, before);
    mm_video_list_free(&list);
    return status;
}

mm_status mm_evaluator_add_videos(mm_evaluator *e, const mm_metric_video *video, mm_error *error)
{
    return mm_path_is_directory(video->path) ? add_folder(e, video, error)
                                             : add_video(e, video, error);
}

void mm_evaluator_free_videos(mm_evaluator *e)
{
    drop_videos(e, 0);
    mm_free(e->video);
}

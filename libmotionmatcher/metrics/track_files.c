/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/track_files.h"

#include <string.h>

#include "base/memory.h"
#include "base/number.h"
#include "weights/tensor_file.h"

void mm_track_files_free(mm_track_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        mm_free(files->name[i]);
    mm_free(files->name);
    *files = (mm_track_files){0};
}

static bool is_taken(const mm_track_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->name[i], name) == 0)
            return true;
    }
    return false;
}

/* The prefix, the video's name without folder and ending, and a number where that is taken. Owned
   by `files`; NULL without memory. */
static const char *choose_name(mm_track_files *files, const char *prefix, const char *path)
{
    const char *slash = strrchr(path, '/'), *stem = slash ? slash + 1 : path;
    const char *dot = strrchr(stem, '.');
    int length = (int)(dot && dot != stem ? (size_t)(dot - stem) : strlen(stem));
    char *name = mm_format("%s%.*s", prefix, length, stem);
    for (int number = 2; name && is_taken(files, name); number++) {
        mm_free(name);
        name = mm_format("%s%.*s_%d", prefix, length, stem, number);
    }
    char **grown = name ? mm_realloc(files->name, (files->count + 1) * sizeof(*files->name)) : NULL;
    if (!grown) {
        mm_free(name);
        return NULL;
    }
    files->name = grown;
    return files->name[files->count++] = name;
}

static mm_status write_tensors(const char *path, const mm_tracks *tracks, mm_error *error)
{
    char width[MM_INT_TEXT], height[MM_INT_TEXT];
    mm_tensor_entry entry[] = {
        {"tracks", MM_F32, MM_SHAPE(tracks->frames, tracks->points, 2), tracks->place},
        {"visible", MM_U8, MM_SHAPE(tracks->frames, tracks->points), tracks->visible}};
    mm_metadata_entry metadata[] = {
        {"width", mm_int_text(tracks->width, width, sizeof(width))},
        {"height", mm_int_text(tracks->height, height, sizeof(height))}};
    return mm_safetensors_write(path, entry, 2, metadata, 2, error);
}

static mm_status write_picture(const char *path, const mm_frames *video, const mm_tracks *tracks,
                               const mm_logger *logger, mm_error *error)
{
    mm_frames drawn;
    MM_TRY(mm_tracks_draw(&drawn, video, tracks, error));
    mm_status status = mm_media_write(path, &drawn, logger, error);
    mm_frames_free(&drawn);
    return status;
}

mm_status mm_track_files_write(mm_track_files *files, const char *prefix, const char *video_path,
                               const mm_frames *video, const mm_tracks *tracks,
                               const mm_track_report *report, mm_error *error)
{
    const char *name = choose_name(files, prefix, video_path);
    mm_status status = name ? MM_OK : mm_fail_memory(error, "a file name", 0);
    for (int picture = 0; status == MM_OK && picture < 2; picture++) {
        char *path = mm_format("%s/%s%s", files->folder, name, picture ? ".png" : ".safetensors");
        if (!path)
            return mm_fail_memory(error, "a path", strlen(files->folder) + strlen(name));
        status = picture ? write_picture(path, video, tracks, report->logger, error)
                         : write_tensors(path, tracks, error);
        if (status == MM_OK && report->saved)
            report->saved(report->user, path);
        mm_free(path);
    }
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracks on disk: for each video a safetensors file and a picture of the tracks over its frames. */
#ifndef MM_METRICS_TRACK_FILES_H
#define MM_METRICS_TRACK_FILES_H

#include <stddef.h>

#include "base/log.h"
#include "metrics/tracks.h"

/* The folder and the names that were given in it; two videos of one name get different ones. */
typedef struct mm_track_files {
    const char *folder;
    char **name;
    size_t count;
} mm_track_files;

void mm_track_files_free(mm_track_files *files);

typedef struct mm_track_report {
    void (*saved)(void *user, const char *path); /* may be NULL */
    void *user;
    const mm_logger *logger;
} mm_track_report;

/* Writes <folder>/<prefix><name of the video>.safetensors with `tracks` [T, N, 2] and `visible`
   [T, N], and .png. The tracks must be in the video's pixels. */
mm_status mm_track_files_write(mm_track_files *files, const char *prefix, const char *video_path,
                               const mm_frames *video, const mm_tracks *tracks,
                               const mm_track_report *report, mm_error *error);

#endif

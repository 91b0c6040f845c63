/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an evaluation asks of a metric. Frames are handed over one by one as they are decoded; a
 * metric keeps of them what it needs. One const table of functions per metric; the object begins
 * with an mm_metric.
 *
 * Order of calls: plan, load, then for each video begin, add_frame for every frame, finish. After a
 * failure the next call is begin or free.
 */
#ifndef MM_METRICS_METRIC_H
#define MM_METRICS_METRIC_H

#include "media/media.h"
#include "models/diffusion_model.h"

#define MM_MOST_FIGURES 4

typedef struct mm_picture {
    const uint8_t *rgb; /* [height][width][3], top row first; valid during the call */
    int64_t width, height;
} mm_picture;

/* A video that is about to be scored; valid during the call. */
typedef struct mm_metric_video {
    const char *path;
    const char *prompt;    /* NULL where no metric needs one */
    const char *reference; /* path of the video to compare with; NULL where no metric needs one */
} mm_metric_video;

typedef struct mm_metric mm_metric;

typedef struct mm_metric_table {
    const char *name;
    size_t figure_count;
    const char *figure[MM_MOST_FIGURES];
    bool needs_prompt, needs_reference;
    void (*free)(mm_metric *metric);
    /* Before `plan`: what the container says of a video that will be scored, or of a reference.
       NULL where that does not matter. */
    void (*expect)(mm_metric *metric, const mm_media_info *info, bool reference);
    /* Bytes of its weights once loaded. */
    size_t (*weight_bytes)(const mm_metric *metric);
    /* Chooses how much is computed together so that no more than `budget` bytes are taken beside
       the weights; *bytes is what will be. MM_ERR_MEMORY says the least that would do. */
    mm_status (*plan)(mm_metric *metric, size_t budget, size_t *bytes, mm_error *error);
    mm_status (*load)(mm_metric *metric, mm_error *error);
    /* MM_ERR_INPUT and MM_ERR_UNSUPPORTED, here and below, mean that this video cannot be scored;
       all else ends the run. */
    mm_status (*begin)(mm_metric *metric, const mm_metric_video *video, mm_error *error);
    mm_status (*add_frame)(mm_metric *metric, const mm_picture *frame, mm_error *error);
    /* One value per figure; NaN for a figure that is undefined for this video, with a notice.
       MM_ERR_NONFINITE: a value that should be finite is not. */
    mm_status (*finish)(mm_metric *metric, double *values, mm_error *error);
} mm_metric_table;

struct mm_metric {
    const mm_metric_table *table;
    const mm_runtime *runtime;
};

/* Loads the weights; what is notable about the file was said when it was opened. */
mm_status mm_metric_load(const mm_metric *metric, mm_component *component, mm_error *error);
/* Replaces *to by a copy. */
mm_status mm_metric_keep_text(char **to, const char *text, mm_error *error);
/* Is *kept this text? If not it is forgotten, so that a failure behind leaves nothing half done. */
bool mm_metric_has_text(char **kept, const char *text);
/* MM_ERR_NONFINITE names video and figure. */
mm_status mm_metric_check_finite(const mm_metric *metric, const char *path, size_t figure,
                                 double value, mm_error *error);

#endif

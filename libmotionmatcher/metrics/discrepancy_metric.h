/* SPDX-License-Identifier: BSD-2-Clause */
/* Motion discrepancy of videos to their references, as a metric of the evaluation. The tracks of a
   reference are kept until a video names another. */
#ifndef MM_METRICS_DISCREPANCY_METRIC_H
#define MM_METRICS_DISCREPANCY_METRIC_H

#include "metrics/metric.h"
#include "metrics/tracker/tracker.h"

typedef struct mm_discrepancy_settings {
    const char *tracker; /* weight file */
    int64_t tracker_width, tracker_height;
    int64_t grid;
    /* Tracks are compared as if every video had this size, which divides, too; 0: in each video's
       own pixels, divided by the size below. */
    int64_t width, height;
    const char *save; /* folder for tracks and pictures of them; NULL: none */
    void (*saved)(void *user, const char *path);
    mm_tracker_progress progress;
    void *user; /* of both */
} mm_discrepancy_settings;

/* The released script divides by these whatever the videos' sizes. */
#define MM_DISCREPANCY_WIDTH 384
#define MM_DISCREPANCY_HEIGHT 384

/* "384x384" or, where `native` is given, "native": 0 and 0. MM_ERR_USAGE names the option. */
mm_status mm_discrepancy_parse_size(const char *option, const char *text, bool *native,
                                    int64_t *width, int64_t *height, mm_error *error);

/* Opens the tracker. Strings and runtime must outlive the metric. */
mm_status mm_discrepancy_metric_create(mm_metric **out, const mm_runtime *runtime,
                                       const mm_discrepancy_settings *settings, mm_error *error);

#endif

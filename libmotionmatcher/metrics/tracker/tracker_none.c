/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/tracker/tracker.h"

mm_status mm_tracker_open(mm_tracker **out, const char *path, int64_t width, int64_t height,
                          const mm_logger *logger, mm_error *error)
{
    (void)width;
    (void)height;
    (void)logger;
    *out = NULL;
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: this build has no tracker (it was configured with -Dtracker=false)", path);
}

void mm_tracker_free(mm_tracker **tracker, mm_backend *backend)
{
    (void)backend;
    *tracker = NULL;
}

size_t mm_tracker_weight_bytes(const mm_tracker *tracker, const mm_backend *backend)
{
    (void)tracker;
    (void)backend;
    return 0;
}

mm_status mm_tracker_plan(mm_tracker *tracker, mm_backend *backend, const mm_tracker_size *size,
                          size_t *bytes, mm_error *error)
{
    (void)tracker;
    (void)backend;
    (void)size;
    *bytes = 0;
    return mm_fail(error, MM_ERR_UNSUPPORTED, "this build has no tracker");
}

mm_status mm_tracker_load(mm_tracker *tracker, const mm_runtime *runtime, mm_error *error)
{
    (void)tracker;
    (void)runtime;
    return mm_fail(error, MM_ERR_UNSUPPORTED, "this build has no tracker");
}

mm_status mm_tracker_run(mm_tracker *tracker, const mm_runtime *runtime,
                         const mm_tracker_request *request, mm_tracks *out, mm_error *error)
{
    (void)tracker;
    (void)runtime;
    (void)request;
    *out = (mm_tracks){0};
    return mm_fail(error, MM_ERR_UNSUPPORTED, "this build has no tracker");
}

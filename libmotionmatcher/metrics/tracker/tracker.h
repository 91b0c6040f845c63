/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The point tracker of the motion discrepancy: CoTracker3's offline network (Karaev et al., 2024),
 * from its weight file. A grid of points of the first frame is followed through all frames, all
 * points and frames at a time, and refined six times.
 *
 * In a build without the tracker every call fails with MM_ERR_UNSUPPORTED.
 */
#ifndef MM_METRICS_TRACKER_H
#define MM_METRICS_TRACKER_H

#include "metrics/tracks.h"
#include "models/diffusion_model.h"

typedef struct mm_tracker mm_tracker;

/* The size to which the network scales every video; the published weights were trained with it. */
#define MM_TRACKER_WIDTH 512
#define MM_TRACKER_HEIGHT 384
#define MM_TRACKER_STRIDE 4
#define MM_TRACKER_LEVELS 4
#define MM_TRACKER_ITERATIONS 6
#define MM_TRACKER_MOST_GRID 256

/* width and height: of the scaled videos, multiples of 32. Sizes come from the tensors; no weight
   is loaded yet. MM_ERR_INPUT: not a tracker's weights, tensors missing or misshapen. */
mm_status mm_tracker_open(mm_tracker **out, const char *path, int64_t width, int64_t height,
                          const mm_logger *logger, mm_error *error);
/* `backend` is the one that the tracker ran on; NULL when it never ran. */
void mm_tracker_free(mm_tracker **tracker, mm_backend *backend);

/* What an iteration leaves. */
typedef struct mm_tracker_step {
    int32_t iteration;   /* from 1 */
    double seconds;      /* the first includes reading the video */
    const float *places; /* [frames, points, 2] in units of the stride */
} mm_tracker_step;

/* A non-zero return cancels. */
typedef int32_t (*mm_tracker_progress)(void *user, const mm_tracker_step *step);

typedef struct mm_tracker_request {
    const mm_frames *video;
    int64_t grid;                 /* points of a side */
    mm_tracker_progress progress; /* called after every iteration; may be NULL */
    void *user;
} mm_tracker_request;

size_t mm_tracker_weight_bytes(const mm_tracker *tracker, const mm_backend *backend);

typedef struct mm_tracker_size {
    int64_t frames, width, height, grid;
} mm_tracker_size;

/* Bytes that tracking in a video of this size takes at the most, beside the weights. */
mm_status mm_tracker_plan(mm_tracker *tracker, mm_backend *backend, const mm_tracker_size *size,
                          size_t *bytes, mm_error *error);
mm_status mm_tracker_load(mm_tracker *tracker, const mm_runtime *runtime, mm_error *error);
/* Follows the grid; the places are in the video's own pixels. Loads the weights when needed.
   MM_ERR_INPUT: a video of one frame; MM_ERR_NONFINITE. */
mm_status mm_tracker_run(mm_tracker *tracker, const mm_runtime *runtime,
                         const mm_tracker_request *request, mm_tracks *out, mm_error *error);

#endif

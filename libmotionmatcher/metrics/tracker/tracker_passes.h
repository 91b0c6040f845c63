/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracker's networks compiled for one video's size, and what lies between them. */
#ifndef MM_METRICS_TRACKER_PASSES_H
#define MM_METRICS_TRACKER_PASSES_H

#include "graph/executable.h"
#include "metrics/tracker/tracker_network.h"

struct mm_tracker {
    mm_tracker_config config;
    mm_component component;
    const mm_logger *logger;
    float *time; /* the stored embedding [window, token], read with the first video */
};

/* Feature maps of all frames, level by level: [F, h, w, features]. */
typedef struct mm_tracker_pyramid {
    float *map[MM_TRACKER_LEVELS];
} mm_tracker_pyramid;

mm_status mm_tracker_pyramid_create(mm_tracker_pyramid *out, const mm_tracker_config *config,
                                    int64_t frames, mm_error *error);
void mm_tracker_pyramid_free(mm_tracker_pyramid *pyramid);
size_t mm_tracker_pyramid_bytes(const mm_tracker_config *config, int64_t frames);

/* Fills the pyramid from the video, frame by frame. The weights must have been loaded. */
mm_status mm_tracker_read_video(mm_tracker *tracker, const mm_runtime *runtime,
                                const mm_frames *video, mm_tracker_pyramid *out, mm_error *error);
/* Bytes that this takes beside the pyramid. */
mm_status mm_tracker_plan_reading(mm_tracker *tracker, mm_backend *backend, int64_t height,
                                  int64_t width, size_t *bytes, mm_error *error);
/* Gives the constants of a compiled network their values. */
mm_status mm_tracker_write_units(mm_executable *executable, mm_tracker_units units,
                                 mm_error *error);

/* Everything about the points of one video, frame by frame; places in units of the stride. */
typedef struct mm_tracker_points {
    int64_t frames, count;
    const float *origins; /* [N, 2] */
    float *places;        /* [F, N, 2] */
    float *state;         /* [F, N, 2]: visibility and confidence, raw */
} mm_tracker_points;

typedef struct mm_tracker_iteration mm_tracker_iteration;

/* Compiles one iteration. */
mm_status mm_tracker_iteration_create(mm_tracker_iteration **out, mm_tracker *tracker,
                                      mm_backend *backend, int64_t frames, int64_t points,
                                      mm_error *error);
void mm_tracker_iteration_free(mm_tracker_iteration **iteration);
size_t mm_tracker_iteration_bytes(const mm_tracker_iteration *iteration);
/* Hands over what stays the same from iteration to iteration. */
mm_status mm_tracker_iteration_begin(mm_tracker_iteration *iteration, mm_tracker *tracker,
                                     const mm_tracker_pyramid *pyramid, mm_error *error);
/* Refines places and state. */
mm_status mm_tracker_iteration_run(mm_tracker_iteration *iteration, const mm_tracker_points *points,
                                   const atomic_int *cancel, mm_error *error);

#endif

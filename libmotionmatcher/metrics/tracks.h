/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths of points through a video. */
#ifndef MM_METRICS_TRACKS_H
#define MM_METRICS_TRACKS_H

#include <stdint.h>

#include "base/error.h"
#include "media/media.h"

typedef struct mm_tracks {
    int64_t frames, points;
    int64_t width, height; /* of the video whose pixels the places are given in */
    float *place;          /* [frames, points, 2]: x, y */
    uint8_t *visible;      /* [frames, points] */
} mm_tracks;

mm_status mm_tracks_allocate(mm_tracks *out, int64_t frames, int64_t points, mm_error *error);
void mm_tracks_free(mm_tracks *tracks);
/* Places as if the video had this size: corners stay corners. */
void mm_tracks_rescale(mm_tracks *tracks, int64_t width, int64_t height);

/*
 * Motion discrepancy (MotionMatcher, eq. 9): the mean over points of the squared distance to the
 * nearest track of the other video, summed over both directions, divided by 2 F H W:
 *   1/(2 F H W) (mean_i min_j |T_i - U_j|^2 + mean_j min_i |T_i - U_j|^2)
 * where a track is the vector of its 2 F coordinates, and H and W are `height` and `width`.
 * MM_ERR_INPUT: different numbers of frames; MM_ERR_NONFINITE: a track is not finite.
 */
mm_status mm_motion_discrepancy(const mm_tracks *a, const mm_tracks *b, int64_t width,
                                int64_t height, double *out, mm_error *error);

/* Draws every path up to each frame's time over a darkened copy of the frames: coloured by where it
   begins, hollow where the point is hidden. The tracks must be in the frames' pixels. */
mm_status mm_tracks_draw(mm_frames *out, const mm_frames *frames, const mm_tracks *tracks,
                         mm_error *error);

#endif

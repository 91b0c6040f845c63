/* SPDX-License-Identifier: BSD-2-Clause */
/* How stored pictures are turned for display. */
#ifndef MM_MEDIA_ORIENTATION_H
#define MM_MEDIA_ORIENTATION_H

#include <stdbool.h>
#include <stdint.h>

/* First rows and columns are exchanged, then the sides. */
typedef struct mm_orientation {
    bool transpose, flip_x, flip_y;
} mm_orientation;

/* From a display matrix of 9 numbers, or upright for NULL. Angles between the quarter turns are
   taken as the nearest quarter; *exact (may be NULL) says that there was none. */
mm_orientation mm_orientation_from_matrix(const int32_t *matrix, bool *exact);
/* The filters that do it, each with a final comma; "" when upright. */
const char *mm_orientation_filters(mm_orientation orientation);

#endif

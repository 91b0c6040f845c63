/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pictures as the image encoders were trained on them: the short side scaled to a given length with
 * a bicubic filter (a = -1/2) that is widened when shrinking, in the 8-bit fixed-point arithmetic
 * of Pillow, byte for byte; then a square cut out of the middle.
 */
#ifndef MM_METRICS_IMAGE_SCALING_H
#define MM_METRICS_IMAGE_SCALING_H

#include "base/error.h"
#include "metrics/metric.h"

/* Where the square lies when it cannot lie in the middle: half a pixel to the left or up, or to the
   even one of both places. */
typedef enum mm_crop_rounding { MM_CROP_DOWN = 0, MM_CROP_TO_EVEN } mm_crop_rounding;

typedef struct mm_image_geometry {
    int64_t short_side; /* after scaling, at least `side` */
    int64_t side;       /* of the square */
    mm_crop_rounding rounding;
} mm_image_geometry;

/* out: [side][side][3]. MM_ERR_MEMORY. */
mm_status mm_image_scale_and_crop(const mm_picture *picture, const mm_image_geometry *geometry,
                                  uint8_t *out, mm_error *error);

#endif

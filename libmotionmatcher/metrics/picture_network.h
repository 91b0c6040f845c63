/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A network that looks at pictures, over the frames of a video: frames are scaled and cut as they
 * come, and computed several at a time.
 */
#ifndef MM_METRICS_PICTURE_NETWORK_H
#define MM_METRICS_PICTURE_NETWORK_H

#include "metrics/image_scaling.h"

/* Frames that are computed together at most: more gain nothing measurable. */
#define MM_PICTURES_AT_ONCE 16

/* How bytes become numbers: value[byte of a channel]. */
typedef struct mm_pixel_values {
    float value[3][256];
} mm_pixel_values;

typedef struct mm_picture_graph {
    mm_graph *graph;
    mm_node *patches; /* [pictures, patches, 3 size size] */
    mm_node *zeros;   /* i64 [pictures], always 0 */
    mm_node *output;  /* [pictures, outputs] */
    mm_node *other;   /* one more input of the network and what it holds; may be NULL */
    const void *other_data;
} mm_picture_graph;

/* Appends the network after its two common inputs: sets output and what else there is. */
typedef mm_status (*mm_picture_builder)(void *user, mm_picture_graph *graph, int64_t pictures,
                                        mm_error *error);
/* Takes what the network made of `count` frames: [count][outputs]. */
typedef mm_status (*mm_picture_taker)(void *user, const float *values, int64_t count,
                                      mm_error *error);

/* A network compiled for a number of pictures; 0: not compiled. */
typedef struct mm_picture_executable {
    int64_t pictures;
    mm_picture_graph graph;
    mm_executable *executable;
} mm_picture_executable;

typedef struct mm_picture_network {
    const mm_runtime *runtime;
    mm_image_geometry geometry;
    mm_pixel_values pixels;
    int64_t patch_size, outputs;
    mm_picture_builder build;
    mm_picture_taker take;
    void *user;
    int64_t most;    /* frames computed together */
    int64_t waiting; /* frames in `patches` */
    float *patches;  /* of `most` frames */
    float *values;   /* outputs of `most` frames */
    uint8_t *square; /* a frame scaled and cut */
    mm_picture_executable full, rest;
} mm_picture_network;

/* Chooses `most` for the budget; *bytes is what will be taken. May be called again. MM_ERR_MEMORY
   says the least that would do. */
mm_status mm_picture_network_plan(mm_picture_network *network, size_t budget, size_t *bytes,
                                  mm_error *error);
mm_status mm_picture_network_add(mm_picture_network *network, const mm_picture *frame,
                                 mm_error *error);
/* Computes the frames that still wait. */
mm_status mm_picture_network_flush(mm_picture_network *network, mm_error *error);
/* Forgets frames that wait, and with `compiled` the executables, too: another video, or a change of
   what `build` does. */
void mm_picture_network_reset(mm_picture_network *network, bool compiled);
void mm_picture_network_free(mm_picture_network *network);

#endif

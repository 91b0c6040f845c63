/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_RETRIEVER_INTERNAL_H
#define MM_API_RETRIEVER_INTERNAL_H

#include "api/extractor_internal.h"
#include "metrics/tracker/tracker.h"
#include "motionmatcher/retriever.h"

typedef enum mm_retrieval_distance {
    MM_DISTANCE_MOTION,
    MM_DISTANCE_CA,
    MM_DISTANCE_TSA,
    MM_DISTANCE_LATENTS,
    MM_DISTANCE_RESIDUALS,
    MM_DISTANCE_COUNT
} mm_retrieval_distance;

/* What is kept of a video. */
typedef struct mm_retrieved_clip {
    char *path;
    float *ca, *tsa, *latents; /* NULL: it could not be read */
    mm_tracks tracks;          /* with a tracker */
} mm_retrieved_clip;

/* A line of the file of positives. */
typedef struct mm_positive {
    const char *query; /* NULL: of the one query */
    const char *video;
} mm_positive;

/* What should be found. */
typedef struct mm_retrieval_truth {
    char *text; /* the file, cut into strings; NULL without one */
    mm_positive *positive;
    size_t count;
} mm_retrieval_truth;

struct mm_retriever {
    mm_model *model;
    mm_options *options, *feature_options;
    const mm_retrieve_config *config;
    mm_extractor *extractor;
    mm_tracker *tracker; /* NULL: none */
    mm_retrieval_truth truth;
    mm_retrieved_clip *clip; /* the query of the options first, if there is one */
    size_t count, capacity;
    bool told_of_missing_prompt;
};

static inline bool mm_clip_usable(const mm_retrieved_clip *clip)
{
    return clip->latents != NULL;
}

/* retriever_clips.c */
mm_status mm_retriever_add_clip(mm_retriever *retriever, const char *path, mm_error *error);
void mm_retriever_free_clips(mm_retriever *retriever);
/* Decodes the clip and keeps its features. */
mm_status mm_retriever_look(mm_retriever *retriever, mm_retrieved_clip *clip, mm_error *error);
/* Decodes it again and follows its points. */
mm_status mm_retriever_track(mm_retriever *retriever, mm_retrieved_clip *clip, mm_error *error);
/* Bytes that one clip keeps. */
size_t mm_retriever_clip_bytes(const mm_retriever *retriever);
void mm_retriever_measure(const mm_retriever *retriever, const mm_retrieved_clip *a,
                          const mm_retrieved_clip *b, double distance[MM_DISTANCE_COUNT]);

/* retriever_truth.c */
mm_status mm_retrieval_truth_read(mm_retrieval_truth *out, const char *path, bool all,
                                  mm_error *error);
void mm_retrieval_truth_free(mm_retrieval_truth *truth);
/* MM_ERR_USAGE: a line names no video of the retriever. */
mm_status mm_retrieval_truth_check(const mm_retriever *retriever, mm_error *error);
/* positive[i] for every usable clip but the query, in their order. */
mm_status mm_retrieval_truth_of(const mm_retriever *retriever, size_t query, bool *positive,
                                mm_error *error);

#endif

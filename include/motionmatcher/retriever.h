/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file retriever.h
 * Finds videos of like motion by the method's motion features (MotionMatcher, arXiv 2502.13234,
 * appendix C), and measures how well that works.
 *
 * Distances between two clips, by name; all but the first are mean squared differences:
 * - "motion": spatial_weight times "ca" plus temporal_weight times "tsa";
 * - "ca", "tsa": of the motion features at the option timestep, with the same noise for all clips;
 * - "latents": of the clips' latents, without noise;
 * - "residuals": of the differences between the latents of consecutive frames, likewise.
 *
 * Where it is known which videos should be found, the average precision of every distance is
 * reported. It is known from the option positives, or with the option tracker_model: the videos of
 * smallest motion discrepancy to the query.
 *
 * Order of calls: mm_retriever_create(); mm_retriever_add() for each video or folder;
 * mm_retriever_run().
 */
#ifndef MOTIONMATCHER_RETRIEVER_H
#define MOTIONMATCHER_RETRIEVER_H

#include <stddef.h>

#include "motionmatcher/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Ranks videos by their motion. It holds the features of every video until it is freed, and runs as
 * often as is wanted. One thread at a time, as all handles of one context.
 */
typedef struct mm_retriever mm_retriever;

#define MM_RETRIEVED_VIDEO 1   /**< a video found for a query; nearest by "motion" first */
#define MM_RETRIEVED_QUERY 2   /**< all videos of a query were reported */
#define MM_RETRIEVED_MEAN 3    /**< means over all queries */
#define MM_RETRIEVED_SKIPPED 4 /**< a video that cannot be read */

/**
 * What was found. For each query its videos come first, by rank, then the query itself; the means
 * come last, skipped videos as they are met. Pointers are valid during the call.
 */
typedef struct mm_retrieval {
    uint32_t struct_size; /**< set by the library; fields beyond it are not there */
    int32_t kind;         /**< MM_RETRIEVED_... */
    const char *query;    /**< path; NULL for means and skipped videos */
    const char *path;     /**< of the video found or skipped; else NULL */
    mm_status status;     /**< of a skipped video: why */
    const char *message;  /**< of a skipped video: what was wrong; else NULL */
    int64_t rank;         /**< of a video found, from 1 */
    int32_t positive;     /**< of a video found: 1 or 0; -1 when that is not known */
    int64_t positives;    /**< of a query: how many should be found; for means 0 */
    int64_t candidates;   /**< of a query: how many were ranked; for means the number of queries */
    size_t figure_count;  /**< of the arrays below */
    const char *const *figures; /**< names of the distances, see above */
    const double *values;  /**< of a video found: distances; else average precisions, NaN when it is
                              not known what should be found */
    const double *spreads; /**< of the mean: standard deviations over the queries; else NULL */
    double chance;         /**< the average precision that a random order has on average */
} mm_retrieval;

/**
 * Receives the results, on the thread that runs.
 * @param user      as given to mm_retriever_run().
 * @param retrieval owned by the library.
 * @return 0 to go on; anything else stops as mm_context_stop() does.
 */
typedef int32_t (*mm_retrieval_callback)(void *user, const mm_retrieval *retrieval);

/**
 * Checks every setting and opens the tracker and the file of positives, if the options name them.
 * @param out     receives the handle, which keeps the model alive; NULL on failure.
 * @param options of table "retrieve", copied.
 * @return MM_OK; MM_ERR_USAGE: neither query nor all, both positives and tracker_model, settings
 * that do not fit the model; MM_ERR_INPUT: a file is missing, damaged or of another shape;
 * MM_ERR_UNSUPPORTED; MM_ERR_MEMORY.
 */
MM_API mm_status mm_retriever_create(mm_retriever **out, mm_model *model,
                                     const mm_options *options);
/** Sets *retriever to NULL; accepts NULL. */
MM_API void mm_retriever_free(mm_retriever **retriever);
/**
 * Adds a video, or every video of a folder (not of its subfolders) in the order of their names. The
 * query of the options is there already; a path that was added before is not added again.
 * That a file is missing or damaged shows in mm_retriever_plan() and mm_retriever_run().
 * @param path UTF-8; copied.
 * @return MM_OK; MM_ERR_INPUT: a folder without videos; MM_ERR_USAGE: a NULL; MM_ERR_MEMORY.
 */
MM_API mm_status mm_retriever_add(mm_retriever *retriever, const char *path);
/** @return number of videos, the query included; 0 for NULL. */
MM_API size_t mm_retriever_video_count(const mm_retriever *retriever);
/**
 * The memory plan, without loading weights: reports MM_EVENT_PLAN. Opens every video.
 * @return MM_OK; MM_ERR_INPUT: a video cannot be opened; MM_ERR_MEMORY: also where the plan exceeds
 * the budget, which grows with the number of videos.
 */
MM_API mm_status mm_retriever_plan(mm_retriever *retriever);
/**
 * Looks at every video, then reports each query's videos and its average precisions, and at the end
 * the means. A video that cannot be read is reported and left out.
 * @param callback may be NULL.
 * @param user     handed to the callback.
 * @return MM_OK; MM_ERR_USAGE: fewer than two videos, or positives that are not among them;
 *         MM_ERR_INPUT: the query, or all videos but one, cannot be read; MM_ERR_RUNTIME: some
 * videos were skipped; MM_ERR_NONFINITE; MM_ERR_CANCELLED; MM_ERR_MEMORY.
 */
MM_API mm_status mm_retriever_run(mm_retriever *retriever, mm_retrieval_callback callback,
                                  void *user);

#ifdef __cplusplus
}
#endif

#endif

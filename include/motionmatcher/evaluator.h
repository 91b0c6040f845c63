/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file evaluator.h
 * Scores videos with the metrics whose models the options name. Figures, by name:
 * - "clip_text", "frame_consistency" (option clip_model): mean cosine of the prompt's CLIP feature
 *   and each frame's, and of consecutive frames' features;
 * - "image_reward" (option image_reward_model): mean over the frames, standardised;
 * - "motion_discrepancy" (option tracker_model): how far the motion of points is from the
 *   reference video's (option reference, or mm_evaluator_add_pair()), which must have as many
 *   frames; lower is better. Compared at the option size.
 *
 * Order of calls: mm_evaluator_create(); mm_evaluator_add() for each video or folder;
 * mm_evaluator_run(). Models are loaded once; of a video no more frames are held than the metrics
 * look at together, so that memory stays within the context's budget for videos of any length.
 */
#ifndef MOTIONMATCHER_EVALUATOR_H
#define MOTIONMATCHER_EVALUATOR_H

#include <stddef.h>

#include "motionmatcher/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Scores videos. */
typedef struct mm_evaluator mm_evaluator;

/** The figures of one video, or the means of all videos. Pointers are valid during the call. */
typedef struct mm_score {
    uint32_t struct_size; /**< set by the library; fields beyond it are not there */
    mm_status status;     /**< MM_OK, or why the video was skipped; then there are no figures */
    const char *path;     /**< of the video; NULL for the means over all scored videos */
    const char *message;  /**< what was wrong with a skipped video; else NULL */
    const char *prompt;   /**< what it was compared with; NULL when no metric asks for one */
    int64_t frames;       /**< that were scored; for the means the number of videos */
    size_t figure_count;  /**< of the arrays below */
    const char *const *figures; /**< names */
    const double *values;       /**< NaN where a figure is undefined for this video */
    double seconds;             /**< that the video took */
    /** What its motion was compared with; NULL when no metric asks for it. */
    const char *reference;
} mm_score;

/** Called on the thread that runs, as soon as a video is done. A non-zero return stops as
    mm_context_stop() does. */
typedef int32_t (*mm_score_callback)(void *user, const mm_score *score);

/**
 * Opens the models that the options name and checks every weight file against its network; loads no
 * weights yet.
 * @param out     receives the handle, which keeps the context alive; NULL on failure.
 * @param options of table "evaluate", copied.
 * @return MM_OK; MM_ERR_USAGE: no model is named; MM_ERR_INPUT: a model is missing, damaged or
 * another one than expected; MM_ERR_UNSUPPORTED: an architecture or archive that is not supported;
 * MM_ERR_MEMORY.
 */
MM_API mm_status mm_evaluator_create(mm_evaluator **out, mm_context *context,
                                     const mm_options *options);
/** Sets *evaluator to NULL; accepts NULL. */
MM_API void mm_evaluator_free(mm_evaluator **evaluator);

/**
 * Adds a video, or every video of a folder (not of its subfolders) in the order of their names.
 * That a file is missing or damaged shows in mm_evaluator_run().
 * @param prompt what the videos show; NULL: the option "prompt", else what the .json file beside
 * each video says.
 * @return MM_OK; MM_ERR_USAGE: a metric asks for a prompt or a reference and there is none, or
 * the prompt is not UTF-8; MM_ERR_INPUT: a folder without videos, a .json that cannot be read;
 * MM_ERR_MEMORY.
 */
MM_API mm_status mm_evaluator_add(mm_evaluator *evaluator, const char *path, const char *prompt);
/**
 * The same with a reference of its own. Videos of one reference should follow one another: it is
 * looked at once for all of them. A reference that cannot be read shows in mm_evaluator_run(): the
 * videos compared with it are skipped.
 * @param reference what the motion of the videos is compared with; NULL: the option "reference".
 * @return as mm_evaluator_add().
 */
MM_API mm_status mm_evaluator_add_pair(mm_evaluator *evaluator, const char *path,
                                       const char *prompt, const char *reference);
/** Number of videos added so far. */
MM_API size_t mm_evaluator_video_count(const mm_evaluator *evaluator);
/** Names of the figures that each video will get; *count of them. Owned by the handle. */
MM_API const char *const *mm_evaluator_figures(const mm_evaluator *evaluator, size_t *count);

/**
 * The memory plan, without loading weights: reports MM_EVENT_PLAN. Opens every video.
 * @return MM_OK; MM_ERR_INPUT: a video cannot be opened; MM_ERR_MEMORY: does not fit the budget,
 * the message says the least that would.
 */
MM_API mm_status mm_evaluator_plan(mm_evaluator *evaluator);

/**
 * Scores the videos in the order in which they were added and reports each, at the end the means.
 * A video that cannot be read is reported with its status, and the others are scored.
 * @param callback may be NULL.
 * @return MM_OK; MM_ERR_USAGE: no video was added; MM_ERR_RUNTIME: some videos were skipped; the
 * first skipped video's status when none could be scored; MM_ERR_NONFINITE names video and figure;
 * MM_ERR_CANCELLED; MM_ERR_INPUT: weights cannot be read; MM_ERR_MEMORY.
 */
MM_API mm_status mm_evaluator_run(mm_evaluator *evaluator, mm_score_callback callback, void *user);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_EVALUATOR_INTERNAL_H
#define MM_API_EVALUATOR_INTERNAL_H

#include "api/context_internal.h"
#include "api/options_internal.h"
#include "metrics/metric.h"
#include "motionmatcher/evaluator.h"

#define MM_MOST_METRICS 3

typedef struct mm_evaluated_video {
    char *path;
    char *prompt;    /* NULL when no metric asks for one */
    char *reference; /* likewise */
} mm_evaluated_video;

struct mm_evaluator {
    mm_context *context;
    mm_options *options;
    const mm_evaluate_config *config; /* of options */
    mm_runtime runtime;
    size_t baseline_bytes; /* resident before any model was opened */
    mm_metric *metric[MM_MOST_METRICS];
    size_t metric_count;
    const char *figure[MM_MOST_METRICS * MM_MOST_FIGURES]; /* of all metrics */
    size_t figure_count;
    mm_evaluated_video *video;
    size_t video_count, video_capacity;
    int64_t most_pixels; /* of a frame, as far as containers say */
};

/* The metric of the options tracker_model and reference. */
mm_status mm_evaluator_open_motion(mm_evaluator *evaluator, mm_metric **out, mm_error *error);
/* MM_ERR_INPUT: unreadable, or of one frame. */
mm_status mm_evaluator_check_reference(const char *path, mm_error *error);
bool mm_evaluator_needs_prompt(const mm_evaluator *evaluator);
bool mm_evaluator_needs_reference(const mm_evaluator *evaluator);
/* mm_evaluator_add_pair(), without publishing the error. */
mm_status mm_evaluator_add_videos(mm_evaluator *evaluator, const mm_metric_video *video,
                                  mm_error *error);
void mm_evaluator_free_videos(mm_evaluator *evaluator);

#endif

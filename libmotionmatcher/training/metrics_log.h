/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics.jsonl: one line for each finished step. */
#ifndef MM_TRAINING_METRICS_LOG_H
#define MM_TRAINING_METRICS_LOG_H

#include "training/trainer.h"

typedef struct mm_metrics_log {
    int descriptor;
    char *path;
} mm_metrics_log;

/* Opens for appending, after lines beyond step `done` were cut off. */
mm_status mm_metrics_log_open(mm_metrics_log *log, const char *directory, int64_t done,
                              mm_error *error);
mm_status mm_metrics_log_append(mm_metrics_log *log, const mm_step_report *report, mm_error *error);
void mm_metrics_log_close(mm_metrics_log *log);

#endif

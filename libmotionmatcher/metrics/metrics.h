/* SPDX-License-Identifier: BSD-2-Clause */
/* The metrics that there are. Each opens its model's files and checks them; weights are loaded by
   the table's `load`. The runtime must outlive the metric. */
#ifndef MM_METRICS_METRICS_H
#define MM_METRICS_METRICS_H

#include "metrics/config.h"
#include "metrics/metric.h"

/* clip_text and frame_consistency, from a CLIPModel directory. */
mm_status mm_clip_scores_open(mm_metric **out, const char *directory, const mm_runtime *runtime,
                              mm_error *error);
/* image_reward, from a directory with ImageReward.pt or .safetensors, med_config.json, vocab.txt.
   vision_heads 0: one for every 64 channels. */
mm_status mm_image_reward_open(mm_metric **out, const char *directory, int64_t vision_heads,
                               const mm_runtime *runtime, mm_error *error);

#endif

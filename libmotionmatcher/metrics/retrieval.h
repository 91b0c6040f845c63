/* SPDX-License-Identifier: BSD-2-Clause */
/* How well a distance between videos finds those of like motion (MotionMatcher, appendix C). */
#ifndef MM_METRICS_RETRIEVAL_H
#define MM_METRICS_RETRIEVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* order[k]: the candidate that is k-th nearest; equal distances keep their order. */
void mm_rank_by_distance(const double *distance, size_t count, size_t *order);
/* Mean over the positives of the precision down to each; NaN without any. */
double mm_average_precision(const size_t *order, const bool *positive, size_t count);
/* What a random order gives on average: ((R - 1) / (n - 1) (n - H_n) + H_n) / n, with H_n the n-th
   harmonic number. NaN without positives. */
double mm_chance_precision(size_t positives, size_t count);
/* Mean of (a - b)^2. */
double mm_mean_squared_distance(const float *a, const float *b, size_t count);
/* The same of the differences between consecutive frames, each of `values` numbers. */
double mm_residual_distance(const float *a, const float *b, size_t frames, size_t values);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the other measurements are compared with. */
#ifndef MM_BENCH_PEAK_H
#define MM_BENCH_PEAK_H

#include "graph/backend.h"

/* Seconds since some point: on the wall, or, where `processor`, of this process's threads. */
double bench_seconds(bool processor);

/* FLOP/s of a product of 1536 x 1536 matrices of the type, the best of several. */
mm_status bench_peak(mm_backend *backend, mm_dtype dtype, bool processor, double *out,
                     mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a run of an executable spends its time. */
#ifndef MM_BENCH_PROFILE_H
#define MM_BENCH_PROFILE_H

#include "graph/graph.h"

typedef struct profile {
    const mm_graph *graph;
    const double *seconds; /* of each node, as mm_run_control gathers them over the runs */
    long runs;
    double peak; /* FLOP/s of a product of square matrices (peak.h) */
} profile;

/* Prints time, FLOP/s and their share of the peak, by op, and of the slowest nodes. */
void profile_print(const profile *p);
/* The same of all ops and nodes into a JSON file; ends the program where that cannot be written. */
void profile_save(const profile *p, const char *path);

#endif

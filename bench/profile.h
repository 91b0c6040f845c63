/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a run of an executable spends its time. */
#ifndef MM_BENCH_PROFILE_H
#define MM_BENCH_PROFILE_H

#include "graph/graph.h"

/* Prints time and FLOP/s by op and of the slowest nodes. `seconds` are sums over `runs`, one per
   node of the graph, as mm_run_control gathers them. */
void profile_print(const mm_graph *graph, const double *seconds, long runs);

#endif

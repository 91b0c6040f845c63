/* SPDX-License-Identifier: BSD-2-Clause */
#include "peak.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "base/convert.h"
#include "base/memory.h"
#include "graph/executable.h"
#include "graph/ops.h"

enum { SIDE = 1536, LEAST_RUNS = 4, MOST_RUNS = 30 };

double bench_seconds(bool processor)
{
    struct timespec now;
    if (!processor)
        return mm_clock_seconds();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static mm_status write_input(mm_executable *executable, const mm_node *node, mm_error *error)
{
    size_t count = (size_t)mm_node_elements(node), bytes = count * sizeof(float);
    float *values = mm_malloc(bytes);
    if (!values)
        return mm_fail_memory(error, "an input", bytes);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)((i * 7919u) % 1024u) * 0x1p-9f - 1.0f;
    if (node->dtype != MM_F32)
        for (size_t i = 0; i < count; i++) /* in place: the run gets shorter */
            mm_convert_numbers((char *)values + i * mm_dtype_bytes(node->dtype), node->dtype,
                               &values[i], MM_F32, 1);
    mm_status status = mm_executable_write(executable, node, values, mm_node_bytes(node), error);
    mm_free(values);
    return status;
}

static mm_status time_product(mm_graph *graph, mm_backend *backend, bool processor, double *out,
                              mm_error *error)
{
    mm_executable *executable = NULL;
    mm_node *a = mm_input(graph, "a", graph->compute, &MM_SHAPE(SIDE, SIDE));
    mm_node *b = mm_input(graph, "b", graph->compute, &MM_SHAPE(SIDE, SIDE));
    mm_node *c = mm_matmul(graph, a, b, NULL, NULL,
                           &(mm_attributes){.matmul = {.groups = 1, .alpha = 1.0f}});
    MM_TRY(mm_graph_status(graph, error));
    MM_TRY(mm_executable_create(&executable, graph, &c, 1, backend, NULL, error));
    mm_status status = write_input(executable, a, error);
    if (status == MM_OK)
        status = write_input(executable, b, error);
    double best = INFINITY, end = bench_seconds(processor) + 0.7;
    for (int run = 0; status == MM_OK && run < MOST_RUNS; run++) {
        double start = bench_seconds(processor);
        if (run >= LEAST_RUNS && start > end)
            break;
        status = mm_executable_run(executable, NULL, error);
        best = fmin(best, bench_seconds(processor) - start);
    }
    mm_executable_free(&executable);
    *out = 2.0 * SIDE * SIDE * SIDE / best;
    return status;
}

mm_status bench_peak(mm_backend *backend, mm_dtype dtype, bool processor, double *out,
                     mm_error *error)
{
    mm_graph *graph;
    MM_TRY(mm_graph_create(&graph, dtype, error));
    mm_status status = time_product(graph, backend, processor, out, error);
    mm_graph_free(&graph);
    return status;
}

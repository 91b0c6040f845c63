/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracker's networks on the CPU: seconds and FLOP/s of each, and of their ops.
 *
 *   tracker MODEL [--frames 16] [--points 2500] [--chunk 400] [--threads 0]
 *
 * Times one frame's features, the tokens of one chunk of points, and the update of all points; and
 * says what a whole video takes, which is its frames' features and six times the rest.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/cpu/cpu.h"
#include "base/clock.h"
#include "base/memory.h"
#include "metrics/tracker/tracker_passes.h"
#include "failure.h"
#include "peak.h"
#include "profile.h"

typedef struct settings {
    const char *model;
    long frames, points, chunk, threads;
} settings;

static mm_backend *backend;
static mm_tracker *tracker;
static double peak; /* FLOP/s */

static settings parse(int argc, char **argv)
{
    static const struct option options[] = {{"frames", required_argument, NULL, 'f'},
                                            {"points", required_argument, NULL, 'p'},
                                            {"chunk", required_argument, NULL, 'c'},
                                            {"threads", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    settings s = {NULL, 16, 2500, 400, 0};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        long *value = o == 'f'   ? &s.frames
                      : o == 'p' ? &s.points
                      : o == 'c' ? &s.chunk
                                 : &s.threads;
        if (o == '?')
            exit(2);
        *value = strtol(optarg, NULL, 10);
    }
    s.model = optind < argc ? argv[optind] : NULL;
    if (!s.model || s.frames < 2 || s.points < 1 || s.chunk < 1)
        exit(2);
    return s;
}

/* Random numbers for every input; places lie all over the map. */
static void fill_inputs(mm_graph *graph, mm_executable *executable)
{
    for (int32_t id = 0; id < graph->count; id++) {
        const mm_node *node = graph->node[id];
        if (node->op != MM_OP_input)
            continue;
        float *values = mm_malloc(mm_node_bytes(node));
        for (int64_t i = 0; i < mm_node_elements(node); i++)
            values[i] = (float)(random() % 90);
        check(mm_executable_write(executable, node, values, mm_node_bytes(node), &error));
        mm_free(values);
    }
}

/* Seconds of a second run, when memory and kernels are warm. */
static double measure(const char *name, mm_graph *graph, mm_node *const *outputs, int32_t count)
{
    mm_executable *executable;
    mm_plan_summary summary;
    check(mm_graph_status(graph, &error));
    check(mm_executable_create(&executable, graph, outputs, count, backend,
                               &(mm_compile_options){0}, &error));
    mm_executable_summary(executable, &summary);
    fill_inputs(graph, executable);
    check(mm_executable_run(executable, NULL, &error));
    double *seconds = mm_calloc((size_t)graph->count, sizeof(*seconds));
    double start = mm_clock_seconds();
    check(mm_executable_run(executable, &(mm_run_control){.seconds = seconds}, &error));
    double time = mm_clock_seconds() - start;
    printf("%s: %.3f s, %.1f GFLOP/s, %zu MiB\n", name, time, summary.flops / time * 1e-9,
           summary.arena_bytes >> 20);
    profile_print(&(profile){.graph = graph, .seconds = seconds, .runs = 1, .peak = peak});
    mm_free(seconds);
    mm_executable_free(&executable);
    mm_graph_free(&graph);
    return time;
}

static mm_builder start(void)
{
    mm_builder builder = {.weights = &tracker->component.weights, .path = ""};
    check(mm_graph_create(&builder.graph, MM_F32, &error));
    return builder;
}

static double measure_features(void)
{
    mm_builder b = start();
    mm_tracker_units units = mm_tracker_build_units(&b, &tracker->config);
    mm_node *pixels = mm_input(b.graph, "pixels", MM_F32, &MM_SHAPE(1, 384, 384, 3));
    mm_node *output = mm_tracker_build_features(&b, &tracker->config, units, pixels);
    return measure("features of a frame", b.graph, &output, 1);
}

static double measure_tokens(const settings *s)
{
    mm_builder b = start();
    mm_tracker_token_inputs inputs =
        mm_tracker_token_inputs_create(&b, &tracker->config, s->frames, s->chunk);
    mm_node *output = mm_tracker_build_tokens(&b, &tracker->config, &inputs);
    return measure("tokens of a chunk", b.graph, &output, 1);
}

static double measure_update(const settings *s)
{
    mm_builder b = start();
    mm_tracker_units units = mm_tracker_build_units(&b, &tracker->config);
    mm_node *tokens = mm_input(b.graph, "tokens", MM_F32,
                               &MM_SHAPE(s->frames, s->points, tracker->config.hidden));
    mm_tracker_update update = mm_tracker_build_update(&b, &tracker->config, units, tokens);
    return measure("update of all points", b.graph, (mm_node *[]){update.flow, update.state}, 2);
}

int main(int argc, char **argv)
{
    settings s = parse(argc, argv);
    check(mm_cpu_backend_create(&backend, (int)s.threads, NULL, &error));
    check(mm_tracker_open(&tracker, s.model, MM_TRACKER_WIDTH, MM_TRACKER_HEIGHT, NULL, &error));
    check(mm_tracker_load(tracker, &(mm_runtime){.backend = backend}, &error));
    check(bench_peak(backend, MM_F32, false, &peak, &error));
    double features = measure_features(), tokens = measure_tokens(&s), update = measure_update(&s);
    double iteration = tokens * (double)s.points / (double)s.chunk + update;
    printf("a video: %.2f s\n", (double)s.frames * features + MM_TRACKER_ITERATIONS * iteration);
    mm_tracker_free(&tracker, backend);
    backend->table->free(backend);
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "graph/ops.h"

#define TOP_NODES 24

typedef struct measure {
    const mm_node *node;
    double seconds, flops;
    int count;
} measure;

typedef struct table {
    measure op[MM_OP_COUNT];
    measure *node;
    int32_t nodes;
    measure all;
} table;

static int slower(const void *a, const void *b)
{
    double x = ((const measure *)a)->seconds, y = ((const measure *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void add(measure *sum, const measure *m)
{
    sum->node = m->node;
    sum->count += m->count;
    sum->seconds += m->seconds;
    sum->flops += m->flops;
}

/* Nodes that ran, and their sums by op, the slowest first; free `node`. */
static table tabulate(const profile *p)
{
    table t = {.node = mm_calloc((size_t)p->graph->count, sizeof(measure))};
    for (int32_t i = 0; t.node && i < p->graph->count; i++) {
        const mm_node *n = p->graph->node[i];
        if (p->seconds[i] <= 0)
            continue;
        measure *m = &t.node[t.nodes++];
        *m = (measure){n, p->seconds[i] / (double)p->runs, mm_op_describe(n->op)->flops(n), 1};
        add(&t.op[n->op], m);
        add(&t.all, m);
    }
    qsort(t.op, MM_OP_COUNT, sizeof(*t.op), slower);
    qsort(t.node, (size_t)t.nodes, sizeof(*t.node), slower);
    return t;
}

static double rate(const measure *m)
{
    return m->seconds > 0 ? m->flops / m->seconds : 0.0;
}

static void print_row(const char *name, const measure *m, const table *t, double peak,
                      const char *note)
{
    printf("%-24s %6d x %10.2f ms %5.1f %% %10.2f GFLOP %8.1f GFLOP/s %5.2f  %s\n", name, m->count,
           1e3 * m->seconds, 100 * m->seconds / t->all.seconds, m->flops * 1e-9, rate(m) * 1e-9,
           rate(m) / peak, note);
}

void profile_print(const profile *p)
{
    table t = tabulate(p);
    printf("last number of a row: share of the %.1f GFLOP/s of a square product\n", p->peak * 1e-9);
    for (int32_t i = 0; i < MM_OP_COUNT && t.op[i].seconds > 0; i++)
        print_row(mm_op_describe(t.op[i].node->op)->name, &t.op[i], &t, p->peak, "");
    print_row("all", &t.all, &t, p->peak, "");
    printf("\nslowest nodes\n");
    for (int32_t i = 0; i < TOP_NODES && i < t.nodes; i++) {
        const mm_node *n = t.node[i].node;
        char shape[64], note[400];
        snprintf(note, sizeof(note), "%s%s %s", n->backward ? "back " : "",
                 mm_shape_text(&n->shape, shape, sizeof(shape)), n->name);
        print_row(mm_op_describe(n->op)->name, &t.node[i], &t, p->peak, note);
    }
    mm_free(t.node);
}

static void write_measure(const measure *m, double peak, FILE *out)
{
    fprintf(out,
            "\"op\": \"%s\", \"count\": %d, \"ms\": %.4f, \"gflop\": %.4f, \"gflops\": %.2f, "
            "\"share_of_peak\": %.4f",
            mm_op_describe(m->node->op)->name, m->count, 1e3 * m->seconds, m->flops * 1e-9,
            rate(m) * 1e-9, rate(m) / peak);
}

static void write_nodes(const table *t, double peak, FILE *out)
{
    for (int32_t i = 0; i < t->nodes; i++) {
        const mm_node *n = t->node[i].node;
        char shape[64];
        fprintf(out, "%s\n{", i ? "," : "");
        write_measure(&t->node[i], peak, out);
        fprintf(out, ", \"shape\": %s, \"backward\": %s, \"scope\": \"%s\"}",
                mm_shape_text(&n->shape, shape, sizeof(shape)), n->backward ? "true" : "false",
                n->name ? n->name : "");
    }
}

static void write_all(const table *t, double peak, FILE *out)
{
    fprintf(out,
            "{\"peak_gflops\": %.2f, \"ms\": %.4f, \"gflops\": %.2f, \"share_of_peak\": %.4f, "
            "\"ops\": [",
            peak * 1e-9, 1e3 * t->all.seconds, rate(&t->all) * 1e-9, rate(&t->all) / peak);
    for (int32_t i = 0; i < MM_OP_COUNT && t->op[i].seconds > 0; i++) {
        fprintf(out, "%s\n{", i ? "," : "");
        write_measure(&t->op[i], peak, out);
        fprintf(out, "}");
    }
    fprintf(out, "], \"nodes\": [");
    write_nodes(t, peak, out);
    fprintf(out, "]}\n");
}

void profile_save(const profile *p, const char *path)
{
    table t = tabulate(p);
    FILE *out = fopen(path, "we");
    if (out)
        write_all(&t, p->peak, out);
    if (!out || fclose(out)) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    mm_free(t.node);
}

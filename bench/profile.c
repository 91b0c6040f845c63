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

static int slower(const void *a, const void *b)
{
    double x = ((const measure *)a)->seconds, y = ((const measure *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void print_row(const measure *m, double total, const char *note)
{
    printf("%-24s %6d x %9.2f ms %5.1f %% %9.2f GFLOP %8.1f GFLOP/s  %s\n",
           mm_op_describe(m->node->op)->name, m->count, 1e3 * m->seconds, 100 * m->seconds / total,
           m->flops * 1e-9, m->seconds > 0 ? m->flops / m->seconds * 1e-9 : 0.0, note);
}

static void print_slowest(measure *node, int32_t count, double total)
{
    printf("\nslowest nodes\n");
    qsort(node, (size_t)count, sizeof(*node), slower);
    for (int32_t i = 0; i < TOP_NODES && i < count; i++) {
        const mm_node *n = node[i].node;
        char shape[64], note[400];
        snprintf(note, sizeof(note), "%s%s %s", n->backward ? "back " : "",
                 mm_shape_text(&n->shape, shape, sizeof(shape)), n->name);
        print_row(&node[i], total, note);
    }
}

void profile_print(const mm_graph *graph, const double *seconds, long runs)
{
    measure op[MM_OP_COUNT] = {0};
    measure *node = mm_calloc((size_t)graph->count, sizeof(*node));
    double total = 0;
    for (int32_t i = 0; i < graph->count; i++) {
        const mm_node *n = graph->node[i];
        node[i] = (measure){n, seconds[i] / (double)runs, 0, 1};
        if (seconds[i] > 0)
            node[i].flops = mm_op_describe(n->op)->flops(n);
        op[n->op].node = n;
        op[n->op].count += seconds[i] > 0;
        op[n->op].seconds += node[i].seconds;
        op[n->op].flops += node[i].flops;
        total += node[i].seconds;
    }
    qsort(op, MM_OP_COUNT, sizeof(*op), slower);
    for (int32_t i = 0; i < MM_OP_COUNT && op[i].seconds > 0; i++)
        print_row(&op[i], total, "");
    print_slowest(node, graph->count, total);
    mm_free(node);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Chooses which segments are computed again in the backward pass, so that a plan fits its budget.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/ops.h"
#include "graph/plan.h"

/* What one mode costs a segment: work done again, bytes kept for the backward pass. */
typedef struct cost {
    double flops, bytes;
} cost;

/* A segment's change of mode. */
typedef struct change {
    int32_t segment;
    mm_recompute mode;
    double gain; /* bytes saved per additional FLOP */
} change;

typedef struct chooser {
    const mm_plan_request *request;
    mm_arena memory;
    int32_t segments;
    uint8_t *mode; /* by segment */
    cost *cost[MM_RECOMPUTE_ALL + 1];
    change *change; /* the best first */
    int32_t count;
} chooser;

static mm_status measure(chooser *c, mm_recompute mode, mm_error *error)
{
    mm_plan plan;
    memset(c->mode, (int)mode, (size_t)c->segments);
    MM_TRY(mm_plan_build(&plan, c->request, c->mode, error));
    for (int32_t i = 0; i < plan.count; i++) {
        const mm_step *step = &plan.step[i];
        const mm_node *node = step->node;
        if (node->backward || node->segment == 0)
            continue;
        const mm_node *reader = step->last < plan.count ? plan.step[step->last].node : NULL;
        if (step->again)
            c->cost[mode][node->segment].flops += mm_op_describe(node->op)->flops(node);
        else if (step->value == i && reader && (reader->backward || plan.step[step->last].again))
            c->cost[mode][node->segment].bytes += (double)mm_node_bytes(node);
    }
    mm_plan_free(&plan);
    return MM_OK;
}

static double gain(cost from, cost to)
{
    double bytes = from.bytes - to.bytes, flops = to.flops - from.flops;
    return bytes <= 0.0 ? 0.0 : bytes / (flops > 1.0 ? flops : 1.0);
}

static void add_change(chooser *c, int32_t segment, mm_recompute mode, double value)
{
    if (value > 0.0)
        c->change[c->count++] = (change){segment, mode, value};
}

/* A segment's second change never gains more than its first, so that sorting keeps their order. */
static void list_changes(chooser *c, int32_t s)
{
    cost keep = c->cost[MM_KEEP_ALL][s], cheap = c->cost[MM_RECOMPUTE_CHEAP][s],
         all = c->cost[MM_RECOMPUTE_ALL][s];
    double first = gain(keep, cheap), second = gain(cheap, all);
    if (second >= first) {
        add_change(c, s, MM_RECOMPUTE_ALL, gain(keep, all));
    } else {
        add_change(c, s, MM_RECOMPUTE_CHEAP, first);
        add_change(c, s, MM_RECOMPUTE_ALL, second);
    }
}

static int better_first(const void *left, const void *right)
{
    const change *a = left, *b = right;
    if (a->gain != b->gain)
        return a->gain < b->gain ? 1 : -1;
    if (a->segment != b->segment)
        return a->segment < b->segment ? -1 : 1;
    return (a->mode > b->mode) - (a->mode < b->mode);
}

static mm_status prepare(chooser *c, mm_error *error)
{
    c->segments = c->request->graph->segment_count + 1;
    size_t n = (size_t)c->segments;
    c->mode = mm_arena_alloc(&c->memory, n);
    c->change = mm_arena_alloc(&c->memory, 2 * n * sizeof(change));
    bool good = c->mode && c->change;
    for (mm_recompute mode = MM_KEEP_ALL; mode <= MM_RECOMPUTE_ALL; mode++) {
        c->cost[mode] = mm_arena_alloc(&c->memory, n * sizeof(cost));
        good = good && c->cost[mode];
    }
    if (!good)
        return mm_fail_memory(error, "the choice of a plan", n * sizeof(change));
    for (mm_recompute mode = MM_KEEP_ALL; mode <= MM_RECOMPUTE_ALL; mode++)
        MM_TRY(measure(c, mode, error));
    for (int32_t s = 1; s < c->segments; s++)
        list_changes(c, s);
    qsort(c->change, (size_t)c->count, sizeof(change), better_first);
    return MM_OK;
}

static mm_status make(mm_plan *out, const mm_plan_request *request, const uint8_t *mode,
                      size_t limit, mm_error *error)
{
    MM_TRY(mm_plan_build(out, request, mode, error));
    mm_status status = mm_plan_place(out, request, limit, error);
    if (status != MM_OK)
        mm_plan_free(out);
    return status;
}

/* The plan after the first `count` changes. */
static mm_status make_changed(chooser *c, int32_t count, size_t limit, mm_plan *out,
                              mm_error *error)
{
    memset(c->mode, MM_KEEP_ALL, (size_t)c->segments);
    for (int32_t i = 0; i < count; i++)
        c->mode[c->change[i].segment] = (uint8_t)c->change[i].mode;
    return make(out, c->request, c->mode, limit, error);
}

/* Keeps one of the two plans in `best`. */
static void choose(mm_plan *best, mm_plan *plan, bool better)
{
    mm_plan_free(better ? best : plan);
    if (better)
        *best = *plan;
}

/* Bisects for the fewest changes that fit; the smaller of no change and all in `best` if none do.
 */
static mm_status search(chooser *c, size_t budget, mm_plan *best, mm_error *error)
{
    int32_t low = 0, high = c->count; /* `low` changes do not fit */
    mm_plan plan;
    MM_TRY(make_changed(c, high, 0, &plan, error));
    choose(best, &plan, plan.arena_bytes < best->arena_bytes);
    while (best->arena_bytes <= budget && high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        MM_TRY(make_changed(c, middle, budget, &plan, error));
        bool fits = plan.arena_bytes <= budget;
        choose(best, &plan, fits);
        *(fits ? &high : &low) = middle;
    }
    return MM_OK;
}

mm_status mm_plan_choose(mm_plan *out, const mm_plan_request *request, size_t budget,
                         bool allow_over_budget, mm_error *error)
{
    MM_TRY(make(out, request, NULL, 0, error));
    if (budget == 0 || out->arena_bytes <= budget)
        return MM_OK;
    chooser c = {.request = request};
    mm_status status = prepare(&c, error);
    if (status == MM_OK)
        status = search(&c, budget, out, error);
    mm_arena_free(&c.memory);
    if (status == MM_OK && out->arena_bytes > budget && !allow_over_budget)
        status = mm_fail(error, MM_ERR_MEMORY,
                         "activations need at least %zu MiB, the memory budget leaves %zu MiB",
                         (out->arena_bytes >> 20) + 1, budget >> 20);
    if (status != MM_OK)
        mm_plan_free(out);
    return status;
}

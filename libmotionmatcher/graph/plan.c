/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/plan.h"

#include <string.h>

#include "base/memory.h"
#include "graph/ops.h"

void mm_plan_free(mm_plan *plan)
{
    mm_arena_free(&plan->memory);
    *plan = (mm_plan){0};
}

void mm_plan_mark(const mm_graph *graph, bool *live, const bool *output, bool *kept)
{
    for (int32_t id = graph->count - 1; id >= 0; id--) {
        const mm_node *node = graph->node[id];
        live[id] |= output[id];
        kept[id] |= output[id];
        for (int32_t i = 0; live[id] && i < node->source_count; i++) {
            const mm_node *source = node->source[i];
            if (!source)
                continue;
            live[source->id] = true;
            /* What a kept view shows is kept with it. */
            kept[source->id] |= (!node->backward && source->segment != node->segment) ||
                                (kept[id] && node->op == MM_OP_view);
        }
    }
}

static bool is_cheap(const mm_node *node)
{
    switch (node->op) {
    case MM_OP_matmul:
    case MM_OP_conv2d:
    case MM_OP_temporal_conv:
    case MM_OP_attention:
    case MM_OP_attention_map:
    case MM_OP_cross_attention:
    case MM_OP_cross_attention_map:
        return false;
    default:
        return true;
    }
}

typedef struct builder {
    const mm_plan_request *request;
    const uint8_t *mode;
    mm_plan *plan;
    int32_t *again; /* by node id: the step that computes it again; -1: none yet */
    bool *needed;   /* by node id: scratch of compute_again, false between calls */
} builder;

static bool is_computed_again(const builder *b, const mm_node *node)
{
    if (!b->mode || node->segment == 0 || node->backward || mm_is_leaf(node) ||
        b->request->kept[node->id])
        return false;
    mm_recompute mode = b->mode[node->segment];
    return mode == MM_RECOMPUTE_ALL || (mode == MM_RECOMPUTE_CHEAP && is_cheap(node));
}

/* The step whose value a backward step, or one that computes again, reads. */
static int32_t late_source(const builder *b, const mm_node *source)
{
    int32_t again = b->again[source->id];
    return again >= 0 ? again : b->plan->of_node[source->id];
}

static void append(builder *b, mm_node *node, bool late, bool again)
{
    mm_step *step = &b->plan->step[b->plan->count];
    *step = (mm_step){.node = node, .again = again};
    for (int32_t i = 0; i < MM_MAX_SOURCES; i++) {
        const mm_node *source = i < node->source_count ? node->source[i] : NULL;
        step->source[i] = !source ? -1
                          : late  ? late_source(b, source)
                                  : b->plan->of_node[source->id];
    }
    *(again ? &b->again[node->id] : &b->plan->of_node[node->id]) = b->plan->count++;
}

/* Appends the steps that compute `node` and what it needs of its segment again. */
static void compute_again(builder *b, const mm_node *node)
{
    const mm_graph *graph = b->request->graph;
    int32_t first = node->id;
    b->needed[node->id] = true;
    for (int32_t id = node->id; id >= first; id--) {
        for (int32_t i = 0; b->needed[id] && i < graph->node[id]->source_count; i++) {
            const mm_node *source = graph->node[id]->source[i];
            if (!source || b->again[source->id] >= 0 || !is_computed_again(b, source) ||
                source->segment != node->segment)
                continue;
            b->needed[source->id] = true;
            first = source->id < first ? source->id : first;
        }
    }
    for (int32_t id = first; id <= node->id; id++) {
        if (b->needed[id])
            append(b, graph->node[id], true, true);
        b->needed[id] = false;
    }
}

static void list_steps(builder *b)
{
    const mm_graph *graph = b->request->graph;
    for (int32_t id = 0; id < graph->count; id++) {
        mm_node *node = graph->node[id];
        if (!b->request->live[id])
            continue;
        for (int32_t i = 0; node->backward && i < node->source_count; i++) {
            const mm_node *source = node->source[i];
            if (source && is_computed_again(b, source) && b->again[source->id] < 0)
                compute_again(b, source);
        }
        append(b, node, node->backward, false);
    }
}

static int32_t moved(const int32_t *place, int32_t step)
{
    return step < 0 ? -1 : place[step];
}

/* Drops steps that nothing reads any more since others compute their values again. */
static bool drop_unread(mm_plan *plan, const mm_plan_request *request, mm_arena *scratch)
{
    int32_t *place = mm_arena_alloc(scratch, ((size_t)plan->count + 1) * sizeof(int32_t));
    if (!place)
        return false;
    for (int32_t i = plan->count - 1; i >= 0; i--) {
        mm_step *step = &plan->step[i];
        place[i] |= request->output[step->node->id] && !step->again;
        for (int32_t s = 0; place[i] && s < MM_MAX_SOURCES; s++) {
            if (step->source[s] >= 0)
                place[step->source[s]] = 1;
        }
    }
    int32_t count = 0;
    for (int32_t i = 0; i < plan->count; i++) {
        bool read = place[i];
        place[i] = read ? count : -1;
        if (!read)
            continue;
        mm_step step = plan->step[i];
        for (int32_t s = 0; s < MM_MAX_SOURCES; s++)
            step.source[s] = moved(place, step.source[s]);
        plan->step[count++] = step;
    }
    plan->count = count;
    for (int32_t id = 0; id < request->graph->count; id++)
        plan->of_node[id] = moved(place, plan->of_node[id]);
    return true;
}

static void count_work(mm_plan *plan)
{
    for (int32_t i = 0; i < plan->count; i++) {
        const mm_step *step = &plan->step[i];
        double flops = mm_op_describe(step->node->op)->flops(step->node);
        *(step->again ? &plan->again_flops : &plan->flops) += flops;
        plan->again_count += step->again && mm_is_computed(step->node);
    }
}

/* Which step's value each step shows, and the last step that reads it. Inputs are alive from the
   beginning and outputs to the end. */
static void find_lifetimes(mm_plan *plan, const mm_plan_request *request)
{
    for (int32_t i = 0; i < plan->count; i++) {
        mm_step *step = &plan->step[i];
        step->value = step->node->op == MM_OP_view ? plan->step[step->source[0]].value : i;
        step->last = i;
        for (int32_t s = 0; s < MM_MAX_SOURCES; s++) {
            if (step->source[s] >= 0)
                plan->step[plan->step[step->source[s]].value].last = i;
        }
    }
    for (int32_t i = 0; i < plan->count; i++) {
        const mm_step *step = &plan->step[i];
        if (step->node->op == MM_OP_input || (request->output[step->node->id] && !step->again))
            plan->step[step->value].last = plan->count;
    }
}

mm_status mm_plan_build(mm_plan *out, const mm_plan_request *request, const uint8_t *mode,
                        mm_error *error)
{
    size_t n = (size_t)request->graph->count + 1;
    mm_arena scratch = {0};
    *out = (mm_plan){0};
    out->step = mm_arena_alloc(&out->memory, 2 * n * sizeof(mm_step));
    out->of_node = mm_arena_alloc(&out->memory, n * sizeof(int32_t));
    builder b = {request, mode, out, mm_arena_alloc(&scratch, n * sizeof(int32_t)),
                 mm_arena_alloc(&scratch, n * sizeof(bool))};
    bool good = out->step && out->of_node && b.again && b.needed;
    if (good) {
        memset(out->of_node, 0xff, n * sizeof(int32_t));
        memset(b.again, 0xff, n * sizeof(int32_t));
        list_steps(&b);
        good = drop_unread(out, request, &scratch);
    }
    mm_arena_free(&scratch);
    if (!good) {
        mm_plan_free(out);
        return mm_fail_memory(error, "a plan", 2 * n * sizeof(mm_step));
    }
    count_work(out);
    find_lifetimes(out, request);
    return MM_OK;
}

/* Whether the step may write into the buffer of its source number s: nothing reads that value
   later, and no other source lies there unless the kernel allows it. */
static bool may_reuse(const mm_plan *plan, int32_t index, int32_t s)
{
    const mm_step *step = &plan->step[index];
    uint32_t allowed = mm_op_describe(step->node->op)->reuse;
    if (!(allowed >> s & 1) || step->source[s] < 0)
        return false;
    const mm_step *value = &plan->step[plan->step[step->source[s]].value];
    if (value->buffer < 0 || value->last != index ||
        mm_node_bytes(value->node) != mm_node_bytes(step->node))
        return false;
    for (int32_t i = 0; i < MM_MAX_SOURCES; i++) {
        if (step->source[i] >= 0 && !(allowed >> i & 1) &&
            plan->step[plan->step[step->source[i]].value].buffer == value->buffer)
            return false;
    }
    return true;
}

static int32_t choose_buffer(const mm_plan *plan, int32_t index)
{
    const mm_step *step = &plan->step[index];
    if (step->node->op == MM_OP_weight || step->node->op == MM_OP_parameter)
        return -1;
    if (step->value != index)
        return plan->step[step->value].buffer;
    for (int32_t s = 0; s < MM_MAX_SOURCES; s++) {
        if (may_reuse(plan, index, s))
            return plan->step[plan->step[step->source[s]].value].buffer;
    }
    return index;
}

/* One block for every buffer and every workspace; ends are filled in from the values in a buffer.
 */
static int32_t list_blocks(mm_plan *plan, const mm_plan_request *request, mm_block *block,
                           int32_t *of_buffer)
{
    int32_t count = 0;
    for (int32_t i = 0; i < plan->count; i++) {
        mm_step *step = &plan->step[i];
        step->buffer = choose_buffer(plan, i);
        if (step->buffer == i) {
            of_buffer[i] = count;
            block[count++] = (mm_block){step->node->op == MM_OP_input ? 0 : i, i,
                                        mm_node_bytes(step->node), &step->offset};
        }
        if (step->buffer >= 0 && step->value == i &&
            step->last > block[of_buffer[step->buffer]].end)
            block[of_buffer[step->buffer]].end = step->last;
        size_t workspace = mm_is_computed(step->node) ? request->workspace[step->node->id] : 0;
        if (workspace)
            block[count++] = (mm_block){i, i, workspace, &step->workspace_offset};
        if (workspace > plan->workspace_bytes)
            plan->workspace_bytes = workspace;
    }
    return count;
}

/* Bytes of what is computed before the backward pass and still needed in it. */
static size_t bytes_kept(const mm_plan *plan, const mm_block *block, int32_t count)
{
    int32_t begin = 0;
    while (begin < plan->count && !plan->step[begin].node->backward && !plan->step[begin].again)
        begin++;
    size_t bytes = 0;
    for (int32_t i = 0; i < count && begin < plan->count; i++) {
        if (block[i].begin < begin && block[i].end >= begin)
            bytes += block[i].bytes;
    }
    return bytes;
}

/* The most bytes that are needed at one time: no layout takes less. */
static bool find_peak(const mm_block *block, int32_t count, int32_t steps, mm_arena *scratch,
                      size_t *out)
{
    size_t *change = mm_arena_alloc(scratch, ((size_t)steps + 2) * sizeof(size_t));
    if (!change)
        return false;
    for (int32_t i = 0; i < count; i++) {
        change[block[i].begin] += block[i].bytes;
        change[block[i].end + 1] -= block[i].bytes; /* wraps around, and back in the sum */
    }
    size_t sum = 0;
    *out = 0;
    for (int32_t i = 0; i <= steps; i++) {
        sum += change[i];
        *out = sum > *out ? sum : *out;
    }
    return true;
}

static mm_status place_blocks(mm_plan *plan, const mm_plan_request *request, size_t limit,
                              mm_arena *scratch, mm_error *error)
{
    size_t n = (size_t)plan->count + 1, peak;
    mm_block *block = mm_arena_alloc(scratch, 2 * n * sizeof(*block));
    int32_t *of_buffer = mm_arena_alloc(scratch, n * sizeof(int32_t));
    if (!block || !of_buffer)
        return mm_fail_memory(error, "a memory plan", 2 * n * sizeof(*block));
    int32_t count = list_blocks(plan, request, block, of_buffer);
    plan->kept_bytes = bytes_kept(plan, block, count);
    if (!find_peak(block, count, plan->count, scratch, &peak))
        return mm_fail_memory(error, "a memory plan", n * sizeof(size_t));
    plan->arena_bytes = peak;
    if (limit > 0 && peak > limit)
        return MM_OK;
    return mm_layout(block, count, request->alignment, &plan->arena_bytes, error);
}

mm_status mm_plan_place(mm_plan *plan, const mm_plan_request *request, size_t limit,
                        mm_error *error)
{
    mm_arena scratch = {0};
    mm_status status = place_blocks(plan, request, limit, &scratch, error);
    for (int32_t i = 0; status == MM_OK && i < plan->count; i++) {
        if (plan->step[i].buffer >= 0)
            plan->step[i].offset = plan->step[plan->step[i].buffer].offset;
    }
    mm_arena_free(&scratch);
    return status;
}

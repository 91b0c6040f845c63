/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/executable.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "graph/ops.h"
#include "graph/plan.h"

struct mm_executable {
    mm_arena memory; /* of the arrays below */
    mm_graph *graph;
    mm_backend *backend;
    mm_kernel *kernel; /* by node id; a step that computes again shares its node's kernel */
    bool *prepared, *output;
    int32_t node_count; /* of the graph when it was planned */
    mm_plan plan;
    unsigned char *arena;
    bool shared;
};

static void *address(const mm_executable *e, int32_t index)
{
    const mm_step *step = &e->plan.step[index];
    return step->buffer < 0 ? e->plan.step[step->value].node->weight->data
                            : e->arena + step->offset;
}

static mm_status prepare_kernel(mm_executable *e, const mm_node *node, mm_error *error)
{
    const mm_backend_table *table = e->backend->table;
    if (!table->supports(e->backend, node))
        return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: the %s backend has no %s for %s", node->name,
                       table->name, mm_op_describe(node->op)->name, mm_dtype_name(node->dtype));
    mm_status status = table->prepare(e->backend, node, &e->kernel[node->id], error);
    if (status != MM_OK)
        return mm_error_prefix(error, "%s: %s", node->name, mm_op_describe(node->op)->name);
    e->kernel[node->id].node = node;
    e->prepared[node->id] = true;
    return MM_OK;
}

static mm_status prepare_kernels(mm_executable *e, const bool *live, size_t *workspace,
                                 mm_error *error)
{
    for (int32_t id = 0; id < e->node_count; id++) {
        const mm_node *node = e->graph->node[id];
        if (!live[id] || !mm_is_computed(node))
            continue;
        MM_TRY(prepare_kernel(e, node, error));
        workspace[id] = e->kernel[id].workspace_bytes;
    }
    return MM_OK;
}

static mm_status plan(mm_executable *e, const mm_compile_options *options, mm_arena *scratch,
                      mm_error *error)
{
    size_t n = (size_t)e->node_count + 1;
    bool *live = mm_arena_alloc(scratch, n), *kept = mm_arena_alloc(scratch, n);
    size_t *workspace = mm_arena_alloc(scratch, n * sizeof(size_t));
    if (!live || !kept || !workspace)
        return mm_fail_memory(error, "a plan", n * (2 + sizeof(size_t)));
    mm_plan_mark(e->graph, live, e->output, kept);
    MM_TRY(prepare_kernels(e, live, workspace, error));
    const mm_plan_request request = {.graph = e->graph,
                                     .live = live,
                                     .output = e->output,
                                     .kept = kept,
                                     .workspace = workspace,
                                     .alignment = e->backend->table->alignment};
    size_t budget = options ? options->arena_budget : 0;
    return mm_plan_choose(&e->plan, &request, budget, options && options->allow_over_budget, error);
}

static bool belongs(const mm_executable *e, const mm_node *node)
{
    return node && node->id < e->node_count && e->graph->node[node->id] == node;
}

static mm_status compile(mm_executable *e, mm_node *const *outputs, int32_t output_count,
                         const mm_compile_options *options, mm_error *error)
{
    size_t n = (size_t)e->node_count + 1;
    e->kernel = mm_arena_alloc(&e->memory, n * sizeof(mm_kernel));
    e->prepared = mm_arena_alloc(&e->memory, n);
    e->output = mm_arena_alloc(&e->memory, n);
    if (!e->kernel || !e->prepared || !e->output)
        return mm_fail_memory(error, "an executable", n * sizeof(mm_kernel));
    for (int32_t i = 0; i < output_count; i++) {
        if (!belongs(e, outputs[i]))
            return mm_fail(error, MM_ERR_USAGE, "output %d is no node of the graph", i);
        e->output[outputs[i]->id] = true;
    }
    mm_arena scratch = {0};
    mm_status status = plan(e, options, &scratch, error);
    mm_arena_free(&scratch);
    return status;
}

mm_status mm_executable_create(mm_executable **out, mm_graph *graph, mm_node *const *outputs,
                               int32_t output_count, mm_backend *backend,
                               const mm_compile_options *options, mm_error *error)
{
    *out = NULL;
    MM_TRY(mm_graph_status(graph, error));
    mm_executable *e = mm_calloc(1, sizeof(*e));
    if (!e)
        return mm_fail_memory(error, "an executable", sizeof(*e));
    e->graph = graph;
    e->backend = backend;
    e->node_count = graph->count;
    mm_status status = compile(e, outputs, output_count, options, error);
    if (status == MM_OK)
        *out = e;
    else
        mm_executable_free(&e);
    return status;
}

void mm_executable_free(mm_executable **executable)
{
    mm_executable *e = *executable;
    if (!e)
        return;
    mm_executable_release(e);
    for (int32_t id = 0; e->prepared && id < e->node_count; id++) {
        if (e->prepared[id])
            e->backend->table->discard(e->backend, &e->kernel[id]);
    }
    mm_plan_free(&e->plan);
    mm_arena_free(&e->memory);
    mm_free(e);
    *executable = NULL;
}

void mm_executable_summary(const mm_executable *executable, mm_plan_summary *out)
{
    const mm_plan *p = &executable->plan;
    *out = (mm_plan_summary){.arena_bytes = p->arena_bytes,
                             .workspace_bytes = p->workspace_bytes,
                             .kept_bytes = p->kept_bytes,
                             .flops = p->flops + p->again_flops,
                             .recomputed_flops = p->again_flops,
                             .recomputed_nodes = p->again_count};
    for (int32_t i = 0; i < p->count; i++)
        out->nodes += mm_is_computed(p->step[i].node);
}

mm_status mm_executable_allocate(mm_executable *executable, void *shared, mm_error *error)
{
    mm_executable_release(executable);
    executable->shared = shared != NULL;
    executable->arena = shared;
    if (shared)
        return MM_OK;
    void *block = NULL;
    MM_TRY(executable->backend->table->allocate(executable->backend, executable->plan.arena_bytes,
                                                &block, error));
    executable->arena = block;
    return MM_OK;
}

void mm_executable_release(mm_executable *executable)
{
    if (executable->arena && !executable->shared)
        executable->backend->table->release(executable->backend, executable->arena,
                                            executable->plan.arena_bytes);
    executable->arena = NULL;
    executable->shared = false;
}

static mm_status ensure_arena(mm_executable *e, mm_error *error)
{
    return e->arena ? MM_OK : mm_executable_allocate(e, NULL, error);
}

static mm_status check_transfer(const mm_executable *e, const mm_node *node, bool right_kind,
                                size_t bytes, const char *kind, mm_error *error)
{
    if (!belongs(e, node) || !right_kind)
        return mm_fail(error, MM_ERR_USAGE, "%s is not an %s of this executable",
                       node ? node->name : "nothing", kind);
    if (bytes != mm_node_bytes(node))
        return mm_fail(error, MM_ERR_USAGE, "%s holds %zu bytes, not %zu", node->name,
                       mm_node_bytes(node), bytes);
    return MM_OK;
}

mm_status mm_executable_write(mm_executable *executable, const mm_node *input, const void *data,
                              size_t bytes, mm_error *error)
{
    bool is_input = belongs(executable, input) && input->op == MM_OP_input;
    MM_TRY(check_transfer(executable, input, is_input, bytes, "input", error));
    int32_t step = executable->plan.of_node[input->id];
    if (step < 0) /* no output depends on it */
        return MM_OK;
    MM_TRY(ensure_arena(executable, error));
    return executable->backend->table->upload(executable->backend, address(executable, step), data,
                                              bytes, error);
}

mm_status mm_executable_read(mm_executable *executable, const mm_node *output, void *data,
                             size_t bytes, mm_error *error)
{
    mm_backend *backend = executable->backend;
    bool is_output = belongs(executable, output) && executable->output[output->id];
    MM_TRY(check_transfer(executable, output, is_output, bytes, "output", error));
    MM_TRY(ensure_arena(executable, error));
    const void *from = address(executable, executable->plan.of_node[output->id]);
    if (!from)
        return mm_fail(error, MM_ERR_USAGE, "the weight %s is not loaded", output->name);
    MM_TRY(backend->table->synchronize(backend, error));
    return backend->table->download(backend, data, from, bytes, error);
}

static mm_status check_weights(const mm_executable *e, mm_error *error)
{
    for (int32_t i = 0; i < e->plan.count; i++) {
        const mm_weight *weight = e->plan.step[i].node->weight;
        if (weight && !weight->data && !weight->packed)
            return mm_fail(error, MM_ERR_USAGE, "the weight %s is not loaded", weight->name);
    }
    return MM_OK;
}

static mm_status run_step(mm_executable *e, int32_t index, const mm_run_control *control,
                          mm_error *error)
{
    const mm_step *step = &e->plan.step[index];
    const mm_backend_table *table = e->backend->table;
    const mm_node *node = step->node;
    mm_kernel_call call = {.node = node,
                           .destination = address(e, index),
                           .workspace = e->arena + step->workspace_offset,
                           .cancel = control ? control->cancel : NULL};
    for (int32_t i = 0; i < MM_MAX_SOURCES; i++)
        call.source[i] = step->source[i] < 0 ? NULL : address(e, step->source[i]);
    double begin = control && control->seconds ? mm_clock_seconds() : 0.0;
    mm_status status = table->run(e->backend, &e->kernel[node->id], &call, error);
    if (status == MM_OK && control && control->seconds) {
        status = table->synchronize(e->backend, error);
        control->seconds[node->id] += mm_clock_seconds() - begin;
    }
    if (status != MM_OK && status != MM_ERR_CANCELLED)
        mm_error_prefix(error, "%s: %s", node->name, mm_op_describe(node->op)->name);
    return status;
}

static bool is_cancelled(const mm_run_control *control)
{
    return control && control->cancel && atomic_load(control->cancel) != 0;
}

mm_status mm_executable_run(mm_executable *executable, const mm_run_control *control,
                            mm_error *error)
{
    mm_plan_summary summary;
    mm_executable_summary(executable, &summary);
    MM_TRY(ensure_arena(executable, error));
    MM_TRY(check_weights(executable, error));
    int32_t done = 0;
    for (int32_t i = 0; i < executable->plan.count; i++) {
        if (!mm_is_computed(executable->plan.step[i].node))
            continue;
        if (is_cancelled(control))
            return mm_fail(error, MM_ERR_CANCELLED, "cancelled");
        MM_TRY(run_step(executable, i, control, error));
        done++;
        if (control && control->progress)
            control->progress(control->user, done, summary.nodes);
    }
    return executable->backend->table->synchronize(executable->backend, error);
}

typedef struct text {
    char *data;
    size_t bytes, capacity;
    bool failed;
} text;

static void put(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(text *t, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    size_t length = wanted < 0 ? 0 : strnlen(line, sizeof(line));
    if (!t->failed && t->capacity - t->bytes <= length) {
        size_t capacity = 2 * t->capacity + sizeof(line) + 1;
        char *data = mm_realloc(t->data, capacity);
        t->failed = !data;
        t->data = data ? data : t->data;
        t->capacity = data ? capacity : t->capacity;
    }
    if (t->failed)
        return;
    memcpy(t->data + t->bytes, line, length + 1);
    t->bytes += length;
}

static void describe_step(const mm_executable *e, int32_t index, text *t)
{
    const mm_step *step = &e->plan.step[index];
    char shape[128];
    put(t, "%6d%c %-24s %-24s %-4s ", index, step->again ? '*' : ' ',
        mm_op_describe(step->node->op)->name,
        mm_shape_text(&step->node->shape, shape, sizeof(shape)), mm_dtype_name(step->node->dtype));
    if (step->buffer < 0)
        put(t, "%14s %12zu", "weight", mm_node_bytes(step->node));
    else
        put(t, "%14zu %12zu", step->offset, mm_node_bytes(step->node));
    put(t, " %6d %6d %8.3f  %s\n", step->buffer, e->plan.step[step->value].last,
        1e-9 * mm_op_describe(step->node->op)->flops(step->node), step->node->name);
}

char *mm_executable_describe(const mm_executable *executable)
{
    text t = {0};
    put(&t, "%6s  %-24s %-24s %-4s %14s %12s %6s %6s %8s  %s\n", "step", "op (* computed again)",
        "shape", "type", "offset", "bytes", "buffer", "last", "GFLOP", "scope");
    for (int32_t i = 0; i < executable->plan.count; i++)
        describe_step(executable, i, &t);
    if (t.failed) {
        mm_free(t.data);
        return NULL;
    }
    return t.data;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/merged_lora.h"

#include <string.h>

#include "base/convert.h"
#include "base/memory.h"
#include "graph/executable.h"

/* A weight that the LoRAs change. */
typedef struct change {
    const mm_lora_site *site;
    mm_weight *weight;
    void *kept; /* its own values while the LoRAs are in */
} change;

struct mm_merged_lora {
    const mm_lora_stack *stack;
    mm_backend *backend;
    change *change;
    int32_t count;
};

static int32_t site_count(const mm_lora_stack *stack)
{
    return stack->count ? stack->use[0].set->count : 0;
}

static const mm_lora_site *changed_site(const mm_lora_stack *stack, int32_t index)
{
    for (int32_t i = 0; i < stack->count; i++) {
        const mm_lora_module *module = &stack->use[i].set->module[index];
        if (module->rank && stack->use[i].scale != 0.0f)
            return module->site;
    }
    return NULL;
}

size_t mm_merged_lora_bytes(const mm_lora_stack *stack, mm_dtype dtype)
{
    size_t kept = 0, most = 0;
    for (int32_t i = 0; i < site_count(stack); i++) {
        const mm_lora_site *site = changed_site(stack, i);
        if (!site)
            continue;
        size_t in = (size_t)site->in_features;
        size_t elements = in * (size_t)(site->count * site->out_features);
        size_t work = (5 * elements + 2 * in * in) * sizeof(float);
        kept += elements * mm_dtype_bytes(dtype);
        most = work > most ? work : most;
    }
    return kept + most;
}

static mm_status find_weights(mm_merged_lora *merge, const mm_weight_set *weights, mm_error *error)
{
    for (int32_t i = 0; i < site_count(merge->stack); i++) {
        change *next = &merge->change[merge->count];
        next->site = changed_site(merge->stack, i);
        if (!next->site)
            continue;
        char *name = mm_format("%s.weight", next->site->path[0]);
        if (!name)
            return mm_fail_memory(error, "the name of a weight", strlen(next->site->path[0]));
        next->weight = mm_weight_find(weights, name);
        mm_free(name);
        if (!next->weight || (next->weight->dtype != MM_F32 && next->weight->dtype != MM_BF16))
            return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: no weight that a LoRA could be added to",
                           next->site->path[0]);
        merge->count++;
    }
    return MM_OK;
}

mm_status mm_merged_lora_create(mm_merged_lora **out, const mm_lora_stack *stack,
                                const mm_weight_set *weights, mm_backend *backend, mm_error *error)
{
    size_t bytes = ((size_t)site_count(stack) + 1) * sizeof(change);
    mm_merged_lora *merge = mm_calloc(1, sizeof(*merge));
    *out = NULL;
    if (!merge)
        return mm_fail_memory(error, "a merged LoRA", sizeof(*merge));
    *merge = (mm_merged_lora){.stack = stack, .backend = backend, .change = mm_calloc(1, bytes)};
    mm_status status = merge->change ? find_weights(merge, weights, error)
                                     : mm_fail_memory(error, "a merged LoRA", bytes);
    if (status != MM_OK)
        mm_merged_lora_free(&merge);
    *out = merge;
    return status;
}

void mm_merged_lora_free(mm_merged_lora **merge)
{
    if (!*merge)
        return;
    for (int32_t i = 0; i < (*merge)->count; i++)
        mm_free((*merge)->change[i].kept);
    mm_free((*merge)->change);
    mm_free(*merge);
    *merge = NULL;
}

/* What the LoRAs make of the unit vectors: product[in, out]. */
static mm_status run_on_unit(const mm_merged_lora *merge, mm_graph *graph, const mm_lora_site *site,
                             float *unit, float *product, mm_error *error)
{
    int64_t in = site->in_features;
    mm_builder builder = {.graph = graph, .path = ""};
    mm_lora_stack stack = *merge->stack;
    mm_executable *executable = NULL;
    mm_node *x = mm_input(graph, "unit matrix", MM_F32, &MM_SHAPE(in, in));
    mm_graph_set_precise(graph, true);
    mm_node *y = mm_lora_adapt(&stack, &builder, site, x);
    MM_TRY(mm_graph_status(graph, error));
    MM_TRY(mm_executable_create(&executable, graph, &y, 1, merge->backend, &(mm_compile_options){0},
                                error));
    size_t square = (size_t)(in * in) * sizeof(float);
    size_t bytes = (size_t)(in * site->count * site->out_features) * sizeof(float);
    for (int64_t i = 0; i < in; i++)
        unit[i * (in + 1)] = 1.0f;
    mm_status status = mm_executable_write(executable, x, unit, square, error);
    if (status == MM_OK)
        status = mm_executable_run(executable, &(mm_run_control){0}, error);
    if (status == MM_OK)
        status = mm_executable_read(executable, y, product, bytes, error);
    mm_executable_free(&executable);
    return status;
}

static mm_status multiply(const mm_merged_lora *merge, const mm_lora_site *site, float *product,
                          mm_error *error)
{
    mm_graph *graph = NULL;
    size_t square = (size_t)(site->in_features * site->in_features);
    float *unit = mm_calloc(square, sizeof(float));
    if (!unit)
        return mm_fail_memory(error, "a unit matrix", square * sizeof(float));
    mm_status status = mm_graph_create(&graph, MM_F32, error);
    if (status == MM_OK)
        status = run_on_unit(merge, graph, site, unit, product, error);
    mm_graph_free(&graph);
    mm_free(unit);
    return status;
}

/* sum[out, in] += product[in, out] */
static void add_transposed(float *sum, const float *product, int64_t out, int64_t in)
{
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++)
            sum[o * in + i] += product[i * out + o];
}

static mm_status write_sum(const mm_merged_lora *merge, const change *c, float *scratch,
                           mm_error *error)
{
    const mm_backend_table *table = merge->backend->table;
    mm_dtype dtype = c->weight->dtype;
    size_t bytes = c->weight->bytes, count = (size_t)mm_shape_elements(&c->weight->shape);
    float *sum = scratch + count;
    MM_TRY(table->download(merge->backend, c->kept, c->weight->data, bytes, error));
    MM_TRY(multiply(merge, c->site, scratch, error));
    mm_convert_numbers(sum, MM_F32, c->kept, dtype, count);
    add_transposed(sum, scratch, c->site->count * c->site->out_features, c->site->in_features);
    mm_convert_numbers(scratch, dtype, sum, MM_F32, count);
    return table->upload(merge->backend, c->weight->data, scratch, bytes, error);
}

static mm_status put_in(const mm_merged_lora *merge, change *c, mm_error *error)
{
    size_t bytes = c->weight->bytes;
    if (!c->weight->data)
        return mm_fail(error, MM_ERR_USAGE, "the weight %s is not loaded", c->weight->name);
    size_t work = 2 * (size_t)mm_shape_elements(&c->weight->shape) * sizeof(float);
    float *scratch = mm_malloc(work);
    c->kept = mm_malloc(bytes);
    mm_status status = scratch && c->kept ? write_sum(merge, c, scratch, error)
                                          : mm_fail_memory(error, c->weight->name, work + bytes);
    mm_free(scratch);
    if (status != MM_OK) {
        mm_free(c->kept);
        c->kept = NULL;
    }
    return status;
}

static mm_status take_out(const mm_merged_lora *merge, mm_error *error)
{
    for (int32_t i = 0; i < merge->count; i++) {
        change *c = &merge->change[i];
        if (!c->kept)
            continue;
        MM_TRY(merge->backend->table->upload(merge->backend, c->weight->data, c->kept,
                                             c->weight->bytes, error));
        mm_free(c->kept);
        c->kept = NULL;
    }
    return MM_OK;
}

mm_status mm_merged_lora_set(mm_merged_lora *merge, bool in, mm_error *error)
{
    if (!in)
        return take_out(merge, error);
    mm_status status = MM_OK;
    for (int32_t i = 0; status == MM_OK && i < merge->count; i++) {
        if (!merge->change[i].kept)
            status = put_in(merge, &merge->change[i], error);
    }
    mm_error ignored;
    if (status != MM_OK)
        take_out(merge, &ignored);
    return status;
}

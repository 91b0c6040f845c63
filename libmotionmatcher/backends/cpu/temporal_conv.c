/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Convolutions over frames: products over shifted runs of frames, which are contiguous rows. The
 * gradient with respect to the input is the same with the taps in reverse order and the matrices
 * not transposed.
 */
#include "backends/cpu/onednn.h"
#include "backends/cpu/rounding.h"
#include "backends/cpu/simd/precise.h"
#include "base/memory.h"

typedef struct temporal_state {
    mm_primitive middle; /* over all frames of all clips; bias and addend */
    mm_rounding rounding;
    mm_primitive shifted; /* over one clip without its first or last frame; accumulates */
    mm_precise_product precise;
    bool is_precise; /* instead of those two, where sums in double are cheap */
    int64_t clips, frames;
    size_t from_frame, to_frame, tap; /* bytes of one frame of source and result, of one matrix */
    int earlier, later;               /* the taps for the frames before and after */
} temporal_state;

static mm_product plan_taps(const mm_node *node, bool gradient, temporal_state *state)
{
    const mm_shape *weight = &node->source[1]->shape;
    int64_t rows = mm_shape_elements(&node->shape) / node->shape.dim[node->shape.rank - 1];
    int64_t per_frame = rows / node->shape.dim[0];
    int64_t from = weight->dim[gradient ? 1 : 2], to = weight->dim[gradient ? 2 : 1];
    size_t element = mm_dtype_bytes(mm_product_type(node));
    state->frames = node->attr.temporal_conv.frames;
    state->clips = node->shape.dim[0] / state->frames;
    state->from_frame = (size_t)(per_frame * from) * element;
    state->to_frame = (size_t)(per_frame * to) * mm_dtype_bytes(node->dtype);
    state->tap = (size_t)(from * to) * element;
    state->earlier = gradient ? 2 : 0;
    state->later = gradient ? 0 : 2;
    return (mm_product){
        .m = rows,
        .n = to,
        .k = from,
        .a = {from, 1},
        .b = gradient ? (mm_product_matrix){to, 1} : (mm_product_matrix){1, from},
        .c_row_stride = to,
        .dtype = mm_product_type(node),
        .c_dtype = node->dtype,
        .alpha = 1.0f,
        .bias = node->source_count > 2 && node->source[2],
        .accumulate = node->source_count > 3 && node->source[3],
    };
}

static mm_precise_product precise_form(const mm_product *product, const temporal_state *state)
{
    int64_t frames = state->frames, pixels = product->m / (state->clips * frames);
    return (mm_precise_product){
        .images = state->clips,
        .input = {frames, pixels},
        .output = {frames, pixels},
        .kernel = {3, 1},
        .before = {1, 0},
        .stride = 1,
        .depth = product->k,
        .columns = product->n,
        .a_row = product->k,
        .b_tap = product->n * product->k,
        .b_row = product->b.row_stride,
        .b_column = product->b.column_stride,
        .c_row = product->n,
        .alpha = 1.0,
        .accumulate = product->accumulate,
    };
}

static void discard(mm_kernel *kernel)
{
    temporal_state *state = kernel->state;
    if (state) {
        mm_primitive_destroy(&state->middle);
        mm_primitive_destroy(&state->shifted);
    }
    mm_free(state);
}

static mm_status prepare_taps(const mm_cpu_context *context, const mm_node *node, bool gradient,
                              temporal_state *state, mm_error *error)
{
    mm_product product = plan_taps(node, gradient, state);
    state->precise = precise_form(&product, state);
    state->is_precise = !gradient && mm_precise_is_wanted(node, &state->precise);
    if (state->is_precise)
        return MM_OK;
    MM_TRY(mm_product_create(&state->middle, context, &product, error));
    product.bias = false;
    product.accumulate = true;
    if (state->frames == 1)
        return MM_OK;
    product.m = product.m / node->shape.dim[0] * (state->frames - 1);
    return mm_product_create(&state->shifted, context, &product, error);
}

static mm_status prepare(const mm_cpu_context *context, const mm_node *node, bool gradient,
                         mm_kernel *out, mm_error *error)
{
    temporal_state *state = mm_calloc(1, sizeof(*state));
    if (!state)
        return mm_fail_memory(error, "a temporal convolution", sizeof(*state));
    out->state = state;
    mm_status status = prepare_taps(context, node, gradient, state, error);
    if (status != MM_OK) {
        discard(out);
        out->state = NULL;
        return status;
    }
    if (state->is_precise) {
        out->workspace_bytes = mm_precise_workspace(&state->precise, context->threads);
        return MM_OK;
    }
    out->workspace_bytes = mm_larger_scratchpad(state->middle.scratchpad_bytes, &state->shifted);
    state->rounding = mm_rounding_plan(node, &out->workspace_bytes);
    return MM_OK;
}

static mm_status prepare_forward(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                                 mm_error *error)
{
    return prepare(context, node, false, out, error);
}

static mm_status prepare_gradient(const mm_cpu_context *context, const mm_node *node,
                                  mm_kernel *out, mm_error *error)
{
    return prepare(context, node, true, out, error);
}

static mm_status run_shifted(const mm_cpu_context *context, const temporal_state *state,
                             const mm_kernel_call *call, const char *from, int64_t clip,
                             mm_error *error)
{
    const char *weight = call->source[1];
    from += (size_t)(clip * state->frames) * state->from_frame;
    char *to = (char *)call->destination + (size_t)(clip * state->frames) * state->to_frame;
    MM_TRY(mm_product_run(context, &state->shifted, from,
                          weight + (size_t)state->earlier * state->tap, NULL, to + state->to_frame,
                          call->workspace, error));
    return mm_product_run(context, &state->shifted, from + state->from_frame,
                          weight + (size_t)state->later * state->tap, NULL, to, call->workspace,
                          error);
}

static mm_status run_taps(const mm_cpu_context *context, const temporal_state *state,
                          const mm_kernel_call *call, const char *from, mm_error *error)
{
    MM_TRY(mm_product_run(context, &state->middle, from, (const char *)call->source[1] + state->tap,
                          call->source[2], call->destination, call->workspace, error));
    for (int64_t clip = 0; clip < state->clips && state->frames > 1; clip++)
        MM_TRY(run_shifted(context, state, call, from, clip, error));
    return MM_OK;
}

static mm_status run(const mm_cpu_context *context, const mm_kernel *kernel,
                     const mm_kernel_call *call, mm_error *error)
{
    const temporal_state *state = kernel->state;
    size_t bytes = (size_t)(state->clips * state->frames) * state->to_frame;
    mm_cpu_place_addend(call->destination, call->source[3], bytes);
    if (state->is_precise) {
        mm_precise_product product = state->precise;
        product.a = call->source[0];
        product.b = call->source[1];
        product.bias = call->source[2];
        product.c = call->destination;
        mm_precise_run(context, &product, call->workspace);
        return MM_OK;
    }
    const char *from =
        mm_rounding_apply(context, &state->rounding, call->source[0], call->workspace);
    return run_taps(context, state, call, from, error);
}

const mm_cpu_kernel mm_cpu_temporal_conv = {prepare_forward, run, discard};
const mm_cpu_kernel mm_cpu_temporal_conv_grad = {prepare_gradient, run, discard};

/* SPDX-License-Identifier: BSD-2-Clause */
/* Spatial convolutions and their gradient with respect to the input. */
#include "backends/cpu/convolution.h"
#include "backends/cpu/rounding.h"
#include "backends/cpu/simd/precise.h"
#include "base/memory.h"

typedef struct conv2d_state {
    mm_primitive main; /* a convolution, or a product of all pixels when it is 1x1 */
    mm_rounding rounding;
    mm_precise_product precise;
    bool is_precise;         /* instead of `main`, where sums in double are cheap */
    mm_primitive reorder;    /* of the weight, each run, where another layout is wanted */
    size_t reordered_offset; /* of its result in the workspace */
    size_t reorder_scratchpad_offset;
    bool packed; /* the weight is held packed */
} conv2d_state;

/* `x` and `y` are the nodes at the input's and the output's place of the forward convolution. */
static mm_convolution convolution_of(const mm_node *node, const mm_shape *x, const mm_shape *y)
{
    const int64_t *kernel = node->source[1]->shape.dim;
    return (mm_convolution){
        .images = x->dim[0],
        .input = {x->dim[1], x->dim[2]},
        .output = {y->dim[1], y->dim[2]},
        .kernel = {kernel[2], kernel[3]},
        .before = {node->attr.conv2d.pad_top, node->attr.conv2d.pad_left},
        .after = {node->attr.conv2d.pad_bottom, node->attr.conv2d.pad_right},
        .channels_in = kernel[1],
        .channels_out = kernel[0],
        .stride = node->attr.conv2d.stride,
        .dtype = mm_product_type(node),
        .result_dtype = node->dtype,
        .bias = node->source_count > 2 && node->source[2],
        .accumulate = node->source_count > 3 && node->source[3],
    };
}

static bool is_product(const mm_convolution *c)
{
    return c->kernel[0] * c->kernel[1] == 1 && c->stride == 1 &&
           c->before[0] + c->before[1] + c->after[0] + c->after[1] == 0;
}

static size_t align(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* The layout in which the weight reaches the kernel. */
static mm_status given_layout(const mm_cpu_context *context, const mm_node *weight, bool packed,
                              dnnl_memory_desc_t *out, mm_error *error)
{
    if (packed)
        return mm_cpu_packed_layout(context, weight->weight, out, error);
    return mm_cpu_plain_layout(&weight->shape, weight->dtype, out, error);
}

static mm_status prepare_reorder(const mm_cpu_context *context, const mm_node *weight,
                                 const dnnl_memory_desc_t *wanted, conv2d_state *state,
                                 size_t *workspace, mm_error *error)
{
    dnnl_memory_desc_t given;
    state->packed = mm_cpu_is_packable(weight);
    MM_TRY(given_layout(context, weight, state->packed, &given, error));
    if (dnnl_memory_desc_equal(&given, wanted))
        return MM_OK;
    MM_TRY(mm_reorder_create(&state->reorder, context, &given, wanted, error));
    state->reordered_offset = align(*workspace);
    state->reorder_scratchpad_offset =
        align(state->reordered_offset + dnnl_memory_desc_get_size(wanted));
    *workspace = state->reorder_scratchpad_offset + state->reorder.scratchpad_bytes;
    return MM_OK;
}

static mm_status prepare_convolution(const mm_cpu_context *context, const mm_node *node,
                                     const mm_convolution *convolution, bool gradient,
                                     conv2d_state *state, size_t *workspace, mm_error *error)
{
    static const int forward[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
    static const int backward[] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
    dnnl_primitive_desc_t description;
    if (gradient)
        MM_TRY(mm_convolution_describe_gradient(context, convolution, &description, error));
    else
        MM_TRY(mm_convolution_describe(context, convolution, &description, error));
    const dnnl_memory_desc_t *layout =
        dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
    mm_status status =
        mm_primitive_create(&state->main, context, description, gradient ? backward : forward,
                            convolution->bias ? 4 : 3, error);
    *workspace = state->main.scratchpad_bytes;
    if (status == MM_OK)
        status = prepare_reorder(context, node->source[1], layout, state, workspace, error);
    dnnl_primitive_desc_destroy(description);
    return status;
}

static mm_status prepare_product(const mm_cpu_context *context, const mm_convolution *c,
                                 bool gradient, conv2d_state *state, size_t *workspace,
                                 mm_error *error)
{
    int64_t from = gradient ? c->channels_out : c->channels_in;
    int64_t to = gradient ? c->channels_in : c->channels_out;
    mm_product product = {
        .m = c->images * c->input[0] * c->input[1],
        .n = to,
        .k = from,
        .a = {from, 1},
        .b = gradient ? (mm_product_matrix){to, 1} : (mm_product_matrix){1, from},
        .c_row_stride = to,
        .dtype = c->dtype,
        .c_dtype = c->result_dtype,
        .alpha = 1.0f,
        .bias = c->bias,
        .accumulate = c->accumulate,
    };
    MM_TRY(mm_product_create(&state->main, context, &product, error));
    *workspace = state->main.scratchpad_bytes;
    return MM_OK;
}

static mm_precise_product precise_form(const mm_convolution *c)
{
    int64_t taps = c->kernel[0] * c->kernel[1];
    return (mm_precise_product){
        .images = c->images,
        .input = {c->input[0], c->input[1]},
        .output = {c->output[0], c->output[1]},
        .kernel = {c->kernel[0], c->kernel[1]},
        .before = {c->before[0], c->before[1]},
        .stride = c->stride,
        .depth = c->channels_in,
        .columns = c->channels_out,
        .a_row = c->channels_in,
        .b_tap = 1,
        .b_row = taps,
        .b_column = taps * c->channels_in,
        .c_row = c->channels_out,
        .alpha = 1.0,
        .accumulate = c->accumulate,
    };
}

static mm_status prepare_precise(const mm_cpu_context *context, const mm_node *node,
                                 conv2d_state *state, size_t *workspace, mm_error *error)
{
    const mm_node *weight = node->source[1];
    dnnl_memory_desc_t plain;
    *workspace = mm_precise_workspace(&state->precise, context->threads);
    if (weight->shape.dim[2] * weight->shape.dim[3] == 1)
        return MM_OK;
    MM_TRY(mm_cpu_plain_layout(&weight->shape, weight->dtype, &plain, error));
    return prepare_reorder(context, weight, &plain, state, workspace, error);
}

static mm_status choose(const mm_cpu_context *context, const mm_node *node,
                        const mm_convolution *convolution, bool gradient, conv2d_state *state,
                        size_t *workspace, mm_error *error)
{
    state->precise = precise_form(convolution);
    state->is_precise = !gradient && mm_precise_is_wanted(node, &state->precise);
    if (state->is_precise)
        return prepare_precise(context, node, state, workspace, error);
    if (is_product(convolution))
        return prepare_product(context, convolution, gradient, state, workspace, error);
    return prepare_convolution(context, node, convolution, gradient, state, workspace, error);
}

static void discard(mm_kernel *kernel)
{
    conv2d_state *state = kernel->state;
    if (state) {
        mm_primitive_destroy(&state->main);
        mm_primitive_destroy(&state->reorder);
    }
    mm_free(state);
}

static mm_status prepare(const mm_cpu_context *context, const mm_node *node,
                         const mm_convolution *convolution, bool gradient, mm_kernel *out,
                         mm_error *error)
{
    conv2d_state *state = mm_calloc(1, sizeof(*state));
    if (!state)
        return mm_fail_memory(error, "a convolution", sizeof(*state));
    out->state = state;
    mm_status status =
        choose(context, node, convolution, gradient, state, &out->workspace_bytes, error);
    state->rounding = mm_rounding_plan(node, &out->workspace_bytes);
    if (status != MM_OK) {
        discard(out);
        out->state = NULL;
    }
    return status;
}

static mm_status prepare_forward(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                                 mm_error *error)
{
    mm_convolution convolution = convolution_of(node, &node->source[0]->shape, &node->shape);
    return prepare(context, node, &convolution, false, out, error);
}

static mm_status prepare_gradient(const mm_cpu_context *context, const mm_node *node,
                                  mm_kernel *out, mm_error *error)
{
    mm_convolution convolution = convolution_of(node, &node->shape, &node->source[0]->shape);
    return prepare(context, node, &convolution, true, out, error);
}

/* The weight as `main` wants it. */
static mm_status find_weight(const mm_cpu_context *context, const conv2d_state *state,
                             const mm_kernel_call *call, const void **out, mm_error *error)
{
    const void *data[2] = {call->source[1]};
    if (state->packed)
        MM_TRY(mm_cpu_pack(context, call->node->source[1]->weight, &data[0], error));
    *out = data[0];
    if (!state->reorder.handle)
        return MM_OK;
    char *workspace = call->workspace;
    data[1] = *out = workspace + state->reordered_offset;
    return mm_primitive_run(context, &state->reorder, data,
                            workspace + state->reorder_scratchpad_offset, error);
}

static mm_status run(const mm_cpu_context *context, const mm_kernel *kernel,
                     const mm_kernel_call *call, mm_error *error)
{
    const conv2d_state *state = kernel->state;
    const mm_node *node = call->node;
    const void *weight;
    MM_TRY(find_weight(context, state, call, &weight, error));
    mm_cpu_place_addend(call->destination, call->source[3],
                        (size_t)mm_shape_elements(&node->shape) * mm_dtype_bytes(node->dtype));
    if (state->is_precise) {
        mm_precise_product product = state->precise;
        product.a = call->source[0];
        product.b = weight;
        product.bias = call->source[2];
        product.c = call->destination;
        mm_precise_run(context, &product, call->workspace);
        return MM_OK;
    }
    const void *from =
        mm_rounding_apply(context, &state->rounding, call->source[0], call->workspace);
    const void *data[] = {from, weight, call->destination, call->source[2]};
    return mm_primitive_run(context, &state->main, data, call->workspace, error);
}

const mm_cpu_kernel mm_cpu_conv2d = {prepare_forward, run, discard};
const mm_cpu_kernel mm_cpu_conv2d_grad = {prepare_gradient, run, discard};

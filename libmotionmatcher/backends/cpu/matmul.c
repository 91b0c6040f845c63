/* SPDX-License-Identifier: BSD-2-Clause */
/* C = alpha op(A) op(B) + bias + addend, for one matrix or for groups of columns. */
#include "backends/cpu/onednn.h"
#include "backends/cpu/rounding.h"
#include "backends/cpu/simd/precise.h"
#include "base/memory.h"

typedef struct matmul_state {
    mm_primitive product; /* where sums in double would cost too much */
    mm_rounding rounding;
    mm_precise_product precise;
    bool is_precise;
    int64_t groups;
    size_t a_step, b_step, bias_step, c_step; /* bytes from one group to the next */
} matmul_state;

typedef struct flat_matrix {
    int64_t rows, columns;
} flat_matrix;

static flat_matrix flatten(const mm_shape *shape)
{
    flat_matrix matrix = {1, shape->rank ? shape->dim[shape->rank - 1] : 1};
    for (int32_t i = 0; i + 1 < shape->rank; i++)
        matrix.rows *= shape->dim[i];
    return matrix;
}

static mm_product_matrix strides_of(int64_t row_length, bool transposed)
{
    return transposed ? (mm_product_matrix){1, row_length} : (mm_product_matrix){row_length, 1};
}

/* The product of one group and the steps between groups; see mm_matmul for the two grouped forms.
 */
static mm_product plan_groups(const mm_node *node, matmul_state *state)
{
    bool transpose_a = node->attr.matmul.transpose_a, transpose_b = node->attr.matmul.transpose_b;
    int64_t groups = node->attr.matmul.groups > 1 ? node->attr.matmul.groups : 1;
    bool stacked_b = groups > 1 && !transpose_a, stacked_c = groups > 1 && transpose_a;
    flat_matrix a = flatten(&node->source[0]->shape), b = flatten(&node->source[1]->shape);
    int64_t a_width = a.columns / groups;
    int64_t b_rows = stacked_b ? b.rows / groups : b.rows;
    int64_t b_width = stacked_b ? b.columns : b.columns / groups;
    mm_product product = {
        .m = transpose_a ? a_width : a.rows,
        .k = transpose_a ? a.rows : a_width,
        .n = transpose_b ? b_rows : b_width,
        .a = strides_of(a.columns, transpose_a),
        .b = strides_of(b.columns, transpose_b),
        .dtype = mm_product_type(node),
        .c_dtype = node->dtype,
    };
    product.c_row_stride = stacked_c ? product.n : product.n * groups;
    size_t element = mm_dtype_bytes(product.dtype);
    state->groups = groups;
    state->a_step = (size_t)a_width * element;
    state->b_step = (size_t)(stacked_b ? b_rows * b_width : b_width) * element;
    state->bias_step = (size_t)product.n * sizeof(float);
    state->c_step =
        (size_t)(stacked_c ? product.m * product.n : product.n) * mm_dtype_bytes(node->dtype);
    return product;
}

static bool has_source(const mm_node *node, int32_t i)
{
    return i < node->source_count && node->source[i];
}

static mm_precise_product precise_form(const mm_product *product)
{
    return (mm_precise_product){
        .images = 1,
        .input = {product->m, 1},
        .output = {product->m, 1},
        .kernel = {1, 1},
        .stride = 1,
        .depth = product->k,
        .columns = product->n,
        .a_row = product->a.row_stride,
        .b_row = product->b.row_stride,
        .b_column = product->b.column_stride,
        .c_row = product->c_row_stride,
        .alpha = (double)product->alpha,
        .accumulate = product->accumulate,
    };
}

static void discard(mm_kernel *kernel)
{
    matmul_state *state = kernel->state;
    if (state)
        mm_primitive_destroy(&state->product);
    mm_free(state);
}

static mm_status prepare(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                         mm_error *error)
{
    matmul_state *state = mm_calloc(1, sizeof(*state));
    if (!state)
        return mm_fail_memory(error, "a product", sizeof(*state));
    mm_product product = plan_groups(node, state);
    product.alpha = node->attr.matmul.alpha;
    product.bias = has_source(node, 2);
    product.accumulate = has_source(node, 3);
    out->state = state;
    state->precise = precise_form(&product);
    state->is_precise = product.a.column_stride == 1 && mm_precise_is_wanted(node, &state->precise);
    if (state->is_precise) {
        out->workspace_bytes = mm_precise_workspace(&state->precise, context->threads);
        return MM_OK;
    }
    mm_status status = mm_product_create(&state->product, context, &product, error);
    if (status != MM_OK) {
        discard(out);
        out->state = NULL;
        return status;
    }
    out->workspace_bytes = state->product.scratchpad_bytes;
    state->rounding = mm_rounding_plan(node, &out->workspace_bytes);
    return MM_OK;
}

static mm_status run_group(const mm_cpu_context *context, const matmul_state *state, const char *a,
                           const char *b, const char *bias, char *c, void *workspace,
                           mm_error *error)
{
    if (!state->is_precise)
        return mm_product_run(context, &state->product, a, b, bias, c, workspace, error);
    mm_precise_product product = state->precise;
    product.a = (const float *)(const void *)a;
    product.b = (const float *)(const void *)b;
    product.bias = (const float *)(const void *)bias;
    product.c = (float *)(void *)c;
    mm_precise_run(context, &product, workspace);
    return MM_OK;
}

static mm_status run(const mm_cpu_context *context, const mm_kernel *kernel,
                     const mm_kernel_call *call, mm_error *error)
{
    const matmul_state *state = kernel->state;
    const mm_node *node = call->node;
    mm_cpu_place_addend(call->destination, call->source[3],
                        (size_t)mm_shape_elements(&node->shape) * mm_dtype_bytes(node->dtype));
    const char *a = mm_rounding_apply(context, &state->rounding, call->source[0], call->workspace);
    const char *b = call->source[1], *bias = call->source[2];
    char *c = call->destination;
    for (int64_t i = 0; i < state->groups; i++) {
        MM_TRY(run_group(context, state, a, b, bias, c, call->workspace, error));
        a += state->a_step;
        b += state->b_step;
        bias = bias ? bias + state->bias_step : NULL;
        c += state->c_step;
    }
    return MM_OK;
}

const mm_cpu_kernel mm_cpu_matmul = {prepare, run, discard};

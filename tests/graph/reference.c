/* SPDX-License-Identifier: BSD-2-Clause */
#include "reference.h"

#include <math.h>

#include "base/rng.h"

static const double inverse_sqrt_2 = 0.70710678118654752440,
                    sqrt_2_over_pi = 0.79788456080286535588;

double mm_reference_activate(mm_activation_kind kind, double x)
{
    switch (kind) {
    case MM_ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case MM_ACTIVATION_GELU:
        return 0.5 * x * (1.0 + erf(x * inverse_sqrt_2));
    case MM_ACTIVATION_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
    case MM_ACTIVATION_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case MM_ACTIVATION_RELU:
        return fmax(x, 0.0);
    default:
        return x;
    }
}

static double slope(mm_activation_kind kind, double x)
{
    const double h = 1e-5;
    return (mm_reference_activate(kind, x + h) - mm_reference_activate(kind, x - h)) / (2.0 * h);
}

static void activation(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = mm_reference_activate(node->attr.activation.kind, x[0][i]);
}

static void activation_grad(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = slope(node->attr.activation.kind, x[0][i]) * x[1][i];
}

static void add(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][i] + x[1][i];
}

static void scale(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = (double)node->attr.scale.factor * x[0][i];
}

static void clamp(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = fmin(fmax(x[0][i], (double)node->attr.clamp.low), (double)node->attr.clamp.high);
}

static void dropout(const mm_node *node, double *y, const double *const *x)
{
    const double *key = x[1];
    uint64_t low = (uint32_t)(int32_t)key[0], high = (uint32_t)(int32_t)key[1];
    mm_rng rng = {low | high << 32, node->attr.dropout.stream, (uint32_t)(int32_t)key[2]};
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        float uniform;
        mm_rng_uniform(&rng, (uint64_t)i, &uniform, 1);
        bool dropped = uniform < node->attr.dropout.probability;
        y[i] = dropped ? 0.0 : x[0][i] / (1.0 - (double)node->attr.dropout.probability);
    }
}

static void concat(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node), first = mm_node_columns(node->source[0]);
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t row = i / width, c = i % width;
        y[i] = c < first ? x[0][row * first + c] : x[1][row * (width - first) + c - first];
    }
}

static void slice(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node), from = mm_node_columns(node->source[0]);
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][i / width * from + node->attr.slice.first + i % width];
}

static void slice_grad(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node), from = mm_node_columns(node->source[0]);
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        int64_t c = i % width - node->attr.slice.first;
        y[i] = c >= 0 && c < from ? x[0][i / width * from + c] : 0.0;
    }
}

static void repeat(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][i % mm_node_elements(node->source[0])];
}

/* The address of element (row, column) of op(X), where one group's matrix has the given strides. */
typedef struct matrix {
    const double *data;
    int64_t row_stride, column_stride;
} matrix;

static matrix group_of(const mm_node *x, const double *data, int64_t group, int64_t groups,
                       bool stacked, bool transpose)
{
    int64_t width = mm_node_columns(x);
    if (stacked)
        data += group * (mm_node_elements(x) / groups);
    else
        data += group * (width / groups);
    return transpose ? (matrix){data, 1, width} : (matrix){data, width, 1};
}

static void multiply(matrix a, matrix b, int64_t m, int64_t n, int64_t k, double alpha, double *y,
                     int64_t width)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (int64_t l = 0; l < k; l++)
                sum += a.data[i * a.row_stride + l * a.column_stride] *
                       b.data[l * b.row_stride + j * b.column_stride];
            y[i * width + j] = alpha * sum;
        }
    }
}

static void matmul(const mm_node *node, double *y, const double *const *x)
{
    bool ta = node->attr.matmul.transpose_a, tb = node->attr.matmul.transpose_b;
    int64_t groups = node->attr.matmul.groups, width = mm_node_columns(node);
    bool stacked = groups > 1 && !ta, stacked_result = groups > 1 && ta;
    int64_t m = mm_node_rows(node) / (stacked_result ? groups : 1);
    int64_t n = stacked ? width / groups : width;
    int64_t k = ta ? mm_node_rows(node->source[0]) : mm_node_columns(node->source[0]) / groups;
    for (int64_t group = 0; group < groups; group++) {
        matrix a = group_of(node->source[0], x[0], group, groups, false, ta);
        matrix b = group_of(node->source[1], x[1], group, groups, stacked, tb);
        multiply(a, b, m, n, k, (double)node->attr.matmul.alpha,
                 y + (stacked_result ? group * m * n : group * n), width);
    }
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] += (x[2] ? x[2][i % width] : 0.0) + (x[3] ? x[3][i] : 0.0);
}

static void mean_squared_error(const mm_node *node, double *y, const double *const *x)
{
    int64_t count = mm_node_elements(node->source[0]);
    y[0] = 0.0;
    for (int64_t i = 0; i < count; i++)
        y[0] += (x[0][i] - x[1][i]) * (x[0][i] - x[1][i]) / (double)count;
}

static void mean_squared_error_grad(const mm_node *node, double *y, const double *const *x)
{
    int64_t count = mm_node_elements(node);
    for (int64_t i = 0; i < count; i++)
        y[i] = 2.0 * (x[0][i] - x[1][i]) / (double)count * x[2][0];
}

static void geglu(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node);
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        const double *row = x[0] + i / width * 2 * width;
        y[i] = row[i % width] * mm_reference_activate(MM_ACTIVATION_GELU, row[width + i % width]);
    }
}

static void difference(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][i] - x[1][i];
}

static void combine(const mm_node *node, double *y, const double *const *x)
{
    double first = x[0][node->attr.combine.first], second = x[0][node->attr.combine.second];
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = first * x[1][i] + (x[2] ? second * x[2][i] : 0.0);
}

static void clamp_grad(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++) {
        bool inside =
            x[0][i] >= (double)node->attr.clamp.low && x[0][i] <= (double)node->attr.clamp.high;
        y[i] = inside ? x[1][i] : 0.0;
    }
}

static void convert(const mm_node *node, double *y, const double *const *x)
{
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][i];
}

static void add_rows(const mm_node *node, double *y, const double *const *x)
{
    int64_t width = mm_node_columns(node);
    int64_t run = mm_node_rows(node) / mm_node_rows(node->source[1]);
    for (int64_t i = 0; i < mm_node_elements(node); i++)
        y[i] = x[0][i] + x[1][i / width / run * width + i % width];
}

static mm_reference *const references[MM_OP_COUNT] = {
    [MM_OP_activation] = activation,
    [MM_OP_activation_grad] = activation_grad,
    [MM_OP_add] = add,
    [MM_OP_difference] = difference,
    [MM_OP_scale] = scale,
    [MM_OP_clamp] = clamp,
    [MM_OP_dropout] = dropout,
    [MM_OP_concat] = concat,
    [MM_OP_slice] = slice,
    [MM_OP_repeat] = repeat,
    [MM_OP_slice_grad] = slice_grad,
    [MM_OP_geglu] = geglu,
    [MM_OP_combine] = combine,
    [MM_OP_clamp_grad] = clamp_grad,
    [MM_OP_convert] = convert,
    [MM_OP_add_rows] = add_rows,
    [MM_OP_conv2d] = mm_reference_conv2d,
    [MM_OP_temporal_conv] = mm_reference_temporal_conv,
    [MM_OP_group_norm] = mm_reference_group_norm,
    [MM_OP_layer_norm] = mm_reference_layer_norm,
    [MM_OP_attention] = mm_reference_attention,
    [MM_OP_attention_map] = mm_reference_attention_map,
    [MM_OP_cross_attention] = mm_reference_cross_attention,
    [MM_OP_cross_attention_map] = mm_reference_cross_attention_map,
    [MM_OP_resize_nearest] = mm_reference_resize_nearest,
    [MM_OP_resize_bilinear] = mm_reference_resize_bilinear,
    [MM_OP_patch_correlation] = mm_reference_patch_correlation,
    [MM_OP_embedding] = mm_reference_embedding,
    [MM_OP_timestep_embedding] = mm_reference_timestep_embedding,
    [MM_OP_matmul] = matmul,
    [MM_OP_mean_squared_error] = mean_squared_error,
    [MM_OP_mean_squared_error_grad] = mean_squared_error_grad,
};

mm_reference *mm_reference_of(mm_op op)
{
    return references[op];
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/rng.h"
#include "graph/ops/rows.h"

static mm_node *unary(mm_graph *g, mm_op op, mm_node *x, const mm_attributes *attributes)
{
    return mm_graph_add(g, op, 1, &x, attributes);
}

static mm_node *binary(mm_graph *g, mm_op op, mm_node *a, mm_node *b,
                       const mm_attributes *attributes)
{
    return mm_graph_add(g, op, 2, (mm_node *[]){a, b}, attributes);
}

/* The gradient of an op with one source, as an op of (x, dy). */
static bool gradient_from_input(mm_graph *g, mm_node *node, mm_op op, mm_node *dy,
                                mm_node **gradient)
{
    gradient[0] = binary(g, op, node->source[0], dy, &node->attr);
    return gradient[0] != NULL;
}

mm_node *mm_activation(mm_graph *g, mm_node *x, mm_activation_kind kind)
{
    return unary(g, MM_OP_activation, x, &(mm_attributes){.activation = {kind}});
}

bool mm_gradient_activation(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return gradient_from_input(g, node, MM_OP_activation_grad, dy, gradient);
}

mm_node *mm_geglu(mm_graph *g, mm_node *x)
{
    return unary(g, MM_OP_geglu, x, NULL);
}

bool mm_infer_geglu(mm_graph *g, mm_node *node)
{
    int64_t columns = mm_node_columns(node->source[0]);
    if (columns % 2 != 0)
        return mm_shape_fail(g, node, "%lld channels have no halves", (long long)columns);
    mm_infer_like_first(g, node);
    node->shape.dim[node->shape.rank - 1] = columns / 2;
    return true;
}

bool mm_gradient_geglu(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return gradient_from_input(g, node, MM_OP_geglu_grad, dy, gradient);
}

mm_node *mm_add(mm_graph *g, mm_node *a, mm_node *b)
{
    return binary(g, MM_OP_add, a, b, NULL);
}

bool mm_gradient_add(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    (void)g;
    for (int32_t i = 0; i < 2; i++)
        gradient[i] = mm_wants_gradient(node, i) ? dy : NULL;
    return true;
}

mm_node *mm_difference(mm_graph *g, mm_node *a, mm_node *b, mm_dtype to)
{
    return binary(g, MM_OP_difference, a, b, &(mm_attributes){.convert = {to}});
}

bool mm_infer_difference(mm_graph *g, mm_node *node)
{
    return mm_infer_same_pair(g, node) && mm_infer_convert(g, node);
}

bool mm_gradient_difference(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    gradient[0] = dy;
    if (mm_wants_gradient(node, 1))
        gradient[1] = mm_scale(g, dy, -1.0f);
    return !mm_wants_gradient(node, 1) || gradient[1];
}

mm_node *mm_scale(mm_graph *g, mm_node *x, float factor)
{
    return unary(g, MM_OP_scale, x, &(mm_attributes){.scale = {factor}});
}

bool mm_gradient_scale(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    gradient[0] = mm_scale(g, dy, node->attr.scale.factor);
    return gradient[0] != NULL;
}

mm_node *mm_combine(mm_graph *g, mm_node *coefficients, mm_node *a, int32_t first, mm_node *b,
                    int32_t second)
{
    return mm_graph_add(g, MM_OP_combine, 3, (mm_node *[]){coefficients, a, b},
                        &(mm_attributes){.combine = {first, second}});
}

bool mm_infer_combine(mm_graph *g, mm_node *node)
{
    const mm_node *coefficients = node->source[0], *a = node->source[1],
                  *b = node->source_count > 2 ? node->source[2] : NULL;
    int64_t count = mm_node_elements(coefficients);
    int32_t first = node->attr.combine.first, second = node->attr.combine.second;
    if (coefficients->dtype != MM_F32 || first < 0 || first >= count ||
        (b && (second < 0 || second >= count)))
        return mm_shape_fail(g, node, "coefficients %d and %d of %lld", first, second,
                             (long long)count);
    if (b && (!mm_shape_equal(&a->shape, &b->shape) || a->dtype != b->dtype))
        return mm_shape_fail(g, node, "the two sources differ in shape or type");
    node->shape = a->shape;
    node->dtype = a->dtype;
    return true;
}

bool mm_gradient_combine(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    const int32_t index[] = {0, node->attr.combine.first, node->attr.combine.second};
    if (mm_wants_gradient(node, 0))
        return mm_refuse_gradients(g, node, 0);
    for (int32_t i = 1; i < 3; i++) {
        if (mm_wants_gradient(node, i) &&
            !(gradient[i] = mm_combine(g, node->source[0], dy, index[i], NULL, 0)))
            return false;
    }
    return true;
}

mm_node *mm_clamp(mm_graph *g, mm_node *x, float low, float high)
{
    return unary(g, MM_OP_clamp, x, &(mm_attributes){.clamp = {low, high}});
}

bool mm_infer_clamp(mm_graph *g, mm_node *node)
{
    if (!(node->attr.clamp.low <= node->attr.clamp.high))
        return mm_shape_fail(g, node, "the range %g..%g is empty", (double)node->attr.clamp.low,
                             (double)node->attr.clamp.high);
    return mm_infer_like_first(g, node);
}

bool mm_gradient_clamp(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    return gradient_from_input(g, node, MM_OP_clamp_grad, dy, gradient);
}

mm_node *mm_dropout(mm_graph *g, mm_node *x, mm_node *key, float probability, uint32_t layer)
{
    return binary(g, MM_OP_dropout, x, key,
                  &(mm_attributes){.dropout = {probability, MM_STREAM_DROPOUT + layer}});
}

bool mm_infer_dropout(mm_graph *g, mm_node *node)
{
    const mm_node *key = node->source[1];
    if (key->dtype != MM_I32 || mm_node_elements(key) != 3)
        return mm_shape_fail(g, node, "the key is not three numbers of type i32");
    if (!(node->attr.dropout.probability >= 0.0f && node->attr.dropout.probability < 1.0f))
        return mm_shape_fail(g, node, "a probability of %g",
                             (double)node->attr.dropout.probability);
    return mm_infer_like_first(g, node);
}

/* The same elements are dropped from the gradient: the key alone decides which. */
bool mm_gradient_dropout(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    gradient[0] = binary(g, MM_OP_dropout, dy, node->source[1], &node->attr);
    return gradient[0] != NULL;
}

mm_node *mm_cast(mm_graph *g, mm_node *x, mm_dtype to)
{
    if (!x || x->dtype == to)
        return x;
    return unary(g, MM_OP_convert, x, &(mm_attributes){.convert = {to}});
}

static bool is_number_with_fraction(mm_dtype dtype)
{
    return dtype == MM_F32 || dtype == MM_BF16;
}

bool mm_infer_convert(mm_graph *g, mm_node *node)
{
    mm_dtype from = node->source[0]->dtype, to = node->attr.convert.to;
    if (!is_number_with_fraction(from) || !is_number_with_fraction(to))
        return mm_shape_fail(g, node, "from %s to %s", mm_dtype_name(from), mm_dtype_name(to));
    mm_infer_like_first(g, node);
    node->dtype = to;
    return true;
}

bool mm_gradient_convert(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    gradient[0] = mm_cast(g, dy, node->source[0]->dtype);
    return gradient[0] != NULL;
}

mm_node *mm_add_rows(mm_graph *g, mm_node *x, mm_node *rows)
{
    return binary(g, MM_OP_add_rows, x, rows, NULL);
}

bool mm_infer_add_rows(mm_graph *g, mm_node *node)
{
    const mm_node *x = node->source[0], *rows = node->source[1];
    char left[128], right[128];
    if (mm_node_columns(x) != mm_node_columns(rows) || mm_node_rows(x) % mm_node_rows(rows) != 0)
        return mm_shape_fail(g, node, "%s cannot be added to the rows of %s",
                             mm_shape_text(&rows->shape, right, sizeof(right)),
                             mm_shape_text(&x->shape, left, sizeof(left)));
    return mm_infer_like_first(g, node);
}

bool mm_gradient_add_rows(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    gradient[0] = dy;
    return mm_refuse_gradients(g, node, 1);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Matrix products and convolutions. */
#include "graph/ops/rows.h"

#include "base/memory.h"

typedef struct matrix {
    int64_t rows, columns;
} matrix;

typedef struct product {
    int64_t groups, m, n, k; /* of one group */
} product;

static bool mismatch(mm_graph *g, const mm_node *node)
{
    char left[128], right[128];
    return mm_shape_fail(g, node, "%s%s and %s%s do not multiply in %d group(s)",
                         mm_shape_text(&node->source[0]->shape, left, sizeof(left)),
                         node->attr.matmul.transpose_a ? " transposed" : "",
                         mm_shape_text(&node->source[1]->shape, right, sizeof(right)),
                         node->attr.matmul.transpose_b ? " transposed" : "",
                         node->attr.matmul.groups);
}

/* One group's matrix of a node whose columns are cut into groups. */
static bool cut_columns(const mm_node *x, int64_t groups, matrix *out)
{
    int64_t columns = mm_node_columns(x);
    *out = (matrix){mm_node_rows(x), columns / groups};
    return columns % groups == 0;
}

/* One group's matrix of the second source: a matrix of its own, or cut from the columns. */
static bool second_matrix(const mm_node *node, int64_t groups, matrix *out)
{
    const mm_node *b = node->source[1];
    if (groups == 1 || node->attr.matmul.transpose_a)
        return cut_columns(b, groups, out) && !(groups > 1 && node->attr.matmul.transpose_b);
    *out = (matrix){b->shape.dim[1], b->shape.dim[2]};
    return b->shape.rank == 3 && b->shape.dim[0] == groups;
}

static bool measure(const mm_node *node, product *out)
{
    matrix a, b;
    int64_t groups = node->attr.matmul.groups;
    bool ta = node->attr.matmul.transpose_a, tb = node->attr.matmul.transpose_b;
    *out = (product){0};
    if (groups < 1 || !cut_columns(node->source[0], groups, &a) || !second_matrix(node, groups, &b))
        return false;
    *out = (product){groups, ta ? a.columns : a.rows, tb ? b.rows : b.columns,
                     ta ? a.rows : a.columns};
    return out->k == (tb ? b.columns : b.rows);
}

static bool check_addend(mm_graph *g, const mm_node *node)
{
    const mm_node *addend = mm_node_addend(node);
    char have[128], want[128];
    if (!addend || (mm_shape_equal(&addend->shape, &node->shape) && addend->dtype == node->dtype))
        return true;
    return mm_shape_fail(
        g, node, "the addend is %s %s instead of %s %s", mm_dtype_name(addend->dtype),
        mm_shape_text(&addend->shape, have, sizeof(have)), mm_dtype_name(node->dtype),
        mm_shape_text(&node->shape, want, sizeof(want)));
}

bool mm_infer_matmul(mm_graph *g, mm_node *node)
{
    product p;
    int64_t columns;
    if (node->attr.matmul.groups == 0)
        node->attr.matmul.groups = 1;
    if (!measure(node, &p) || !mm_mul_i64(p.groups, p.n, &columns))
        return mismatch(g, node);
    const mm_node *bias = node->source_count > 2 ? node->source[2] : NULL;
    if (!node->attr.matmul.transpose_a) {
        node->shape = node->source[0]->shape;
        node->shape.rank = node->shape.rank ? node->shape.rank : 1;
        node->shape.dim[node->shape.rank - 1] = columns;
        node->dtype = mm_product_result(node);
    } else {
        /* A gradient of weights, or a product of the same kind: kept in f32. */
        node->shape = p.groups > 1 ? MM_SHAPE(p.groups, p.m, p.n) : MM_SHAPE(p.m, p.n);
        node->dtype = MM_F32;
        if (bias && p.groups > 1)
            return mm_shape_fail(g, node, "stacked results take no bias");
    }
    return mm_check_vector(g, node, bias, columns, "the bias") && check_addend(g, node);
}

double mm_flops_matmul(const mm_node *node)
{
    product p;
    measure(node, &p);
    return 2.0 * (double)p.groups * (double)p.m * (double)p.n * (double)p.k;
}

static mm_node *multiply(mm_graph *g, const mm_node *like, mm_node *a, mm_node *b, bool ta, bool tb)
{
    mm_attributes attributes = {
        .matmul = {ta, tb, like->attr.matmul.groups, like->attr.matmul.alpha}};
    return mm_matmul(g, a, b, NULL, NULL, &attributes);
}

/* C = op(A) op(B): dA = dC op(B)^T, or its transpose. */
static mm_node *gradient_of_a(mm_graph *g, mm_node *node, mm_node *dy)
{
    bool ta = node->attr.matmul.transpose_a, tb = node->attr.matmul.transpose_b;
    mm_node *b = node->source[1];
    return ta ? multiply(g, node, b, dy, tb, true) : multiply(g, node, dy, b, false, !tb);
}

/* dB = op(A)^T dC, or its transpose. */
static mm_node *gradient_of_b(mm_graph *g, mm_node *node, mm_node *dy)
{
    bool ta = node->attr.matmul.transpose_a, tb = node->attr.matmul.transpose_b;
    mm_node *a = node->source[0];
    return tb ? multiply(g, node, dy, a, true, ta) : multiply(g, node, a, dy, !ta, false);
}

bool mm_gradient_matmul(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient)
{
    bool stacked = node->attr.matmul.groups > 1 && node->attr.matmul.transpose_a;
    if (stacked || mm_wants_gradient(node, 2))
        return mm_refuse_gradients(g, node, stacked ? 0 : 2);
    if (mm_wants_gradient(node, 0) &&
        !(gradient[0] = mm_view_like(g, gradient_of_a(g, node, dy), node->source[0])))
        return false;
    if (mm_wants_gradient(node, 1) &&
        !(gradient[1] = mm_view_like(g, gradient_of_b(g, node, dy), node->source[1])))
        return false;
    if (mm_wants_gradient(node, 3))
        gradient[3] = dy;
    return true;
}

mm_node *mm_matmul(mm_graph *g, mm_node *a, mm_node *b, mm_node *bias, mm_node *addend,
                   const mm_attributes *attributes)
{
    return mm_graph_add(g, MM_OP_matmul, 4, (mm_node *[]){a, b, bias, addend}, attributes);
}

mm_node *mm_linear(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, mm_node *addend)
{
    mm_attributes attributes = {.matmul = {.transpose_b = true, .groups = 1, .alpha = 1.0f}};
    return mm_matmul(g, x, weight, bias, addend, &attributes);
}

mm_node *mm_grouped_linear(mm_graph *g, mm_node *x, mm_node *weight)
{
    if (!weight)
        return mm_linear(g, x, weight, NULL, NULL);
    if (weight->shape.rank != 3 || weight->shape.dim[0] > INT32_MAX)
        return mm_graph_fail(g, MM_ERR_INPUT, "%s: a grouped weight has three dimensions",
                             g->scope);
    mm_attributes attributes = {
        .matmul = {.transpose_b = true, .groups = (int32_t)weight->shape.dim[0], .alpha = 1.0f}};
    return mm_matmul(g, x, weight, NULL, NULL, &attributes);
}

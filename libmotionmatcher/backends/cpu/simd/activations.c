/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/activations.h"

#include "backends/cpu/simd/elements.h"

#define CHUNK 8192 /* elements of a task */

typedef mm_vec unary(mm_vec x);

/* Three of the activations are x sigmoid(u(x)). */
MM_INLINE mm_vec silu(mm_vec x)
{
    mm_vec slope;
    return x * mm_sigmoid(x, &slope);
}

MM_INLINE mm_vec silu_slope(mm_vec x)
{
    mm_vec slope, s = mm_sigmoid(x, &slope);
    return s + x * slope;
}

MM_INLINE mm_vec quick_gelu(mm_vec x)
{
    mm_vec slope;
    return x * mm_sigmoid(1.702f * x, &slope);
}

MM_INLINE mm_vec quick_gelu_slope(mm_vec x)
{
    mm_vec slope, s = mm_sigmoid(1.702f * x, &slope);
    return s + 1.702f * x * slope;
}

/* (1 + tanh v) / 2 = sigmoid(2 v) with v = sqrt(2 / pi) (x + 0.044715 x^3) */
#define TWICE_ROOT 1.59576912f
MM_INLINE mm_vec gelu_tanh(mm_vec x)
{
    mm_vec slope;
    return x * mm_sigmoid(TWICE_ROOT * x * (1.0f + 0.044715f * x * x), &slope);
}

MM_INLINE mm_vec gelu_tanh_slope(mm_vec x)
{
    mm_vec square = x * x, slope;
    mm_vec s = mm_sigmoid(TWICE_ROOT * x * (1.0f + 0.044715f * square), &slope);
    mm_vec inner = TWICE_ROOT * x * (1.0f + 3.0f * 0.044715f * square);
    /* where the slope vanishes the cubic may be infinite */
    return s + mm_select(slope < 1e-30f, mm_splat(0.0f), inner * slope);
}

/* Keeps NaN. */
MM_INLINE mm_vec relu(mm_vec x)
{
    return mm_select(x < 0.0f, mm_splat(0.0f), x);
}

MM_INLINE mm_vec relu_slope(mm_vec x)
{
    return mm_select(x != x, x, mm_select(x > 0.0f, mm_splat(1.0f), mm_splat(0.0f)));
}

MM_INLINE mm_vec gelu(mm_vec x)
{
    mm_vec density;
    return x * mm_normal(x, &density);
}

MM_INLINE mm_vec gelu_slope(mm_vec x)
{
    mm_vec density, normal = mm_normal(x, &density);
    return normal + x * density;
}

MM_INLINE void map(unary *f, float *y, const float *x, int64_t count)
{
    int64_t i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES)
        mm_store(y + i, f(mm_load(x + i)));
    if (i < count)
        mm_store_part(y + i, f(mm_load_part(x + i, count - i)), count - i);
}

/* y = f(x) * z */
MM_INLINE void map_times(unary *f, float *y, const float *x, const float *z, int64_t count)
{
    int64_t i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES)
        mm_store(y + i, f(mm_load(x + i)) * mm_load(z + i));
    if (i < count) {
        mm_vec rest = f(mm_load_part(x + i, count - i)) * mm_load_part(z + i, count - i);
        mm_store_part(y + i, rest, count - i);
    }
}

void mm_activate(mm_activation_kind kind, float *y, const float *x, int64_t count)
{
    switch (kind) {
    case MM_ACTIVATION_NONE:
        if (y != x)
            memcpy(y, x, (size_t)count * sizeof(*y));
        break;
    case MM_ACTIVATION_SILU:
        map(silu, y, x, count);
        break;
    case MM_ACTIVATION_GELU:
        map(gelu, y, x, count);
        break;
    case MM_ACTIVATION_GELU_TANH:
        map(gelu_tanh, y, x, count);
        break;
    case MM_ACTIVATION_QUICK_GELU:
        map(quick_gelu, y, x, count);
        break;
    case MM_ACTIVATION_RELU:
        map(relu, y, x, count);
        break;
    }
}

void mm_activate_grad(mm_activation_kind kind, float *dx, const float *x, const float *dy,
                      int64_t count)
{
    switch (kind) {
    case MM_ACTIVATION_NONE:
        if (dx != dy)
            memcpy(dx, dy, (size_t)count * sizeof(*dx));
        break;
    case MM_ACTIVATION_SILU:
        map_times(silu_slope, dx, x, dy, count);
        break;
    case MM_ACTIVATION_GELU:
        map_times(gelu_slope, dx, x, dy, count);
        break;
    case MM_ACTIVATION_GELU_TANH:
        map_times(gelu_tanh_slope, dx, x, dy, count);
        break;
    case MM_ACTIVATION_QUICK_GELU:
        map_times(quick_gelu_slope, dx, x, dy, count);
        break;
    case MM_ACTIVATION_RELU:
        map_times(relu_slope, dx, x, dy, count);
        break;
    }
}

MM_SIMD_KERNEL(activation)
{
    mm_activation_kind kind = call->node->attr.activation.kind;
    int64_t count = mm_shape_elements(&call->node->shape);
    mm_elements x = mm_source(call, 0), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += MM_PIECE) {
        float scratch[MM_PIECE];
        int64_t n = mm_smaller(MM_PIECE, count - first);
        const float *from = mm_read(x, first, n, scratch);
        float *to = mm_place(y, first, scratch);
        mm_activate(kind, to, from, n);
        mm_write(y, first, n, to);
    }
}

MM_SIMD_KERNEL(activation_grad)
{
    mm_activation_kind kind = call->node->attr.activation.kind;
    int64_t count = mm_shape_elements(&call->node->shape);
    mm_elements x = mm_source(call, 0), dy = mm_source(call, 1), dx = mm_destination(call);
#pragma omp parallel for schedule(static) if (count > CHUNK)
    for (int64_t first = 0; first < count; first += MM_PIECE) {
        float scratch[2][MM_PIECE];
        int64_t n = mm_smaller(MM_PIECE, count - first);
        const float *from = mm_read(x, first, n, scratch[0]);
        const float *slope = mm_read(dy, first, n, scratch[1]);
        float *to = mm_place(dx, first, scratch[1]);
        mm_activate_grad(kind, to, from, slope, n);
        mm_write(dx, first, n, to);
    }
}

MM_SIMD_KERNEL(geglu)
{
    int64_t width = mm_last_dim(call->node);
    int64_t rows = width ? mm_shape_elements(&call->node->shape) / width : 0;
    int64_t pieces = mm_ceil_div(width, MM_PIECE);
    mm_elements x = mm_source(call, 0), y = mm_destination(call);
#pragma omp parallel for schedule(static) if (rows * width > CHUNK)
    for (int64_t i = 0; i < rows * pieces; i++) {
        float scratch[2][MM_PIECE];
        int64_t row = i / pieces, first = i % pieces * MM_PIECE;
        int64_t n = mm_smaller(MM_PIECE, width - first), at = row * 2 * width + first;
        const float *value = mm_read(x, at, n, scratch[0]);
        const float *gate = mm_read(x, at + width, n, scratch[1]);
        float *to = mm_place(y, row * width + first, scratch[1]);
        map_times(gelu, to, gate, value, n);
        mm_write(y, row * width + first, n, to);
    }
}

MM_INLINE void geglu_slopes(mm_vec value, mm_vec gate, mm_vec dy, mm_vec *dvalue, mm_vec *dgate)
{
    mm_vec density, normal = mm_normal(gate, &density);
    *dvalue = dy * (gate * normal);
    *dgate = dy * value * (normal + gate * density);
}

typedef struct geglu_piece {
    const float *value, *gate, *dy;
    float *dvalue, *dgate;
} geglu_piece;

static void geglu_grad_piece(geglu_piece p, int64_t count)
{
    mm_vec dvalue, dgate;
    int64_t i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES) {
        geglu_slopes(mm_load(p.value + i), mm_load(p.gate + i), mm_load(p.dy + i), &dvalue, &dgate);
        mm_store(p.dvalue + i, dvalue);
        mm_store(p.dgate + i, dgate);
    }
    int64_t rest = count - i;
    if (rest) {
        geglu_slopes(mm_load_part(p.value + i, rest), mm_load_part(p.gate + i, rest),
                     mm_load_part(p.dy + i, rest), &dvalue, &dgate);
        mm_store_part(p.dvalue + i, dvalue, rest);
        mm_store_part(p.dgate + i, dgate, rest);
    }
}

MM_SIMD_KERNEL(geglu_grad)
{
    int64_t width = mm_last_dim(call->node) / 2;
    int64_t rows = width ? mm_shape_elements(&call->node->shape) / (2 * width) : 0;
    int64_t pieces = mm_ceil_div(width, MM_PIECE);
    mm_elements x = mm_source(call, 0), dy = mm_source(call, 1), dx = mm_destination(call);
#pragma omp parallel for schedule(static) if (rows * width > CHUNK)
    for (int64_t i = 0; i < rows * pieces; i++) {
        float scratch[3][MM_PIECE];
        int64_t row = i / pieces, first = i % pieces * MM_PIECE;
        int64_t n = mm_smaller(MM_PIECE, width - first), at = row * 2 * width + first;
        geglu_piece piece = {.value = mm_read(x, at, n, scratch[0]),
                             .gate = mm_read(x, at + width, n, scratch[1]),
                             .dy = mm_read(dy, row * width + first, n, scratch[2]),
                             .dvalue = mm_place(dx, at, scratch[0]),
                             .dgate = mm_place(dx, at + width, scratch[1])};
        geglu_grad_piece(piece, n);
        mm_write(dx, at, n, piece.dvalue);
        mm_write(dx, at + width, n, piece.dgate);
    }
}

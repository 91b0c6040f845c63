/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Builders of nodes. Shapes: F = clips * frames, C = channels; "..." stands for any leading
 * dimensions, which together are the rows. Optional sources may be NULL. Every builder returns
 * NULL after an error (graph.h).
 */
#ifndef MM_GRAPH_OPS_H
#define MM_GRAPH_OPS_H

#include "graph/graph.h"

/* Leaves. */
mm_node *mm_input(mm_graph *g, const char *name, mm_dtype dtype, const mm_shape *shape);
mm_node *mm_weight_node(mm_graph *g, mm_weight *weight); /* frozen: never gets a gradient */
/* Trainable, f32. Asked again for the same weight, it gives the same node. */
mm_node *mm_parameter_node(mm_graph *g, mm_weight *weight);

/* The same memory under another shape. */
mm_node *mm_view(mm_graph *g, mm_node *x, const mm_shape *shape);
/* The same value, through which no gradient goes. */
mm_node *mm_detach(mm_graph *g, mm_node *x);

/* Activations are f32 or bf16; a product or convolution has its input's type, or f32 where it has a
   f32 addend. A f32 input is rounded to bf16 for a bf16 weight. */

/* y[..., N] = x[..., K] weight[N, K]^T + bias[N] + addend[..., N]; bias and addend optional. */
mm_node *mm_linear(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, mm_node *addend);
/* Group i of the channels goes through matrix i: x[..., G K], weight[G, N, K] -> [..., G N]. */
mm_node *mm_grouped_linear(mm_graph *g, mm_node *x, mm_node *weight);
/* General: a[M, K] and b[K, N] as attributes say; sources a, b, bias, addend. The matrices of a and
   b are the last dimension (columns) and all leading ones together (rows). The result is [leading
   dimensions of a, N], or [M, N] with transpose_a. With groups G > 1 there are two forms: a[..., G
   K], b[G, K, N] (or [G, N, K] with transpose_b) -> [..., G N] a[R, G M] with transpose_a, b[R, G
   N]                   -> [G, M, N] where group i means the i-th run of the columns, and matrix i.
 */
mm_node *mm_matmul(mm_graph *g, mm_node *a, mm_node *b, mm_node *bias, mm_node *addend,
                   const mm_attributes *attributes);

/* x[F, H, W, Ci], weight[Co, Ci, kh, kw], bias[Co], addend like the output. Padding of zeros:
   top, left, bottom, right. */
mm_node *mm_conv2d(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, mm_node *addend,
                   int32_t stride, const int32_t padding[4]);
/* Convolution over frames with three taps: x[clips frames, H, W, Ci], weight[3, Co, Ci]:
   y_f = W0 x_{f-1} + W1 x_f + W2 x_{f+1} + bias + addend, zero outside the clip. */
mm_node *mm_temporal_conv(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, mm_node *addend,
                          int64_t frames);

/* Normalises each (instance, group of channels) over the instance's rows and the group's channels,
   then scale and shift by weight[C] and bias[C], then the activation. instances = frames for
   spatial layers, = clips for temporal ones. */
mm_node *mm_group_norm(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, int64_t groups,
                       float eps, int64_t instances, mm_activation_kind activation);
mm_node *mm_layer_norm(mm_graph *g, mm_node *x, mm_node *weight, mm_node *bias, float eps);

mm_node *mm_activation(mm_graph *g, mm_node *x, mm_activation_kind kind);
/* x[..., 2 N] = (value, gate) -> value * gelu(gate) [..., N]. */
mm_node *mm_geglu(mm_graph *g, mm_node *x);
mm_node *mm_add(mm_graph *g, mm_node *a, mm_node *b);
/* a - b, rounded to the type `to`. */
mm_node *mm_difference(mm_graph *g, mm_node *a, mm_node *b, mm_dtype to);
mm_node *mm_scale(mm_graph *g, mm_node *x, float factor);
/* coefficients[first] * a + coefficients[second] * b; coefficients is an f32 input that changes
   from run to run. b may be NULL. */
mm_node *mm_combine(mm_graph *g, mm_node *coefficients, mm_node *a, int32_t first, mm_node *b,
                    int32_t second);
mm_node *mm_clamp(mm_graph *g, mm_node *x, float low, float high);
/* Zero with the given probability, else divided by 1 - probability. key: i32 [3], the low and high
   half of the seed and the step (base/rng.h); element i draws uniform number i of the stream. */
mm_node *mm_dropout(mm_graph *g, mm_node *x, mm_node *key, float probability, uint32_t layer);
/* The same values, rounded, as f32 or bf16; x itself where it is of that type. */
mm_node *mm_cast(mm_graph *g, mm_node *x, mm_dtype to);
/* Adds rows[B, C] to x[B R..., C]: row b to the b-th of B equal runs of rows. */
mm_node *mm_add_rows(mm_graph *g, mm_node *x, mm_node *rows);

mm_node *mm_concat(mm_graph *g, mm_node *a, mm_node *b);                  /* along the channels */
mm_node *mm_slice(mm_graph *g, mm_node *x, int64_t first, int64_t count); /* of the channels */
mm_node *mm_repeat(mm_graph *g, mm_node *x, int64_t times); /* along the first dimension */
/* x[F, H, W, C]; row y comes from row min(floor(y * s), H - 1) with s = (float)H / (float)height,
   in single precision as PyTorch does; columns likewise. */
mm_node *mm_resize_nearest(mm_graph *g, mm_node *x, int64_t height, int64_t width);
/* x[F, H, W, C], linear between pixels, the corners staying corners. */
mm_node *mm_resize_bilinear(mm_graph *g, mm_node *x, int64_t height, int64_t width);
/* Rows of table[V, C] by ids[...] (i64) -> [..., C]. An id out of range fails the run. */
mm_node *mm_embedding(mm_graph *g, mm_node *table, mm_node *ids);
/* Sinusoids of timesteps[B] (f32) -> [B, channels], as diffusers' get_timestep_embedding. */
mm_node *mm_timestep_embedding(mm_graph *g, mm_node *timesteps, int64_t channels,
                               bool flip_sin_to_cos, float downscale_freq_shift);

/* Self-attention on packed rows qkv[rows, 3 heads width] = (q, k, v), each split into heads ->
   [rows, heads width]. rows may be several dimensions. */
mm_node *mm_attention(mm_graph *g, mm_node *qkv, mm_sequences sequences, int64_t heads,
                      int64_t head_width, bool causal);
/* Its probabilities averaged over the heads: [outer inner, length, length]. */
mm_node *mm_attention_map(mm_graph *g, mm_node *qkv, mm_sequences sequences, int64_t heads,
                          int64_t head_width);
/* Queries q[..., heads width] against kv[B, tokens, 2 heads width] = (k, v); the rows of q are B
   equal runs. */
mm_node *mm_cross_attention(mm_graph *g, mm_node *q, mm_node *kv, int64_t heads,
                            int64_t head_width);
/* Its probabilities averaged over the heads: [rows, tokens]. */
mm_node *mm_cross_attention_map(mm_graph *g, mm_node *q, mm_node *kv, int64_t heads,
                                int64_t head_width);

/* How much the surroundings of a point in every frame look like those of the point it began at:
   map[F, H, W, C], origins[P, 2] in frame 0 and places[F, P, 2] as (x, y) in pixels of the map once
   multiplied by `scale`. A patch is read with linear interpolation at all whole steps from -radius
   to radius, x outermost, coordinates clamped to the map. The result [F, P, n n], with
   n = (2 radius + 1)^2, is the product of all pairs: patch of the place outermost. */
mm_node *mm_patch_correlation(mm_graph *g, mm_node *map, mm_node *origins, mm_node *places,
                              int32_t radius, float scale);

/* Mean of (a - b)^2 over all elements: one f32. */
mm_node *mm_mean_squared_error(mm_graph *g, mm_node *a, mm_node *b);

/*
 * Gradient ops, which mm_graph_differentiate builds. They take the forward op's sources that they
 * need, then dy, and the forward op's attributes: group_norm_grad(x, weight, bias, dy)
 * layer_norm_grad(x, weight, dy) activation_grad(x, dy)                 geglu_grad(x, dy)
 * clamp_grad(x, dy) attention_grad(qkv, dy)                attention_map_grad(qkv, dy)
 *   cross_attention_grad(q, kv, dy) and cross_attention_map_grad(q, kv, dy): of q alone
 *   mean_squared_error_grad(a, b, dy): of a; dy is the scalar's
 * In these the weight stays source 1, as in the forward op:
 *   conv2d_grad(dy, weight)                temporal_conv_grad(dy, weight)
 * and these need dy alone:
 *   slice_grad(dy): dy at channel `first` of zeros with `count` channels
 *   resize_nearest_grad(dy): sums; height and width are those of the forward op's input
 */

/* The row of an op. */
typedef struct mm_op_row {
    const char *name;
    int32_t least_sources, most_sources;
    bool (*infer)(mm_graph *g, mm_node *node);
    /* dy: gradient of the output. Sets gradient[i] for every source with needs_gradient. */
    bool (*gradient)(mm_graph *g, mm_node *node, mm_node *dy, mm_node **gradient);
    double (*flops)(const mm_node *node);
    uint32_t reuse;
} mm_op_row;

const mm_op_row *mm_op_describe(mm_op op);
/* Whether the op has a gradient at all (gradient != mm_no_gradient). */
bool mm_op_differentiable(mm_op op);

#endif

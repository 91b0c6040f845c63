/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tensor graph. A network is built (nodes appended), differentiated (gradients are ordinary
 * nodes appended to the same graph), planned and run (executable.h). Node order is a valid order
 * of execution. Activations are channels last: [clips * frames, height, width, channels], so that a
 * transformer's tokens are the same memory.
 *
 * Errors while building are sticky: the first one is kept in the graph, builders then return NULL
 * and accept NULL, and mm_graph_status() reports it once at the end.
 */
#ifndef MM_GRAPH_GRAPH_H
#define MM_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/shape.h"
#include "graph/weight.h"

#define MM_MAX_SOURCES 6

typedef enum mm_op {
#define MM_OP(name, ...) MM_OP_##name,
#include "graph/ops.def"
#undef MM_OP
    MM_OP_COUNT
} mm_op;

typedef enum mm_activation_kind {
    MM_ACTIVATION_NONE = 0,
    MM_ACTIVATION_SILU,
    MM_ACTIVATION_GELU,       /* exact: x Phi(x) */
    MM_ACTIVATION_GELU_TANH,  /* the tanh approximation */
    MM_ACTIVATION_QUICK_GELU, /* x sigmoid(1.702 x) */
    MM_ACTIVATION_RELU
} mm_activation_kind;

/* Which rows of a token matrix [rows, channels] form a sequence: row (o, s, i) of
   [outer, length, inner] is position s of sequence (o, i). Spatial attention: outer = frames,
   length = height * width, inner = 1. Temporal: outer = clips, length = frames,
   inner = height * width. */
typedef struct mm_sequences {
    int64_t outer, length, inner;
} mm_sequences;

typedef union mm_attributes {
    struct {
        bool transpose_a, transpose_b; /* C = op(A) op(B) */
        int32_t groups;                /* see mm_grouped_linear */
        float alpha;                   /* C = alpha op(A) op(B) + bias + addend */
    } matmul;
    struct {
        int32_t stride;
        int32_t pad_top, pad_left, pad_bottom, pad_right;
        int64_t input_height, input_width; /* for the gradient with respect to the input */
    } conv2d;
    struct {
        int64_t frames; /* frames of one clip; shifts do not cross clips */
    } temporal_conv;
    struct {
        int64_t groups, instances; /* the rows are split into `instances` equal runs */
        float eps;
        mm_activation_kind activation; /* applied to the normalised, scaled value */
    } group_norm;
    struct {
        float eps;
    } layer_norm;
    struct {
        mm_activation_kind kind;
    } activation;
    struct {
        mm_sequences sequences;
        int64_t heads, head_width; /* scores are scaled by head_width^-1/2 */
        bool causal;
    } attention;
    struct {
        int64_t heads, head_width;
    } cross_attention;
    struct {
        float factor;
    } scale;
    struct {
        int32_t first; /* index of the coefficient for the first source */
        int32_t second;
    } combine;
    struct {
        float low, high;
    } clamp;
    struct {
        mm_dtype to;
    } convert;
    struct {
        int64_t first, count; /* channels */
    } slice;
    struct {
        int64_t times;
    } repeat;
    struct {
        int64_t height, width; /* of the output */
    } resize;
    struct {
        int32_t radius;
        float scale; /* of the places */
    } patch_correlation;
    struct {
        float probability;
        uint32_t stream; /* MM_STREAM_DROPOUT + number of the layer */
    } dropout;
    struct {
        int64_t channels;
        bool flip_sin_to_cos;
        float downscale_freq_shift;
    } timestep_embedding;
} mm_attributes;

typedef struct mm_node mm_node;
struct mm_node {
    int32_t id; /* index in the graph */
    mm_op op;
    mm_dtype dtype;
    mm_shape shape;
    int32_t source_count;
    mm_node *source[MM_MAX_SOURCES]; /* NULL: an optional source that is not there */
    mm_attributes attr;
    mm_weight *weight;   /* of weight and parameter nodes */
    const char *name;    /* scope in which it was built, or the input's own name */
    int32_t segment;     /* unit of recomputation; 0: never recomputed */
    bool needs_gradient; /* a parameter lies upstream */
    bool backward;       /* appended by mm_graph_differentiate */
    bool precise;        /* see mm_graph_set_precise */
    mm_node *twin;       /* see mm_graph_begin_twins */
};

typedef struct mm_graph {
    mm_arena arena;
    mm_node **node;
    int32_t count, capacity;
    int32_t segment, segment_count;
    const char *scope;
    bool differentiating; /* the nodes that follow are of the backward pass */
    bool precise;         /* of the nodes that follow */
    bool twins;           /* made for the nodes that follow */
    mm_node *untwinned;   /* the last of them, whose twin is still to come */
    mm_dtype compute;     /* element type of activations where they need not be precise */
    mm_error error;       /* the first error of building */
} mm_graph;

/* A node as a matrix: the last dimension is its columns, all leading ones together its rows. */
static inline int64_t mm_node_columns(const mm_node *node)
{
    return node->shape.rank ? node->shape.dim[node->shape.rank - 1] : 1;
}
static inline int64_t mm_node_elements(const mm_node *node)
{
    return mm_shape_elements(&node->shape);
}
static inline int64_t mm_node_rows(const mm_node *node)
{
    return mm_node_elements(node) / mm_node_columns(node);
}
static inline size_t mm_node_bytes(const mm_node *node)
{
    return (size_t)mm_node_elements(node) * mm_dtype_bytes(node->dtype);
}

/* What a product or convolution is added to; NULL: nothing. */
static inline mm_node *mm_node_addend(const mm_node *node)
{
    return node->source_count > 3 ? node->source[3] : NULL;
}
/* Whether a product or convolution rounds its f32 activations to its weight's type. */
static inline bool mm_node_rounds(const mm_node *node)
{
    return node->source[0]->dtype == MM_F32 && node->source[1]->dtype == MM_BF16;
}

mm_status mm_graph_create(mm_graph **out, mm_dtype compute, mm_error *error);
void mm_graph_free(mm_graph **graph);
/* The first error since creation, or MM_OK. */
mm_status mm_graph_status(const mm_graph *graph, mm_error *error);
/* Keeps the first error; returns NULL so that a builder can return it. */
mm_node *mm_graph_fail(mm_graph *graph, mm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends a node: checks the sources against the op's row and infers shape and type. No dimension
   of a node is 0, and its bytes fit in 63 bits. Leaves and views are made by their builders
   (ops.h). */
mm_node *mm_graph_add(mm_graph *graph, mm_op op, int32_t source_count, mm_node *const *source,
                      const mm_attributes *attributes);

/* Names the nodes that follow ("down_blocks.0.attentions.1"), for messages and profiles. */
void mm_graph_set_scope(mm_graph *graph, const char *scope);
/* For values of which a small difference is taken: the activations that follow are f32, and the
   products that follow are to be summed more exactly than in single precision where a backend can
   do so at little cost. Not for gradients. */
void mm_graph_set_precise(mm_graph *graph, bool precise);
/*
 * Computes one function of two values: every node that follows and depends on `x` is followed by
 * its twin, which depends on `other` in its place (node->twin; NULL: the value is the same for
 * both). A product or convolution that rounds its activations makes the twin's result from its own
 * and from the product of the difference. So both are rounded alike, and what differs between the
 * results is as exact as what differs between the values. A twin comes one node late, when its own
 * has been read: it may then lie in the same memory.
 */
void mm_graph_begin_twins(mm_graph *graph, mm_node *x, mm_node *other);
void mm_graph_end_twins(mm_graph *graph);
/* The type of the activations that follow. */
mm_dtype mm_graph_activations(const mm_graph *graph);
/* The nodes that follow form a new unit of recomputation: in the backward pass they may be computed
   again from what enters the unit instead of being kept. */
void mm_graph_begin_segment(mm_graph *graph);
/* The nodes that follow are never recomputed. */
void mm_graph_end_segment(mm_graph *graph);

/*
 * Appends the gradients of the scalar `loss` with respect to `parameters` (parameter nodes) and
 * writes them to `gradients` (a parameter that the loss does not depend on: NULL). Nothing is
 * computed for nodes without a parameter upstream. MM_ERR_UNSUPPORTED names an op on the way that
 * has no gradient; MM_ERR_USAGE: not a scalar.
 */
mm_status mm_graph_differentiate(mm_graph *graph, mm_node *loss, mm_node *const *parameters,
                                 int32_t count, mm_node **gradients, mm_error *error);

#endif

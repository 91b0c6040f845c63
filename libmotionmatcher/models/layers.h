/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layers that the networks share. Each finds its weights under the builder's path joined with
 * its own leaf name; the channels of the input are read from the node. x may be NULL after an
 * error.
 */
#ifndef MM_MODELS_LAYERS_H
#define MM_MODELS_LAYERS_H

#include "models/builder.h"

/* Goes down to a submodule ("attentions.%d") and names the graph's scope after it. Returns the
   outer path, which mm_leave() takes back. */
const char *mm_enter(mm_builder *builder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mm_leave(mm_builder *builder, const char *outer);
/* The same, as a new unit of recomputation. */
const char *mm_enter_segment(mm_builder *builder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mm_leave_segment(mm_builder *builder, const char *outer);

/* "<path>.<leaf>.<suffix>", in the graph's arena; empty parts are left out. NULL without memory. */
const char *mm_path(mm_builder *builder, const char *leaf, const char *suffix);
/* The first `count` rows of a table of positions, added to x[batch, count, channels]. */
mm_node *mm_layer_positions(mm_builder *builder, const char *leaf, const char *suffix, mm_node *x,
                            const mm_shape *stored);
/* One of the tokens of x[batch, tokens, channels]: [batch, channels]. */
mm_node *mm_layer_token(mm_builder *builder, mm_node *x, int64_t index);
/* A single tensor as it is stored: a table, a scale, a bias. */
mm_node *mm_layer_tensor(mm_builder *builder, const char *leaf, const char *suffix,
                         const mm_shape *shape, mm_dtype dtype);

mm_node *mm_layer_linear(mm_builder *builder, const char *leaf, mm_node *x, int64_t out, bool bias,
                         mm_node *addend);
/* `count` linear layers that read the same input, as one product: [..., count * out]. */
mm_node *mm_layer_linears(mm_builder *builder, int32_t count, const char *const *leaf, mm_node *x,
                          int64_t out, bool bias, mm_node *addend);
/* 3x3 convolution; padding as in mm_conv2d. */
mm_node *mm_layer_conv(mm_builder *builder, const char *leaf, mm_node *x, int64_t out,
                       int32_t stride, const int32_t padding[4], mm_node *addend);
mm_node *mm_layer_conv_same(mm_builder *builder, const char *leaf, mm_node *x, int64_t out,
                            mm_node *addend);
/* 1x1 convolution: the product that it is. */
mm_node *mm_layer_conv_1x1(mm_builder *builder, const char *leaf, mm_node *x, int64_t out);
/* Convolution of pixels by squares that do not overlap: x[..., 3 size size] holds one square a row,
   channel by channel. */
mm_node *mm_layer_patches(mm_builder *builder, const char *leaf, mm_node *x, int64_t size,
                          int64_t out, bool bias);
mm_node *mm_layer_group_norm(mm_builder *builder, const char *leaf, mm_node *x, int64_t groups,
                             double eps, int64_t instances, mm_activation_kind activation);
mm_node *mm_layer_norm_last(mm_builder *builder, const char *leaf, mm_node *x, double eps);

typedef struct mm_resnet {
    int64_t groups;
    double eps, scale; /* the sum is divided by `scale` */
    mm_activation_kind activation;
    mm_node *time; /* activated time embedding [clips, channels]; NULL: none */
} mm_resnet;

/* ResnetBlock2D. */
mm_node *mm_layer_resnet(mm_builder *builder, const mm_resnet *resnet, mm_node *x, int64_t out);
/* TemporalConvLayer. */
mm_node *mm_layer_temporal_conv(mm_builder *builder, mm_node *x, int64_t groups);
/* Nearest-neighbour resize to height x width, then a 3x3 convolution. */
mm_node *mm_layer_upsample(mm_builder *builder, const char *leaf, mm_node *x, int64_t height,
                           int64_t width);

/* x for as many clips as there are contexts: repeated where it was computed once for all. */
mm_node *mm_layer_for_contexts(mm_builder *builder, mm_node *x, const mm_node *context);

/* Counts the sites of one kind in the order of PyTorch's named modules. */
typedef struct mm_site_cursor {
    mm_site_kind kind;
    int32_t next;
} mm_site_cursor;

/* mm_layer_linears() as a site for adaptation. */
mm_node *mm_layer_site(mm_builder *builder, mm_site_cursor *cursor, int32_t count,
                       const char *const *leaf, mm_node *x, int64_t out, bool bias,
                       mm_node *addend);

/* Attention maps summed up as the layers are built. */
typedef struct mm_map_sum {
    mm_node *sum;
    int32_t count;
} mm_map_sum;

typedef struct mm_transformer {
    int64_t heads, head_width, norm_groups;
    mm_node *context;       /* [clips, tokens, channels], of spatial transformers */
    mm_site_cursor *cursor; /* where the sites are counted */
    mm_map_sum *maps;       /* NULL: no maps */
    bool stop_after_map;    /* build nothing after the last map, return NULL */
} mm_transformer;

/* Sites that a transformer of each kind counts. */
#define MM_SPATIAL_SITES 4
#define MM_TEMPORAL_SITES 6

/* Transformer2DModel of one block, linear projections. */
mm_node *mm_layer_spatial_transformer(mm_builder *builder, const mm_transformer *transformer,
                                      mm_node *x);
/* TransformerTemporalModel of one block with double self-attention. */
mm_node *mm_layer_temporal_transformer(mm_builder *builder, const mm_transformer *transformer,
                                       mm_node *x);

#endif

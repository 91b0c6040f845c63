/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/tracker/tracker_network.h"

#include "models/layers.h"

#define INSTANCE_NORM_EPS 1e-5f
#define LAYER_NORM_EPS 1e-6f
#define CONTEXT_NORM_EPS 1e-5

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t mm_tracker_widest(const mm_tracker_config *c)
{
    int64_t widest = larger(larger(c->stem, c->fused), c->hidden);
    for (int i = 0; i < MM_TRACKER_STAGES; i++)
        widest = larger(widest, c->stage[i]);
    return widest;
}

mm_tracker_units mm_tracker_build_units(mm_builder *b, const mm_tracker_config *c)
{
    mm_shape shape = MM_SHAPE(mm_tracker_widest(c));
    return (mm_tracker_units){mm_input(b->graph, "ones", MM_F32, &shape),
                              mm_input(b->graph, "zeros", MM_F32, &shape)};
}

static mm_node *instance_norm(mm_builder *b, mm_tracker_units units, mm_node *x,
                              mm_activation_kind activation)
{
    if (!x)
        return NULL;
    int64_t channels = mm_node_columns(x);
    return mm_group_norm(b->graph, x, mm_slice(b->graph, units.one, 0, channels),
                         mm_slice(b->graph, units.zero, 0, channels), channels, INSTANCE_NORM_EPS,
                         x->shape.dim[0], activation);
}

static mm_node *layer_norm(mm_builder *b, mm_tracker_units units, mm_node *x)
{
    if (!x)
        return NULL;
    int64_t channels = mm_node_columns(x);
    return mm_layer_norm(b->graph, x, mm_slice(b->graph, units.one, 0, channels),
                         mm_slice(b->graph, units.zero, 0, channels), LAYER_NORM_EPS);
}

/* A convolution of side `taps` that halves the size with stride 2. */
static mm_node *conv(mm_builder *b, const char *leaf, mm_node *x, int64_t out, int32_t taps,
                     int32_t stride)
{
    if (!x)
        return NULL;
    int32_t pad = taps / 2, padding[] = {pad, pad, pad, pad};
    mm_node *weight =
        mm_layer_tensor(b, leaf, "weight", &MM_SHAPE(out, mm_node_columns(x), taps, taps), MM_F32);
    mm_node *bias = mm_layer_tensor(b, leaf, "bias", &MM_SHAPE(out), MM_F32);
    return mm_conv2d(b->graph, x, weight, bias, NULL, stride, padding);
}

static mm_node *residual(mm_builder *b, mm_tracker_units units, mm_node *x, int64_t out,
                         int32_t stride)
{
    mm_node *h = instance_norm(b, units, conv(b, "conv1", x, out, 3, stride), MM_ACTIVATION_RELU);
    h = instance_norm(b, units, conv(b, "conv2", h, out, 3, 1), MM_ACTIVATION_RELU);
    if (stride > 1)
        x = instance_norm(b, units, conv(b, "downsample.0", x, out, 1, stride), MM_ACTIVATION_NONE);
    return mm_activation(b->graph, mm_add(b->graph, x, h), MM_ACTIVATION_RELU);
}

static mm_node *stage(mm_builder *b, mm_tracker_units units, mm_node *x, int64_t out, int number)
{
    for (int block = 0; block < 2; block++) {
        const char *outer = mm_enter(b, "layer%d.%d", number + 1, block);
        x = residual(b, units, x, out, number > 0 && block == 0 ? 2 : 1);
        mm_leave(b, outer);
    }
    return x;
}

mm_node *mm_tracker_build_features(mm_builder *b, const mm_tracker_config *c,
                                   mm_tracker_units units, mm_node *pixels)
{
    int64_t height = mm_tracker_map_side(c->height, 0), width = mm_tracker_map_side(c->width, 0);
    const char *outer = mm_enter(b, "fnet");
    mm_node *x = mm_resize_bilinear(b->graph, pixels, c->height, c->width), *all = NULL;
    x = instance_norm(b, units, conv(b, "conv1", x, c->stem, 7, 2), MM_ACTIVATION_RELU);
    for (int i = 0; i < MM_TRACKER_STAGES; i++) {
        x = stage(b, units, x, c->stage[i], i);
        mm_node *resized = mm_resize_bilinear(b->graph, x, height, width);
        all = all ? mm_concat(b->graph, all, resized) : resized;
    }
    all = instance_norm(b, units, conv(b, "conv2", all, c->fused, 3, 1), MM_ACTIVATION_RELU);
    all = mm_layer_conv_1x1(b, "conv3", all, c->features);
    mm_leave(b, outer);
    return all;
}

mm_tracker_token_inputs mm_tracker_token_inputs_create(mm_builder *b, const mm_tracker_config *c,
                                                       int64_t frames, int64_t points)
{
    mm_graph *g = b->graph;
    mm_tracker_token_inputs in = {
        .origins = mm_input(g, "origins", MM_F32, &MM_SHAPE(points, 2)),
        .places = mm_input(g, "places", MM_F32, &MM_SHAPE(frames, points, 2)),
        .state = mm_input(g, "state", MM_F32, &MM_SHAPE(frames, points, MM_TRACKER_STATE)),
        .motion = mm_input(g, "motion", MM_F32, &MM_SHAPE(frames, points, MM_TRACKER_MOTION)),
        .time = mm_input(g, "time", MM_F32, &MM_SHAPE(frames, c->token)),
    };
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++)
        in.map[level] = mm_input(g, "map", MM_F32,
                                 &MM_SHAPE(frames, mm_tracker_map_side(c->height, level),
                                           mm_tracker_map_side(c->width, level), c->features));
    return in;
}

/* Two linear layers with an activation between them. */
static mm_node *perceptron(mm_builder *b, const char *name, mm_node *x, int64_t hidden, int64_t out,
                           mm_activation_kind activation, mm_node *addend)
{
    const char *outer = mm_enter(b, "%s", name);
    x = mm_activation(b->graph, mm_layer_linear(b, "fc1", x, hidden, true, NULL), activation);
    x = mm_layer_linear(b, "fc2", x, out, true, addend);
    mm_leave(b, outer);
    return x;
}

mm_node *mm_tracker_build_tokens(mm_builder *b, const mm_tracker_config *c,
                                 const mm_tracker_token_inputs *in)
{
    mm_node *token = in->state;
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++) {
        mm_node *x = mm_patch_correlation(b->graph, in->map[level], in->origins, in->places,
                                          c->radius, 1.0f / (float)(1 << level));
        x = perceptron(b, "corr_mlp", x, c->correlation_hidden, c->correlation, MM_ACTIVATION_GELU,
                       NULL);
        token = mm_concat(b->graph, token, x);
    }
    token = mm_add_rows(b->graph, mm_concat(b->graph, token, in->motion), in->time);
    return mm_layer_linear(b, "updateformer.input_transform", token, c->hidden, true, NULL);
}

/* Queries, keys and values in one product. */
static mm_node *project_all(mm_builder *b, mm_node *x, int64_t width)
{
    static const char *const suffix[] = {"weight", "bias"};
    mm_node *leaf[2] = {NULL};
    for (int i = 0; i < 2; i++) {
        const mm_shape query = i ? MM_SHAPE(width) : MM_SHAPE(width, width);
        const mm_shape rest = i ? MM_SHAPE(2 * width) : MM_SHAPE(2 * width, width);
        const mm_shape whole = i ? MM_SHAPE(3 * width) : MM_SHAPE(3 * width, width);
        mm_weight_part part[] = {{mm_path(b, "to_q", suffix[i]), query},
                                 {mm_path(b, "to_kv", suffix[i]), rest}};
        if (!part[0].name || !part[1].name)
            return NULL;
        mm_weight *weight =
            mm_weight_declare(b->weights, part, 2, &whole, MM_F32, MM_WEIGHT_AS_STORED);
        if (!weight)
            return mm_graph_fail(b->graph, MM_ERR_MEMORY, "not enough memory for the weights");
        leaf[i] = mm_weight_node(b->graph, weight);
    }
    return mm_linear(b->graph, x, leaf[0], leaf[1], NULL);
}

static mm_node *feed_forward(mm_builder *b, const mm_tracker_config *c, mm_tracker_units units,
                             mm_node *x)
{
    return perceptron(b, "mlp", layer_norm(b, units, x), c->feed_forward, c->hidden,
                      MM_ACTIVATION_GELU_TANH, x);
}

static mm_node *self_attention(mm_builder *b, const mm_tracker_config *c, mm_tracker_units units,
                               mm_node *x, mm_sequences sequences)
{
    const char *outer = mm_enter(b, "attn");
    mm_node *h = project_all(b, layer_norm(b, units, x), c->hidden);
    h = mm_attention(b->graph, h, sequences, c->hidden / MM_TRACKER_HEAD_WIDTH,
                     MM_TRACKER_HEAD_WIDTH, false);
    h = mm_layer_linear(b, "to_out", h, c->hidden, true, x);
    mm_leave(b, outer);
    return feed_forward(b, c, units, h);
}

/* x [F, n, hidden] looks at context [F, m, hidden] frame by frame. */
static mm_node *cross_attention(mm_builder *b, const mm_tracker_config *c, mm_tracker_units units,
                                mm_node *x, mm_node *context)
{
    mm_node *seen = mm_layer_norm_last(b, "norm_context", context, CONTEXT_NORM_EPS);
    const char *outer = mm_enter(b, "cross_attn");
    mm_node *q = mm_layer_linear(b, "to_q", layer_norm(b, units, x), c->hidden, true, NULL);
    mm_node *kv = mm_layer_linear(b, "to_kv", seen, 2 * c->hidden, true, NULL);
    mm_node *h = mm_cross_attention(b->graph, q, kv, c->hidden / MM_TRACKER_HEAD_WIDTH,
                                    MM_TRACKER_HEAD_WIDTH);
    h = mm_layer_linear(b, "to_out", h, c->hidden, true, x);
    mm_leave(b, outer);
    return feed_forward(b, c, units, h);
}

typedef struct tracks_of_frames {
    mm_node *points, *virtuals; /* [F, n, hidden] */
} tracks_of_frames;

/* Time is attended to track by track, so that points and virtual tracks need not be joined. */
static mm_node *over_time(mm_builder *b, const mm_tracker_config *c, mm_tracker_units units,
                          mm_node *x)
{
    if (!x)
        return NULL;
    mm_sequences sequences = {1, x->shape.dim[0], x->shape.dim[1]};
    return self_attention(b, c, units, x, sequences);
}

static void round_of_blocks(mm_builder *b, const mm_tracker_config *c, mm_tracker_units units,
                            int number, tracks_of_frames *t)
{
    const char *outer = mm_enter(b, "time_blocks.%d", number);
    t->points = over_time(b, c, units, t->points);
    t->virtuals = over_time(b, c, units, t->virtuals);
    mm_leave(b, outer);
    outer = mm_enter(b, "space_virtual2point_blocks.%d", number);
    t->virtuals = cross_attention(b, c, units, t->virtuals, t->points);
    mm_leave(b, outer);
    if (!t->virtuals)
        return;
    mm_sequences frame = {t->virtuals->shape.dim[0], t->virtuals->shape.dim[1], 1};
    outer = mm_enter(b, "space_virtual_blocks.%d", number);
    t->virtuals = self_attention(b, c, units, t->virtuals, frame);
    mm_leave(b, outer);
    outer = mm_enter(b, "space_point2virtual_blocks.%d", number);
    t->points = cross_attention(b, c, units, t->points, t->virtuals);
    mm_leave(b, outer);
}

/* The virtual tracks, the same in every frame: a picture of one row, made taller. */
static mm_node *virtual_tracks(mm_builder *b, const mm_tracker_config *c, int64_t frames)
{
    int64_t count = c->virtual_tracks;
    mm_node *table =
        mm_layer_tensor(b, "virual_tracks", "", &MM_SHAPE(1, count, 1, c->hidden), MM_F32);
    table = mm_view(b->graph, table, &MM_SHAPE(1, 1, count, c->hidden));
    table = mm_resize_nearest(b->graph, table, frames, count);
    return mm_view(b->graph, table, &MM_SHAPE(frames, count, c->hidden));
}

mm_tracker_update mm_tracker_build_update(mm_builder *b, const mm_tracker_config *c,
                                          mm_tracker_units units, mm_node *tokens)
{
    mm_tracker_update update = {0};
    if (!tokens)
        return update;
    const char *outer = mm_enter(b, "updateformer");
    tracks_of_frames t = {tokens, virtual_tracks(b, c, tokens->shape.dim[0])};
    for (int i = 0; i < c->depth; i++)
        round_of_blocks(b, c, units, i, &t);
    update.flow = mm_layer_linear(b, "flow_head", t.points, 2, true, NULL);
    update.state = mm_layer_linear(b, "vis_conf_head", t.points, MM_TRACKER_STATE, true, NULL);
    mm_leave(b, outer);
    return update;
}

static void declare(mm_builder *b, const mm_tracker_config *c)
{
    mm_tracker_units units = mm_tracker_build_units(b, c);
    mm_node *pixels = mm_input(b->graph, "pixels", MM_F32, &MM_SHAPE(1, c->height, c->width, 3));
    mm_tracker_build_features(b, c, units, pixels);
    mm_tracker_token_inputs inputs = mm_tracker_token_inputs_create(b, c, 2, 1);
    mm_tracker_build_update(b, c, units, mm_tracker_build_tokens(b, c, &inputs));
}

mm_status mm_tracker_declare(const mm_tracker_config *config, mm_weight_set *weights,
                             mm_error *error)
{
    mm_graph *graph;
    MM_TRY(mm_graph_create(&graph, MM_F32, error));
    mm_builder builder = {.graph = graph, .weights = weights, .path = ""};
    declare(&builder, config);
    /* Only its length is stored; it is resized to each video's and then an input. */
    mm_layer_tensor(&builder, "time_emb", "", &MM_SHAPE(1, config->window, config->token), MM_F32);
    mm_status status = mm_graph_status(graph, error);
    mm_graph_free(&graph);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The spatial and the temporal transformer: one block each, pre-norm, GEGLU feed-forward. */
#include "models/layers.h"

#define GROUP_NORM_EPS 1e-6
#define LAYER_NORM_EPS 1e-5

static const char *const to_qkv[] = {"to_q", "to_k", "to_v"};
static const char *const to_out[] = {"to_out.0"};

static void add_map(mm_builder *b, mm_map_sum *maps, mm_node *map)
{
    maps->sum = maps->sum ? mm_add(b->graph, maps->sum, map) : map;
    maps->count++;
}

/* x + to_out(attention(norm(x))). NULL when `stop`: then only the map is wanted. */
static mm_node *self_attention(mm_builder *b, const mm_transformer *t, const char *norm,
                               const char *name, mm_node *x, mm_sequences sequences,
                               mm_map_sum *maps, bool stop)
{
    int64_t inner = t->heads * t->head_width;
    mm_node *h = mm_layer_norm_last(b, norm, x, LAYER_NORM_EPS);
    const char *outer = mm_enter(b, "%s", name);
    mm_node *qkv = mm_layer_site(b, t->cursor, 3, to_qkv, h, inner, false, NULL);
    if (maps)
        add_map(b, maps, mm_attention_map(b->graph, qkv, sequences, t->heads, t->head_width));
    if (stop) {
        x = NULL;
    } else {
        h = mm_attention(b->graph, qkv, sequences, t->heads, t->head_width, false);
        x = mm_layer_site(b, t->cursor, 1, to_out, h, inner, true, x);
    }
    mm_leave(b, outer);
    return x;
}

/* [F, h, w, tokens] */
static mm_node *cross_map(mm_builder *b, const mm_transformer *t, mm_node *q, mm_node *kv)
{
    mm_node *map = mm_cross_attention_map(b->graph, q, kv, t->heads, t->head_width);
    if (!map)
        return NULL;
    mm_shape shape = q->shape;
    shape.dim[3] = t->context->shape.dim[1];
    return mm_view(b->graph, map, &shape);
}

/* x + to_out(attention(norm(x), context)); frozen in this method, so no sites. */
static mm_node *cross_attention(mm_builder *b, const mm_transformer *t, mm_node *x)
{
    int64_t inner = t->heads * t->head_width;
    mm_node *h = mm_layer_norm_last(b, "norm2", x, LAYER_NORM_EPS);
    const char *outer = mm_enter(b, "attn2");
    mm_node *q = mm_layer_linear(b, "to_q", h, inner, false, NULL);
    mm_node *kv = mm_layer_linears(b, 2, to_qkv + 1, t->context, inner, false, NULL);
    if (t->maps)
        add_map(b, t->maps, cross_map(b, t, q, kv));
    if (t->maps && t->stop_after_map) {
        x = NULL;
    } else {
        h = mm_cross_attention(b->graph, q, kv, t->heads, t->head_width);
        x = mm_layer_linear(b, "to_out.0", h, inner, true, x);
    }
    mm_leave(b, outer);
    return x;
}

static mm_node *feed_forward(mm_builder *b, const mm_transformer *t, mm_node *x)
{
    static const char *const up[] = {"ff.net.0.proj"}, *const down[] = {"ff.net.2"};
    int64_t inner = t->heads * t->head_width;
    mm_node *h = mm_layer_norm_last(b, "norm3", x, LAYER_NORM_EPS);
    h = mm_layer_site(b, t->cursor, 1, up, h, 8 * inner, true, NULL);
    return h ? mm_layer_site(b, t->cursor, 1, down, mm_geglu(b->graph, h), inner, true, x) : NULL;
}

static mm_node *project_in(mm_builder *b, const mm_transformer *t, mm_node *x, int64_t instances)
{
    mm_node *h = mm_layer_group_norm(b, "norm", x, t->norm_groups, GROUP_NORM_EPS, instances,
                                     MM_ACTIVATION_NONE);
    return mm_layer_linear(b, "proj_in", h, t->heads * t->head_width, true, NULL);
}

mm_node *mm_layer_spatial_transformer(mm_builder *b, const mm_transformer *t, mm_node *x)
{
    if (!x)
        return NULL;
    const int64_t *dim = x->shape.dim, channels = dim[3];
    mm_sequences sequences = {dim[0], dim[1] * dim[2], 1};
    mm_node *h = project_in(b, t, x, dim[0]);
    const char *outer = mm_enter(b, "transformer_blocks.0");
    h = self_attention(b, t, "norm1", "attn1", h, sequences, NULL, false);
    h = mm_layer_for_contexts(b, h, t->context);
    x = mm_layer_for_contexts(b, x, t->context);
    h = cross_attention(b, t, h);
    if (h)
        h = feed_forward(b, t, h);
    mm_leave(b, outer);
    return mm_layer_linear(b, "proj_out", h, channels, true, x);
}

mm_node *mm_layer_temporal_transformer(mm_builder *b, const mm_transformer *t, mm_node *x)
{
    if (!x)
        return NULL;
    const int64_t *dim = x->shape.dim;
    int64_t clips = dim[0] / b->frames;
    mm_sequences sequences = {clips, b->frames, dim[1] * dim[2]};
    mm_node *h = project_in(b, t, x, clips);
    const char *outer = mm_enter(b, "transformer_blocks.0");
    h = self_attention(b, t, "norm1", "attn1", h, sequences, t->maps, false);
    h = self_attention(b, t, "norm2", "attn2", h, sequences, t->maps, t->maps && t->stop_after_map);
    if (h)
        h = feed_forward(b, t, h);
    mm_leave(b, outer);
    return mm_layer_linear(b, "proj_out", h, dim[3], true, x);
}

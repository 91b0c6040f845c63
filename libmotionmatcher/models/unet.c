/* SPDX-License-Identifier: BSD-2-Clause */
/* UNet3DConditionModel. */
#include "models/layers.h"
#include "models/networks.h"

typedef struct unet {
    mm_builder *b;
    const mm_unet_config *config;
    mm_node *context;
    mm_resnet resnet;
    mm_site_cursor spatial, temporal;
    mm_unet_maps *maps;
    mm_map_sum ca, tsa;
    bool stopped;
    mm_node *skip[MM_MAX_LEVELS * (MM_MAX_LAYERS + 1) + 1];
    int32_t skips;
} unet;

/* A resnet and the temporal convolution that follows are one segment, and so are a spatial and a
   temporal transformer: what passes between them need not be kept. */
static mm_node *resnet(unet *u, int32_t index, mm_node *x, int64_t out)
{
    const char *outer = mm_enter_segment(u->b, "resnets.%d", index);
    x = mm_layer_resnet(u->b, &u->resnet, x, out);
    mm_leave(u->b, outer);
    return x;
}

static mm_node *temporal_conv(unet *u, int32_t index, mm_node *x)
{
    const char *outer = mm_enter(u->b, "temp_convs.%d", index);
    x = mm_layer_temporal_conv(u->b, x, u->config->norm_groups);
    mm_leave_segment(u->b, outer);
    return x;
}

static mm_transformer transformer_of(unet *u, int64_t channels)
{
    return (mm_transformer){.heads = channels / u->config->head_width,
                            .head_width = u->config->head_width,
                            .norm_groups = u->config->norm_groups,
                            .context = u->context};
}

static mm_node *spatial_transformer(unet *u, int32_t index, mm_node *x, bool map, bool stop)
{
    if (!x)
        return NULL;
    mm_transformer t = transformer_of(u, x->shape.dim[3]);
    t.cursor = &u->spatial;
    t.maps = map ? &u->ca : NULL;
    t.stop_after_map = stop;
    const char *outer = mm_enter_segment(u->b, "attentions.%d", index);
    x = mm_layer_spatial_transformer(u->b, &t, x);
    mm_leave(u->b, outer);
    return x;
}

static mm_node *temporal_transformer(unet *u, int32_t index, mm_node *x, bool map, bool stop)
{
    if (!x)
        return NULL;
    mm_transformer t = transformer_of(u, x->shape.dim[3]);
    t.cursor = &u->temporal;
    t.maps = map ? &u->tsa : NULL;
    t.stop_after_map = stop;
    const char *outer = mm_enter(u->b, "temp_attentions.%d", index);
    x = mm_layer_temporal_transformer(u->b, &t, x);
    mm_leave_segment(u->b, outer);
    return x;
}

static mm_node *both_transformers(unet *u, int32_t index, mm_node *x)
{
    x = spatial_transformer(u, index, x, false, false);
    return temporal_transformer(u, index, x, false, false);
}

/* The transformers of a down block, with the maps that are wanted there. */
static mm_node *mapped_transformers(unet *u, int32_t level, int32_t index, mm_node *x)
{
    mm_unet_maps *m = u->maps;
    bool ca = m && m->spatial_level == level, tsa = m && m->temporal_level == level;
    bool last = m && m->stop && index + 1 == u->config->layers_per_block &&
                level >= m->spatial_level && level >= m->temporal_level;
    x = spatial_transformer(u, index, x, ca, last && !tsa);
    if (last && ca && !tsa) {
        u->stopped = true;
        return NULL;
    }
    if (tsa && x) {
        m->tsa_height = x->shape.dim[1];
        m->tsa_width = x->shape.dim[2];
    }
    x = temporal_transformer(u, index, x, tsa, last);
    u->stopped = last && tsa;
    return x;
}

static void push(unet *u, mm_node *x)
{
    u->skip[u->skips++] = x;
}

static mm_node *downsample(unet *u, mm_node *x, int64_t channels)
{
    static const int32_t around[] = {1, 1, 1, 1}, after[] = {0, 0, 1, 1};
    const char *outer = mm_enter_segment(u->b, "downsamplers.0");
    x = mm_layer_conv(u->b, "conv", x, channels, 2, u->config->downsample_padding ? around : after,
                      NULL);
    mm_leave_segment(u->b, outer);
    return x;
}

static mm_node *down_block(unet *u, int32_t level, mm_node *x)
{
    const mm_unet_config *c = u->config;
    int64_t channels = c->block_out_channels[level];
    const char *outer = mm_enter(u->b, "down_blocks.%d", level);
    for (int32_t i = 0; i < c->layers_per_block && !u->stopped; i++) {
        x = temporal_conv(u, i, resnet(u, i, x, channels));
        if (c->down_attention[level])
            x = mapped_transformers(u, level, i, x);
        push(u, x);
    }
    if (level + 1 < c->levels && !u->stopped) {
        x = downsample(u, x, channels);
        push(u, x);
    }
    mm_leave(u->b, outer);
    return x;
}

static mm_node *mid_block(unet *u, mm_node *x)
{
    int64_t channels = u->config->block_out_channels[u->config->levels - 1];
    const char *outer = mm_enter(u->b, "mid_block");
    u->resnet.scale = u->config->mid_block_scale;
    x = temporal_conv(u, 0, resnet(u, 0, x, channels));
    x = both_transformers(u, 0, x);
    x = temporal_conv(u, 1, resnet(u, 1, x, channels));
    u->resnet.scale = 1.0;
    mm_leave(u->b, outer);
    return x;
}

/* The skip joins inside the resnet's segment, so that the joined channels need not be kept. */
static mm_node *joined_resnet(unet *u, int32_t index, mm_node *x, int64_t out)
{
    const char *outer = mm_enter_segment(u->b, "resnets.%d", index);
    mm_node *skip = u->skip[--u->skips];
    if (x && skip && x->shape.dim[0] > skip->shape.dim[0])
        skip = mm_layer_for_contexts(u->b, skip, u->context);
    x = mm_concat(u->b->graph, x, skip);
    x = mm_layer_resnet(u->b, &u->resnet, x, out);
    mm_leave(u->b, outer);
    return x;
}

/* To the size of the next skip: twice as large, or what an odd size was before it was halved. */
static mm_node *upsample(unet *u, mm_node *x)
{
    const mm_node *skip = u->skip[u->skips - 1];
    if (!x || !skip)
        return NULL;
    const char *outer = mm_enter_segment(u->b, "upsamplers.0");
    x = mm_layer_upsample(u->b, "conv", x, skip->shape.dim[1], skip->shape.dim[2]);
    mm_leave_segment(u->b, outer);
    return x;
}

static mm_node *up_block(unet *u, int32_t index, mm_node *x)
{
    const mm_unet_config *c = u->config;
    int64_t channels = c->block_out_channels[c->levels - 1 - index];
    const char *outer = mm_enter(u->b, "up_blocks.%d", index);
    for (int32_t i = 0; i < c->layers_per_block + 1; i++) {
        x = temporal_conv(u, i, joined_resnet(u, i, x, channels));
        if (c->up_attention[index])
            x = both_transformers(u, i, x);
    }
    if (index + 1 < c->levels)
        x = upsample(u, x);
    mm_leave(u->b, outer);
    return x;
}

static mm_node *time_embedding(unet *u, mm_node *timestep)
{
    const mm_unet_config *c = u->config;
    int64_t width = 4 * c->block_out_channels[0];
    mm_graph *g = u->b->graph;
    const char *outer = mm_enter(u->b, "time_embedding");
    mm_node *x = mm_timestep_embedding(g, timestep, c->block_out_channels[0], true, 0.0f);
    x = mm_layer_linear(u->b, "linear_1", x, width, true, NULL);
    x = mm_layer_linear(u->b, "linear_2", mm_activation(g, x, c->activation), width, true, NULL);
    x = mm_activation(g, x, c->activation); /* every resnet's first step, done once */
    mm_leave(u->b, outer);
    return mm_cast(g, x, mm_graph_activations(g));
}

static mm_node *transformer_in(unet *u, mm_node *x)
{
    mm_transformer t = transformer_of(u, 0);
    t.heads = 8;
    t.cursor = &u->temporal;
    const char *outer = mm_enter_segment(u->b, "transformer_in");
    x = mm_layer_temporal_transformer(u->b, &t, x);
    mm_leave_segment(u->b, outer);
    return x;
}

static bool check_level(unet *u, const char *kind, int32_t level)
{
    const mm_unet_config *c = u->config;
    if (level < 0 || (level < c->levels && c->down_attention[level]))
        return true;
    mm_graph_fail(u->b->graph, MM_ERR_USAGE,
                  "the model has no attention at 1/%d of the latents' resolution, where %s "
                  "features were asked for",
                  level < 31 ? 1 << level : -1, kind);
    return false;
}

static bool check_inputs(unet *u, const mm_unet_inputs *in)
{
    if (!in->latents || !in->timestep || !in->context)
        return false;
    const mm_shape *latents = &in->latents->shape, *context = &in->context->shape;
    int64_t frames = u->b->frames;
    if (latents->rank == 4 && latents->dim[3] == u->config->in_channels && context->rank == 3 &&
        context->dim[2] == u->config->cross_attention_dim && frames > 0 &&
        (latents->dim[0] == frames || latents->dim[0] == frames * context->dim[0]))
        return true;
    char shape[2][128];
    mm_graph_fail(u->b->graph, MM_ERR_INPUT,
                  "the UNet takes latents of %lld channels and a text encoding of %lld: got %s and "
                  "%s with %lld frames in a clip",
                  (long long)u->config->in_channels, (long long)u->config->cross_attention_dim,
                  mm_shape_text(latents, shape[0], sizeof(shape[0])),
                  mm_shape_text(context, shape[1], sizeof(shape[1])), (long long)frames);
    return false;
}

static mm_node *average(mm_graph *g, const mm_map_sum *maps)
{
    return maps->count > 1 ? mm_scale(g, maps->sum, 1.0f / (float)maps->count) : maps->sum;
}

static void finish_maps(unet *u)
{
    if (!u->maps)
        return;
    u->maps->ca = average(u->b->graph, &u->ca);
    u->maps->tsa = average(u->b->graph, &u->tsa);
}

/* PyTorch lists the mid block's modules after those of the up blocks. */
static mm_node *mid_block_counted_last(unet *u, mm_node *x)
{
    const mm_unet_config *c = u->config;
    mm_site_cursor spatial = u->spatial, temporal = u->temporal;
    for (int32_t i = 0; i < c->levels; i++) {
        int32_t transformers = c->up_attention[i] ? (int32_t)c->layers_per_block + 1 : 0;
        u->spatial.next += MM_SPATIAL_SITES * transformers;
        u->temporal.next += MM_TEMPORAL_SITES * transformers;
    }
    x = mid_block(u, x);
    u->spatial = spatial;
    u->temporal = temporal;
    return x;
}

static mm_node *build(unet *u, const mm_unet_inputs *in)
{
    const mm_unet_config *c = u->config;
    mm_graph *g = u->b->graph;
    u->b->exact = true;
    mm_node *x = mm_layer_conv_same(u->b, "conv_in", in->latents, c->block_out_channels[0], NULL);
    u->resnet.time = time_embedding(u, in->timestep);
    u->b->exact = false;
    x = mm_cast(g, x, mm_graph_activations(g));
    u->context = mm_cast(g, in->context, mm_graph_activations(g));
    x = transformer_in(u, x);
    push(u, x);
    for (int32_t i = 0; i < c->levels && !u->stopped; i++)
        x = down_block(u, i, x);
    finish_maps(u);
    if (u->stopped)
        return NULL;
    x = mid_block_counted_last(u, x);
    for (int32_t i = 0; i < c->levels; i++)
        x = up_block(u, i, x);
    if (!x)
        return NULL;
    /* The prediction's own rounding would be the largest of all. */
    x = mm_cast(g, mm_layer_for_contexts(u->b, x, u->context), MM_F32);
    x = mm_layer_group_norm(u->b, "conv_norm_out", x, c->norm_groups, c->norm_eps,
                            x ? x->shape.dim[0] : 0, MM_ACTIVATION_SILU);
    u->b->exact = true;
    x = mm_layer_conv_same(u->b, "conv_out", x, c->out_channels, NULL);
    u->b->exact = false;
    return x;
}

mm_node *mm_unet_build(mm_builder *b, const mm_unet_config *config, const mm_unet_inputs *inputs,
                       mm_unet_maps *maps)
{
    unet u = {.b = b,
              .config = config,
              .context = inputs->context,
              .resnet = {.groups = config->norm_groups,
                         .eps = config->norm_eps,
                         .scale = 1.0,
                         .activation = config->activation},
              .spatial = {MM_SITE_SPATIAL, 0},
              .temporal = {MM_SITE_TEMPORAL, 0},
              .maps = maps};
    if (maps)
        maps->ca = maps->tsa = NULL;
    if (!check_inputs(&u, inputs) || (maps && (!check_level(&u, "spatial", maps->spatial_level) ||
                                               !check_level(&u, "temporal", maps->temporal_level))))
        return NULL;
    return build(&u, inputs);
}

mm_status mm_unet_declare(const mm_unet_config *config, mm_weight_set *weights, mm_site_list *sites,
                          mm_error *error)
{
    mm_graph *g;
    MM_TRY(mm_graph_create(&g, MM_F32, error));
    int64_t side = (int64_t)1 << config->levels;
    mm_builder b = {.graph = g, .weights = weights, .sites = sites, .frames = 1, .path = ""};
    mm_unet_inputs inputs = {
        mm_input(g, "latents", MM_F32, &MM_SHAPE(1, side, side, config->in_channels)),
        mm_input(g, "timestep", MM_F32, &MM_SHAPE(1)),
        mm_input(g, "context", MM_F32, &MM_SHAPE(1, 1, config->cross_attention_dim))};
    mm_unet_build(&b, config, &inputs, NULL);
    mm_status status = mm_graph_status(g, error);
    mm_graph_free(&g);
    return status;
}

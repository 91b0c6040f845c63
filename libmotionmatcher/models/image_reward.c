/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/image_reward.h"

#include "models/layers.h"

#define VISION_NORM_EPS 1e-6

/* The class token and the patches, with their positions: [pictures, 1 + patches, width]. */
static mm_node *picture_tokens(mm_builder *b, const mm_image_reward_config *c, mm_node *patches,
                               mm_node *zeros)
{
    int64_t pictures = patches->shape.dim[0], count = patches->shape.dim[1];
    int64_t width = c->vision.width;
    mm_node *x =
        mm_layer_patches(b, "patch_embed.proj", patches, c->vision.patch_size, width, true);
    mm_node *class = mm_layer_tensor(b, "cls_token", "", &MM_SHAPE(1, 1, width), MM_F32);
    class = mm_embedding(b->graph, mm_view(b->graph, class, &MM_SHAPE(1, width)), zeros);
    x = mm_view(b->graph, x, &MM_SHAPE(pictures, count * width));
    x = mm_view(b->graph, mm_concat(b->graph, class, x), &MM_SHAPE(pictures, count + 1, width));
    return mm_layer_positions(b, "pos_embed", "", x, &MM_SHAPE(1, count + 1, width));
}

static mm_node *vision_block(mm_builder *b, const mm_image_reward_config *c, int32_t index,
                             mm_node *x)
{
    if (!x)
        return NULL;
    int64_t width = c->vision.width;
    mm_sequences sequences = {x->shape.dim[0], x->shape.dim[1], 1};
    const char *outer = mm_enter(b, "blocks.%d", index);
    mm_node *h = mm_layer_norm_last(b, "norm1", x, VISION_NORM_EPS);
    h = mm_layer_linear(b, "attn.qkv", h, 3 * width, true, NULL);
    h = mm_attention(b->graph, h, sequences, c->vision.heads, width / c->vision.heads, false);
    x = mm_layer_linear(b, "attn.proj", h, width, true, x);
    h = mm_layer_norm_last(b, "norm2", x, VISION_NORM_EPS);
    h = mm_layer_linear(b, "mlp.fc1", h, c->vision.intermediate, true, NULL);
    h = mm_activation(b->graph, h, MM_ACTIVATION_GELU);
    x = mm_layer_linear(b, "mlp.fc2", h, width, true, x);
    mm_leave(b, outer);
    return x;
}

static mm_node *encode_pictures(mm_builder *b, const mm_image_reward_config *c, mm_node *patches,
                                mm_node *zeros)
{
    const char *outer = mm_enter(b, "blip.visual_encoder");
    mm_node *x = picture_tokens(b, c, patches, zeros);
    for (int32_t i = 0; i < c->vision.layers; i++)
        x = vision_block(b, c, i, x);
    x = mm_layer_norm_last(b, "norm", x, VISION_NORM_EPS);
    mm_leave(b, outer);
    return x;
}

static mm_node *word_tokens(mm_builder *b, const mm_image_reward_config *c, mm_node *ids)
{
    int64_t width = c->text.width;
    const char *outer = mm_enter(b, "embeddings");
    mm_node *table = mm_layer_tensor(b, "word_embeddings", "weight",
                                     &MM_SHAPE(c->text.vocabulary, width), b->weights->dtype);
    mm_node *x = mm_embedding(b->graph, table, ids);
    x = mm_layer_positions(b, "position_embeddings", "weight", x,
                           &MM_SHAPE(c->text.positions, width));
    x = mm_layer_norm_last(b, "LayerNorm", x, c->text.norm_eps);
    mm_leave(b, outer);
    return x;
}

/* LayerNorm(x + dense(h)) of the module at hand. */
static mm_node *add_and_norm(mm_builder *b, const mm_image_reward_config *c, mm_node *h, mm_node *x)
{
    x = mm_layer_linear(b, "output.dense", h, c->text.width, true, x);
    return mm_layer_norm_last(b, "output.LayerNorm", x, c->text.norm_eps);
}

static mm_node *self_attention(mm_builder *b, const mm_image_reward_config *c, mm_node *x)
{
    static const char *const qkv[] = {"self.query", "self.key", "self.value"};
    int64_t width = c->text.width, heads = c->text.heads;
    mm_sequences sequences = {x->shape.dim[0], x->shape.dim[1], 1};
    const char *outer = mm_enter(b, "attention");
    mm_node *h = mm_layer_linears(b, 3, qkv, x, width, true, NULL);
    h = mm_attention(b->graph, h, sequences, heads, width / heads, false);
    x = add_and_norm(b, c, h, x);
    mm_leave(b, outer);
    return x;
}

static mm_node *cross_attention(mm_builder *b, const mm_image_reward_config *c, mm_node *x,
                                mm_node *pictures)
{
    static const char *const kv[] = {"self.key", "self.value"};
    int64_t width = c->text.width, heads = c->text.heads;
    const char *outer = mm_enter(b, "crossattention");
    mm_node *q = mm_layer_linear(b, "self.query", x, width, true, NULL);
    mm_node *keys = mm_layer_linears(b, 2, kv, pictures, width, true, NULL);
    x = add_and_norm(b, c, mm_cross_attention(b->graph, q, keys, heads, width / heads), x);
    mm_leave(b, outer);
    return x;
}

static mm_node *text_layer(mm_builder *b, const mm_image_reward_config *c, int32_t index,
                           mm_node *x, mm_node *pictures)
{
    if (!x)
        return NULL;
    const char *outer = mm_enter(b, "encoder.layer.%d", index);
    x = self_attention(b, c, x);
    x = cross_attention(b, c, x, pictures);
    mm_node *h = mm_layer_linear(b, "intermediate.dense", x, c->text.intermediate, true, NULL);
    x = add_and_norm(b, c, mm_activation(b->graph, h, c->text.activation), x);
    mm_leave(b, outer);
    return x;
}

/* The first token's state behind the last layer: [pictures, width]. */
static mm_node *read_text(mm_builder *b, const mm_image_reward_config *c, mm_node *ids,
                          mm_node *pictures)
{
    const char *outer = mm_enter(b, "blip.text_encoder");
    mm_node *x = word_tokens(b, c, ids);
    for (int32_t i = 0; i < c->text.layers; i++)
        x = text_layer(b, c, i, x, pictures);
    mm_leave(b, outer);
    return mm_layer_token(b, x, 0);
}

mm_node *mm_image_reward_build(mm_builder *b, const mm_image_reward_config *c, mm_node *patches,
                               mm_node *zeros, mm_node *ids)
{
    /* The dropouts between count as modules. */
    static const char *const head[MM_REWARD_HEAD_LAYERS] = {
        "mlp.layers.0", "mlp.layers.2", "mlp.layers.4", "mlp.layers.6", "mlp.layers.7"};
    if (!patches || !zeros || !ids)
        return NULL;
    mm_node *pictures = encode_pictures(b, c, patches, zeros);
    mm_node *x = read_text(b, c, ids, pictures);
    for (int32_t i = 0; i < MM_REWARD_HEAD_LAYERS; i++)
        x = mm_layer_linear(b, head[i], x, c->head[i], true, NULL);
    return x;
}

mm_status mm_image_reward_declare(const mm_image_reward_config *c, mm_weight_set *weights,
                                  mm_error *error)
{
    mm_graph *g;
    MM_TRY(mm_graph_create(&g, MM_F32, error));
    mm_builder b = {.graph = g, .weights = weights, .frames = 1, .path = ""};
    int64_t size = c->vision.patch_size, across = c->vision.image_size / size;
    mm_shape patches = MM_SHAPE(1, across * across, 3 * size * size);
    mm_image_reward_build(&b, c, mm_input(g, "patches", MM_F32, &patches),
                          mm_input(g, "zeros", MM_I64, &MM_SHAPE(1)),
                          mm_input(g, "ids", MM_I64, &MM_SHAPE(1, 2)));
    mm_status status = mm_graph_status(g, error);
    mm_graph_free(&g);
    return status;
}

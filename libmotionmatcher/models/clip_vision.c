/* SPDX-License-Identifier: BSD-2-Clause */
/* CLIPVisionModel: a vision transformer with norms before each block. */
#include "models/clip.h"
#include "models/config_file.h"
#include "models/layers.h"

static mm_status check_sizes(const mm_clip_vision_config *c, const mm_json_document *d,
                             mm_error *error)
{
    if (c->width % c->heads != 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a width of %lld (vision_config, hidden_size) cannot be split into "
                       "%lld heads (num_attention_heads)",
                       d->path, (long long)c->width, (long long)c->heads);
    if (c->patch_size > c->image_size)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a patch of %lld pixels (patch_size) does not fit a picture of %lld "
                       "(image_size)",
                       d->path, (long long)c->patch_size, (long long)c->image_size);
    return MM_OK;
}

mm_status mm_clip_vision_config_read(mm_clip_vision_config *c, const mm_json_document *d,
                                     const mm_json *section, mm_error *error)
{
    int64_t channels;
    MM_TRY(mm_json_get_int(d, section, "hidden_size", 768, 1, MM_MOST_CHANNELS, &c->width, error));
    MM_TRY(mm_json_get_int(d, section, "intermediate_size", 3072, 1, 4 * MM_MOST_CHANNELS,
                           &c->intermediate, error));
    MM_TRY(mm_json_get_int(d, section, "num_hidden_layers", 12, 1, 256, &c->layers, error));
    MM_TRY(mm_json_get_int(d, section, "num_attention_heads", 12, 1, 1024, &c->heads, error));
    MM_TRY(mm_json_get_int(d, section, "image_size", 224, 1, 2048, &c->image_size, error));
    MM_TRY(mm_json_get_int(d, section, "patch_size", 32, 1, 256, &c->patch_size, error));
    MM_TRY(mm_json_get_int(d, section, "num_channels", 3, 3, 3, &channels, error));
    MM_TRY(mm_json_get_double(d, section, "layer_norm_eps", 1e-5, 0.0, 1.0, &c->norm_eps, error));
    MM_TRY(check_sizes(c, d, error));
    return mm_config_hidden_activation(d, section, "quick_gelu", &c->activation, error);
}

int64_t mm_clip_patches(const mm_clip_vision_config *c)
{
    int64_t side = c->image_size / c->patch_size;
    return side * side;
}

/* The class token and the patches, with their positions: [pictures, 1 + patches, width]. */
static mm_node *embeddings(mm_builder *b, const mm_clip_vision_config *c, mm_node *patches,
                           mm_node *zeros)
{
    const char *outer = mm_enter(b, "embeddings");
    int64_t pictures = patches->shape.dim[0], count = patches->shape.dim[1];
    mm_node *x = mm_layer_patches(b, "patch_embedding", patches, c->patch_size, c->width, false);
    mm_node *class = mm_layer_tensor(b, "class_embedding", "", &MM_SHAPE(c->width), MM_F32);
    class = mm_embedding(b->graph, mm_view(b->graph, class, &MM_SHAPE(1, c->width)), zeros);
    x = mm_view(b->graph, x, &MM_SHAPE(pictures, count * c->width));
    x = mm_view(b->graph, mm_concat(b->graph, class, x), &MM_SHAPE(pictures, count + 1, c->width));
    x = mm_layer_positions(b, "position_embedding", "weight", x, &MM_SHAPE(count + 1, c->width));
    mm_leave(b, outer);
    return x;
}

mm_node *mm_clip_vision_build(mm_builder *b, const mm_clip_vision_config *c, mm_node *patches,
                              mm_node *zeros)
{
    if (!patches || !zeros)
        return NULL;
    mm_clip_stack stack = {c->width, c->intermediate, c->heads, c->norm_eps, c->activation, false};
    const char *outer = mm_enter(b, "vision_model");
    mm_node *x = embeddings(b, c, patches, zeros);
    x = mm_layer_norm_last(b, "pre_layrnorm", x, c->norm_eps);
    for (int32_t i = 0; i < c->layers; i++)
        x = mm_clip_layer(b, &stack, i, x);
    x = mm_layer_norm_last(b, "post_layernorm", mm_layer_token(b, x, 0), c->norm_eps);
    mm_leave(b, outer);
    return x;
}

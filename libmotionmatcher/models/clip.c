/* SPDX-License-Identifier: BSD-2-Clause */
/* CLIPModel: both encoders and their projections. */
#include "models/clip.h"

#include <string.h>

#include "models/config_file.h"
#include "models/layers.h"

static mm_status read(mm_clip_config *c, const mm_json_document *d, mm_error *error)
{
    const char *type;
    if (!mm_json_is_object(d->root))
        return mm_fail(error, MM_ERR_INPUT, "%s: not an object of keys and values", d->path);
    MM_TRY(mm_json_get_string(d, d->root, "model_type", "clip", &type, error));
    if (strcmp(type, "clip") != 0)
        return mm_fail(error, MM_ERR_UNSUPPORTED,
                       "%s: a model of type '%s' is not supported here, a CLIPModel (type 'clip') "
                       "is expected",
                       d->path, type);
    MM_TRY(mm_json_get_int(d, d->root, "projection_dim", 512, 1, MM_MOST_CHANNELS,
                           &c->projection_dim, error));
    MM_TRY(mm_json_get_int(d, mm_clip_section(d, "text_config"), "eos_token_id", 49407, 0, 1 << 24,
                           &c->end_token, error));
    return mm_clip_vision_config_read(&c->vision, d, mm_clip_section(d, "vision_config"), error);
}

mm_status mm_clip_config_load(mm_clip_config *out, const char *path, mm_error *error)
{
    mm_json_document document;
    *out = (mm_clip_config){0};
    MM_TRY(mm_json_load(&document, path, error));
    mm_status status = read(out, &document, error);
    mm_json_free(&document);
    return status == MM_OK ? mm_clip_text_config_load(&out->text, path, error) : status;
}

mm_node *mm_clip_layer(mm_builder *b, const mm_clip_stack *s, int32_t index, mm_node *x)
{
    static const char *const qkv[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    if (!x)
        return NULL;
    const char *outer = mm_enter(b, "encoder.layers.%d", index);
    mm_sequences sequences = {x->shape.dim[0], x->shape.dim[1], 1};
    mm_node *h = mm_layer_norm_last(b, "layer_norm1", x, s->norm_eps);
    h = mm_layer_linears(b, 3, qkv, h, s->width, true, NULL);
    h = mm_attention(b->graph, h, sequences, s->heads, s->width / s->heads, s->causal);
    x = mm_layer_linear(b, "self_attn.out_proj", h, s->width, true, x);
    h = mm_layer_norm_last(b, "layer_norm2", x, s->norm_eps);
    h = mm_layer_linear(b, "mlp.fc1", h, s->intermediate, true, NULL);
    h = mm_activation(b->graph, h, s->activation);
    x = mm_layer_linear(b, "mlp.fc2", h, s->width, true, x);
    mm_leave(b, outer);
    return x;
}

mm_node *mm_clip_image_features(mm_builder *b, const mm_clip_config *c, mm_node *patches,
                                mm_node *zeros)
{
    mm_node *x = mm_clip_vision_build(b, &c->vision, patches, zeros);
    return mm_layer_linear(b, "visual_projection", x, c->projection_dim, false, NULL);
}

mm_node *mm_clip_text_features(mm_builder *b, const mm_clip_config *c, mm_node *ids)
{
    mm_node *x = mm_clip_text_build(b, &c->text, ids);
    x = x ? mm_layer_token(b, x, ids->shape.dim[1] - 1) : NULL;
    return mm_layer_linear(b, "text_projection", x, c->projection_dim, false, NULL);
}

int64_t mm_clip_pooled_position(const mm_clip_config *c, const int64_t *ids, int64_t count)
{
    int64_t at = 0;
    for (int64_t i = 1; c->end_token == 2 && i < count; i++)
        at = ids[i] > ids[at] ? i : at;
    for (int64_t i = 0; c->end_token != 2 && i < count; i++) {
        if (ids[i] == c->end_token)
            return i;
    }
    return at;
}

mm_status mm_clip_declare(const mm_clip_config *c, mm_weight_set *weights, mm_error *error)
{
    mm_graph *g;
    MM_TRY(mm_graph_create(&g, MM_F32, error));
    mm_builder b = {.graph = g, .weights = weights, .frames = 1, .path = ""};
    int64_t size = c->vision.patch_size;
    mm_shape patches = MM_SHAPE(1, mm_clip_patches(&c->vision), 3 * size * size);
    mm_clip_image_features(&b, c, mm_input(g, "patches", MM_F32, &patches),
                           mm_input(g, "zeros", MM_I64, &MM_SHAPE(1)));
    mm_clip_text_features(&b, c, mm_input(g, "ids", MM_I64, &MM_SHAPE(1, 1)));
    mm_status status = mm_graph_status(g, error);
    mm_graph_free(&g);
    return status;
}

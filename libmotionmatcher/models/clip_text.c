/* SPDX-License-Identifier: BSD-2-Clause */
/* CLIPTextModel. */
#include <stdio.h>
#include <string.h>

#include "models/clip.h"
#include "models/config_file.h"
#include "models/layers.h"

static mm_status check_architecture(const mm_json_document *d, mm_error *error)
{
    static const char *const known[] = {"CLIPTextModel", "CLIPTextModelWithProjection",
                                        "CLIPModel"};
    const mm_json *first = mm_json_item(mm_json_member(d->root, "architectures"), 0);
    const char *name = first ? mm_json_text(first) : known[0];
    for (size_t i = 0; name && i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i]) == 0)
            return MM_OK;
    }
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: the text encoder '%s' is not supported, only CLIPTextModel is", d->path,
                   name ? name : "?");
}

static mm_status check_model_type(const mm_json_document *d, mm_error *error)
{
    const char *type;
    MM_TRY(mm_json_get_string(d, d->root, "model_type", "clip_text_model", &type, error));
    if (strcmp(type, "clip_text_model") == 0 || strcmp(type, "clip") == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: a text encoder of type '%s' is not supported, only clip_text_model is",
                   d->path, type);
}

static mm_status read_numbers(mm_clip_text_config *c, const mm_json_document *d,
                              const mm_json *root, mm_error *error)
{
    MM_TRY(mm_json_get_int(d, root, "vocab_size", 49408, 1, 1 << 24, &c->vocabulary, error));
    MM_TRY(
        mm_json_get_int(d, root, "max_position_embeddings", 77, 1, 1 << 16, &c->positions, error));
    MM_TRY(mm_json_get_int(d, root, "hidden_size", 512, 1, MM_MOST_CHANNELS, &c->width, error));
    MM_TRY(mm_json_get_int(d, root, "intermediate_size", 2048, 1, 4 * MM_MOST_CHANNELS,
                           &c->intermediate, error));
    MM_TRY(mm_json_get_int(d, root, "num_hidden_layers", 12, 1, 256, &c->layers, error));
    MM_TRY(mm_json_get_int(d, root, "num_attention_heads", 8, 1, 1024, &c->heads, error));
    if (c->width % c->heads != 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a width of %lld (hidden_size) cannot be split into %lld heads "
                       "(num_attention_heads)",
                       d->path, (long long)c->width, (long long)c->heads);
    return mm_json_get_double(d, root, "layer_norm_eps", 1e-5, 0.0, 1.0, &c->norm_eps, error);
}

static mm_status read(mm_clip_text_config *c, const mm_json_document *d, mm_error *error)
{
    if (!mm_json_is_object(d->root))
        return mm_fail(error, MM_ERR_INPUT, "%s: not an object of keys and values", d->path);
    MM_TRY(check_model_type(d, error));
    MM_TRY(check_architecture(d, error));
    const mm_json *root = mm_clip_section(d, "text_config");
    MM_TRY(read_numbers(c, d, root ? root : d->root, error));
    return mm_config_hidden_activation(d, root ? root : d->root, "quick_gelu", &c->activation,
                                       error);
}

const mm_json *mm_clip_section(const mm_json_document *document, const char *key)
{
    char older[64];
    snprintf(older, sizeof(older), "%s_dict", key);
    const mm_json *section = mm_json_member(document->root, older);
    return section ? section : mm_json_member(document->root, key);
}

mm_status mm_clip_text_config_load(mm_clip_text_config *out, const char *path, mm_error *error)
{
    mm_json_document document;
    *out = (mm_clip_text_config){0};
    MM_TRY(mm_json_load(&document, path, error));
    mm_status status = read(out, &document, error);
    mm_json_free(&document);
    return status;
}

static mm_node *embeddings(mm_builder *b, const mm_clip_text_config *c, mm_node *ids)
{
    const char *outer = mm_enter(b, "embeddings");
    mm_node *table = mm_layer_tensor(b, "token_embedding", "weight",
                                     &MM_SHAPE(c->vocabulary, c->width), b->weights->dtype);
    mm_node *x =
        mm_layer_positions(b, "position_embedding", "weight", mm_embedding(b->graph, table, ids),
                           &MM_SHAPE(c->positions, c->width));
    mm_leave(b, outer);
    return x;
}

mm_node *mm_clip_text_build(mm_builder *b, const mm_clip_text_config *c, mm_node *ids)
{
    if (!ids)
        return NULL;
    if (ids->shape.rank != 2 || ids->shape.dim[1] > c->positions)
        return mm_graph_fail(b->graph, MM_ERR_INPUT,
                             "the text encoder takes at most %lld tokens, not %lld",
                             (long long)c->positions, (long long)ids->shape.dim[1]);
    mm_clip_stack stack = {c->width, c->intermediate, c->heads, c->norm_eps, c->activation, true};
    const char *outer = mm_enter(b, "text_model");
    mm_node *x = embeddings(b, c, ids);
    for (int32_t i = 0; i < c->layers; i++)
        x = mm_clip_layer(b, &stack, i, x);
    x = mm_layer_norm_last(b, "final_layer_norm", x, c->norm_eps);
    mm_leave(b, outer);
    return x;
}

mm_status mm_clip_text_declare(const mm_clip_text_config *config, mm_weight_set *weights,
                               mm_error *error)
{
    mm_graph *g;
    MM_TRY(mm_graph_create(&g, MM_F32, error));
    mm_builder b = {.graph = g, .weights = weights, .frames = 1, .path = ""};
    mm_clip_text_build(&b, config, mm_input(g, "ids", MM_I64, &MM_SHAPE(1, 1)));
    mm_status status = mm_graph_status(g, error);
    mm_graph_free(&g);
    return status;
}

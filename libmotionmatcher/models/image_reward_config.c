/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "models/config_file.h"
#include "models/image_reward.h"

#define MOST_LAYERS 256
#define HEAD_WIDTH 64 /* of the image encoder, in every size of it that was published */

/* The shape of a tensor that must be there, with that many dimensions. */
static mm_status shape_of(const mm_tensor_file *file, const char *name, int32_t rank,
                          const int64_t **dim, mm_error *error)
{
    int64_t index = mm_tensor_file_find(file, name);
    if (index < 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: the tensor '%s' is missing; is it an ImageReward?",
                       mm_tensor_file_path(file), name);
    const mm_tensor_info *info = mm_tensor_file_info(file, (size_t)index);
    char text[128];
    bool fits = info->shape.rank == rank;
    for (int32_t i = 0; fits && i < rank; i++)
        fits = info->shape.dim[i] >= 1 && info->shape.dim[i] <= 4 * MM_MOST_CHANNELS;
    if (!fits)
        return mm_fail(error, MM_ERR_INPUT, "%s: the tensor '%s' is %s, %d dimensions are expected",
                       mm_tensor_file_path(file), name,
                       mm_shape_text(&info->shape, text, sizeof(text)), rank);
    *dim = info->shape.dim;
    return MM_OK;
}

static int64_t count_blocks(const mm_tensor_file *file)
{
    char name[80];
    for (int64_t i = 0; i < MOST_LAYERS; i++) {
        snprintf(name, sizeof(name), "blip.visual_encoder.blocks.%lld.norm1.weight", (long long)i);
        if (mm_tensor_file_find(file, name) < 0)
            return i;
    }
    return MOST_LAYERS;
}

static mm_status read_picture_size(mm_image_reward_config *c, const mm_tensor_file *file,
                                   mm_error *error)
{
    const int64_t *positions, *patch;
    MM_TRY(shape_of(file, "blip.visual_encoder.pos_embed", 3, &positions, error));
    MM_TRY(shape_of(file, "blip.visual_encoder.patch_embed.proj.weight", 4, &patch, error));
    int64_t across = 0;
    while ((across + 1) * (across + 1) <= positions[1] - 1)
        across++;
    if (across < 1 || across * across != positions[1] - 1 || patch[3] > 256)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: %lld positions are not those of a square of patches of %lld pixels and "
                       "one more",
                       mm_tensor_file_path(file), (long long)positions[1], (long long)patch[3]);
    c->vision.width = positions[2];
    c->vision.patch_size = patch[3];
    c->vision.image_size = across * patch[3];
    if (c->vision.image_size <= 4096)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT, "%s: pictures of %lld pixels a side are too large",
                   mm_tensor_file_path(file), (long long)c->vision.image_size);
}

static mm_status choose_heads(mm_image_reward_config *c, const mm_tensor_file *file, int64_t heads,
                              mm_error *error)
{
    int64_t width = c->vision.width;
    c->vision.heads = heads ? heads : width / HEAD_WIDTH;
    if (c->vision.heads > 0 && width % c->vision.heads == 0 && (heads || width % HEAD_WIDTH == 0))
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: the image encoder's width of %lld cannot be split into %s; set "
                   "option vision_heads",
                   mm_tensor_file_path(file), (long long)width,
                   heads ? "that many heads" : "heads of 64 channels");
}

static mm_status read_vision(mm_image_reward_config *c, const mm_tensor_file *file, int64_t heads,
                             mm_error *error)
{
    const int64_t *inner;
    MM_TRY(read_picture_size(c, file, error));
    MM_TRY(shape_of(file, "blip.visual_encoder.blocks.0.mlp.fc1.weight", 2, &inner, error));
    c->vision.intermediate = inner[0];
    c->vision.layers = count_blocks(file);
    return choose_heads(c, file, heads, error);
}

static mm_status read_head(mm_image_reward_config *c, const mm_tensor_file *file, mm_error *error)
{
    static const char *const layers[MM_REWARD_HEAD_LAYERS] = {
        "mlp.layers.0.weight", "mlp.layers.2.weight", "mlp.layers.4.weight", "mlp.layers.6.weight",
        "mlp.layers.7.weight"};
    const int64_t *dim = NULL;
    for (int32_t i = 0; i < MM_REWARD_HEAD_LAYERS; i++) {
        MM_TRY(shape_of(file, layers[i], 2, &dim, error));
        c->head[i] = dim[0];
    }
    if (dim[0] == 1)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT, "%s: the head has %lld outputs instead of one",
                   mm_tensor_file_path(file), (long long)dim[0]);
}

static mm_status read_text(mm_image_reward_config *c, const mm_json_document *d, mm_error *error)
{
    const mm_json *root = d->root;
    if (!mm_json_is_object(root))
        return mm_fail(error, MM_ERR_INPUT, "%s: not an object of keys and values", d->path);
    MM_TRY(mm_json_get_int(d, root, "vocab_size", 30524, 1, 1 << 24, &c->text.vocabulary, error));
    MM_TRY(mm_json_get_int(d, root, "max_position_embeddings", 512, 2, 1 << 16, &c->text.positions,
                           error));
    MM_TRY(
        mm_json_get_int(d, root, "hidden_size", 768, 1, MM_MOST_CHANNELS, &c->text.width, error));
    MM_TRY(mm_json_get_int(d, root, "intermediate_size", 3072, 1, 4 * MM_MOST_CHANNELS,
                           &c->text.intermediate, error));
    MM_TRY(
        mm_json_get_int(d, root, "num_hidden_layers", 12, 1, MOST_LAYERS, &c->text.layers, error));
    MM_TRY(mm_json_get_int(d, root, "num_attention_heads", 12, 1, 1024, &c->text.heads, error));
    MM_TRY(
        mm_json_get_double(d, root, "layer_norm_eps", 1e-12, 0.0, 1.0, &c->text.norm_eps, error));
    if (c->text.width % c->text.heads != 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a width of %lld (hidden_size) cannot be split into %lld heads "
                       "(num_attention_heads)",
                       d->path, (long long)c->text.width, (long long)c->text.heads);
    return mm_config_hidden_activation(d, root, "gelu", &c->text.activation, error);
}

mm_status mm_image_reward_config_load(mm_image_reward_config *out, const char *med_config_path,
                                      const mm_tensor_file *file, int64_t vision_heads,
                                      mm_error *error)
{
    mm_json_document document;
    *out = (mm_image_reward_config){0};
    MM_TRY(mm_json_load(&document, med_config_path, error));
    mm_status status = read_text(out, &document, error);
    mm_json_free(&document);
    if (status == MM_OK)
        status = read_vision(out, file, vision_heads, error);
    return status == MM_OK ? read_head(out, file, error) : status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/config_file.h"

#include <string.h>
#include <strings.h>

mm_status mm_config_open(mm_json_document *document, const char *path, const char *class_name,
                         mm_error *error)
{
    const char *name;
    MM_TRY(mm_json_load(document, path, error));
    mm_status status = MM_OK;
    if (!mm_json_is_object(document->root))
        status = mm_fail(error, MM_ERR_INPUT, "%s: not an object of keys and values", path);
    if (status == MM_OK)
        status =
            mm_json_get_string(document, document->root, "_class_name", class_name, &name, error);
    if (status == MM_OK && strcmp(name, class_name) != 0)
        status = mm_fail(error, MM_ERR_UNSUPPORTED,
                         "%s: the class '%s' is not supported, only %s is", path, name, class_name);
    if (status != MM_OK)
        mm_json_free(document);
    return status;
}

mm_status mm_config_refuse(const mm_json_document *document, const char *key, mm_error *error)
{
    if (!mm_json_member(document->root, key))
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: a value for '%s' is not supported",
                   document->path, key);
}

mm_status mm_config_channels(const mm_json_document *document, const char *key, int64_t fallback,
                             int64_t *out, mm_error *error)
{
    return mm_json_get_int(document, document->root, key, fallback, 1, MM_MOST_CHANNELS, out,
                           error);
}

mm_status mm_config_activation(const mm_json_document *document, mm_activation_kind *out,
                               mm_error *error)
{
    const char *name;
    MM_TRY(mm_json_get_string(document, document->root, "act_fn", "silu", &name, error));
    if (strcasecmp(name, "silu") == 0 || strcasecmp(name, "swish") == 0)
        *out = MM_ACTIVATION_SILU;
    else if (strcasecmp(name, "gelu") == 0)
        *out = MM_ACTIVATION_GELU;
    else
        return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: the activation '%s' is not supported",
                       document->path, name);
    return MM_OK;
}

mm_status mm_config_hidden_activation(const mm_json_document *document, const mm_json *section,
                                      const char *fallback, mm_activation_kind *out,
                                      mm_error *error)
{
    static const struct {
        const char *name;
        mm_activation_kind kind;
    } known[] = {
        {"quick_gelu", MM_ACTIVATION_QUICK_GELU},
        {"gelu", MM_ACTIVATION_GELU},
        {"gelu_new", MM_ACTIVATION_GELU_TANH},
        {"gelu_fast", MM_ACTIVATION_GELU_TANH},
        {"silu", MM_ACTIVATION_SILU},
        {"gelu_pytorch_tanh", MM_ACTIVATION_GELU_TANH},
        {"swish", MM_ACTIVATION_SILU},
    };
    const char *name;
    MM_TRY(mm_json_get_string(document, section, "hidden_act", fallback, &name, error));
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i].name) == 0) {
            *out = known[i].kind;
            return MM_OK;
        }
    }
    return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: the activation '%s' is not supported",
                   document->path, name);
}

mm_status mm_config_levels(const mm_json_document *document, int32_t capacity, int64_t *channels,
                           int32_t *levels, mm_error *error)
{
    size_t count = (size_t)*levels;
    MM_TRY(mm_json_get_ints(document, document->root, "block_out_channels", 1, MM_MOST_CHANNELS,
                            (size_t)capacity, channels, &count, error));
    *levels = (int32_t)count;
    return MM_OK;
}

mm_status mm_config_groups(const mm_json_document *document, const int64_t *channels,
                           int32_t levels, int64_t *out, mm_error *error)
{
    MM_TRY(mm_config_channels(document, "norm_num_groups", 32, out, error));
    for (int32_t i = 0; i < levels; i++) {
        if (channels[i] % *out != 0)
            return mm_fail(error, MM_ERR_INPUT,
                           "%s: %lld channels cannot be normalised in %lld groups "
                           "(block_out_channels, norm_num_groups)",
                           document->path, (long long)channels[i], (long long)*out);
    }
    return MM_OK;
}

static mm_status block(const mm_json_document *document, const char *key, const mm_json *item,
                       const char *with, const char *without, bool *attention, mm_error *error)
{
    const char *name = mm_json_text(item);
    if (!name)
        return mm_fail(error, MM_ERR_INPUT, "%s: '%s' must be a list of names", document->path,
                       key);
    *attention = with && strcmp(name, with) == 0;
    if (*attention || strcmp(name, without) == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: the block type '%s' (%s) is not supported",
                   document->path, name, key);
}

mm_status mm_config_blocks(const mm_json_document *document, const char *key, const char *with,
                           const char *without, int32_t levels, int32_t default_levels,
                           bool *attention, mm_error *error)
{
    const mm_json *list = mm_json_member(document->root, key);
    size_t count = list ? mm_json_count(list) : (size_t)default_levels;
    if (list && !mm_json_is_array(list))
        return mm_fail(error, MM_ERR_INPUT, "%s: '%s' must be a list of names", document->path,
                       key);
    int32_t i = 0;
    for (const mm_json *item = mm_json_first(list); item && i < levels; item = mm_json_next(item))
        MM_TRY(block(document, key, item, with, without, &attention[i++], error));
    if (count != (size_t)levels)
        return mm_fail(error, MM_ERR_INPUT, "%s: '%s' has %zu entries, 'block_out_channels' has %d",
                       document->path, key, count, levels);
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The maps as a file. */
#include <stdio.h>

#include "api/extractor_internal.h"
#include "api/status_internal.h"
#include "base/json.h"
#include "base/memory.h"
#include "motionmatcher/version.h"

#define MOST_METADATA 16

typedef struct metadata {
    mm_metadata_entry entry[MOST_METADATA];
    size_t count;
    char numbers[MOST_METADATA][24];
} metadata;

static void put_text(metadata *m, const char *key, const char *value)
{
    m->entry[m->count++] = (mm_metadata_entry){key, value};
}

static void put_number(metadata *m, const char *key, int64_t value)
{
    char *text = m->numbers[m->count];
    snprintf(text, sizeof(m->numbers[0]), "%lld", (long long)value);
    put_text(m, key, text);
}

/* ["<|startoftext|>","a",...], one text for each token before the padding. Free with mm_free. */
static char *tokens_as_json(const mm_extractor *x)
{
    mm_json_writer writer = {0};
    mm_json_begin(&writer, NULL, '[');
    for (int64_t i = 0; i < x->clip.tokens; i++) {
        const char *text = mm_extractor_token(x, i);
        mm_json_put_string(&writer, NULL, text ? text : "");
    }
    mm_json_end(&writer, ']');
    if (!writer.failed)
        return writer.text;
    mm_free(writer.text);
    return NULL;
}

static void describe(const mm_extractor *x, const char *tokens, metadata *m)
{
    const mm_feature_config *c = x->config;
    int64_t height, width;
    mm_feature_pass_tsa_places(x->pass, &height, &width);
    put_text(m, "mm_version", MM_VERSION);
    put_text(m, "mm_model", x->model->parts.directory);
    put_text(m, "mm_prompt", x->clip.prompt);
    put_text(m, "mm_tokens", tokens);
    put_number(m, "mm_timestep", x->timestep);
    put_number(m, "mm_spatial_scale_factor", c->spatial_scale_factor);
    put_number(m, "mm_temporal_scale_factor", c->temporal_scale_factor);
    put_number(m, "mm_frames", c->num_frames);
    put_number(m, "mm_width", c->width);
    put_number(m, "mm_height", c->height);
    put_number(m, "mm_tsa_height", height);
    put_number(m, "mm_tsa_width", width);
    if (x->seeded)
        put_number(m, "mm_seed", c->seed);
}

static mm_status write_maps(mm_extractor *x, const char *path, mm_error *error)
{
    mm_tensor_entry maps[] = {
        {"ca", MM_F32, *mm_feature_pass_ca_shape(x->pass), x->ca->data},
        {"tsa", MM_F32, *mm_feature_pass_tsa_shape(x->pass), x->tsa->data},
    };
    metadata m = {0};
    char *tokens = tokens_as_json(x);
    if (!tokens)
        return mm_fail_memory(error, "the tokens", 0);
    describe(x, tokens, &m);
    mm_status status = mm_safetensors_write(path, maps, 2, m.entry, m.count, error);
    mm_free(tokens);
    if (status == MM_OK)
        mm_context_emit_output(x->model->context, path);
    return status;
}

mm_status mm_extractor_write(mm_extractor *extractor, const char *path)
{
    if (!extractor || !path)
        return mm_api_misuse(__func__, "extractor and path must not be NULL");
    if (!extractor->ca)
        return mm_api_misuse(__func__, "there are no maps yet; mm_extractor_run() computes them");
    mm_error error = {0};
    return mm_api_return(write_maps(extractor, path, &error), &error);
}

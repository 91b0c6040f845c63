/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/image_reward.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "metrics/metrics.h"
#include "metrics/picture_network.h"
#include "models/weight_loader.h"
#include "text/wordpiece.h"

#define MOST_TOKENS 35

/* Of the head's outputs over the training data. */
static const double reward_mean = 0.16717362830052426, reward_deviation = 1.0333394966054072;

typedef struct image_reward {
    mm_metric metric;
    mm_image_reward_config config;
    mm_component model;
    mm_wordpiece *tokenizer;
    mm_picture_network network;
    char *path;                                     /* of the video */
    char *prompt;                                   /* whose ids these are */
    int64_t ids[MM_PICTURES_AT_ONCE * MOST_TOKENS]; /* the prompt's, once for every picture */
    int64_t tokens;                                 /* of the prompt */
    int64_t frames;                                 /* so far */
    double sum;                                     /* of rewards */
} image_reward;

static mm_status build(void *user, mm_picture_graph *g, int64_t pictures, mm_error *error)
{
    image_reward *r = user;
    mm_builder b = {.graph = g->graph, .weights = &r->model.weights, .frames = 1, .path = ""};
    (void)error;
    g->other = mm_input(g->graph, "ids", MM_I64, &MM_SHAPE(pictures, r->tokens));
    g->other_data = r->ids;
    g->output = mm_image_reward_build(&b, &r->config, g->patches, g->zeros, g->other);
    return MM_OK;
}

static mm_status take_rewards(void *user, const float *rewards, int64_t count, mm_error *error)
{
    image_reward *r = user;
    (void)error;
    for (int64_t i = 0; i < count; i++)
        r->sum += ((double)rewards[i] - reward_mean) / reward_deviation;
    r->frames += count;
    return MM_OK;
}

static void free_metric(mm_metric *metric)
{
    image_reward *r = (image_reward *)metric;
    mm_picture_network_free(&r->network);
    mm_component_release(&r->model, metric->runtime->backend);
    mm_weight_set_free(&r->model.weights);
    mm_free(r->model.path);
    mm_wordpiece_close(&r->tokenizer);
    mm_free(r->path);
    mm_free(r->prompt);
    mm_free(r);
}

static size_t weight_bytes(const mm_metric *metric)
{
    return mm_component_bytes(&((const image_reward *)metric)->model, metric->runtime->backend);
}

static int64_t most_tokens(const image_reward *r)
{
    return r->config.text.positions < MOST_TOKENS ? r->config.text.positions : MOST_TOKENS;
}

static mm_status plan(mm_metric *metric, size_t budget, size_t *bytes, mm_error *error)
{
    image_reward *r = (image_reward *)metric;
    mm_free(r->prompt);
    r->prompt = NULL;
    r->tokens = most_tokens(r);
    mm_status status = mm_picture_network_plan(&r->network, budget, bytes, error);
    return status == MM_OK ? MM_OK : mm_error_prefix(error, "ImageReward");
}

static mm_status load(mm_metric *metric, mm_error *error)
{
    return mm_metric_load(metric, &((image_reward *)metric)->model, error);
}

static mm_status encode_prompt(image_reward *r, const char *prompt, mm_error *error)
{
    size_t count = 0;
    bool truncated = false;
    MM_TRY(mm_wordpiece_encode(r->tokenizer, prompt, (size_t)most_tokens(r), r->ids, &count,
                               &truncated, error));
    if (truncated)
        mm_log(r->metric.runtime->logger, MM_LOG_NOTICE,
               "the prompt is too long for ImageReward: only its first %zu tokens are used",
               count - 2);
    for (size_t i = 1; i < MM_PICTURES_AT_ONCE; i++)
        memcpy(r->ids + i * count, r->ids, count * sizeof(*r->ids));
    if (r->tokens != (int64_t)count)
        mm_picture_network_reset(&r->network, true);
    r->tokens = (int64_t)count;
    return MM_OK;
}

static mm_status begin(mm_metric *metric, const mm_metric_video *video, mm_error *error)
{
    image_reward *r = (image_reward *)metric;
    r->frames = 0;
    r->sum = 0.0;
    mm_picture_network_reset(&r->network, false);
    MM_TRY(mm_metric_keep_text(&r->path, video->path, error));
    if (mm_metric_has_text(&r->prompt, video->prompt))
        return MM_OK;
    MM_TRY(encode_prompt(r, video->prompt, error));
    return mm_metric_keep_text(&r->prompt, video->prompt, error);
}

static mm_status add_frame(mm_metric *metric, const mm_picture *frame, mm_error *error)
{
    return mm_picture_network_add(&((image_reward *)metric)->network, frame, error);
}

static mm_status finish(mm_metric *metric, double *values, mm_error *error)
{
    image_reward *r = (image_reward *)metric;
    MM_TRY(mm_picture_network_flush(&r->network, error));
    values[0] = r->sum / (double)r->frames;
    return mm_metric_check_finite(metric, r->path, 0, values[0], error);
}

static const mm_metric_table table = {
    .name = "ImageReward",
    .figure_count = 1,
    .figure = {"image_reward"},
    .needs_prompt = true,
    .free = free_metric,
    .weight_bytes = weight_bytes,
    .plan = plan,
    .load = load,
    .begin = begin,
    .add_frame = add_frame,
    .finish = finish,
};

/* "<directory>/<name>", which must be there; *out is fresh. */
static mm_status find_file(char **out, const char *directory, const char *name, mm_error *error)
{
    *out = mm_path_join(directory, name);
    if (!*out)
        return mm_fail_memory(error, "a path", strlen(directory));
    if (mm_path_is_file(*out))
        return MM_OK;
    mm_free(*out);
    *out = NULL;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: there is no %s; a directory with ImageReward.pt (or .safetensors), "
                   "med_config.json and vocab.txt is expected",
                   directory, name);
}

static mm_status find_weights(char **out, const char *directory, mm_error *error)
{
    mm_error ignored;
    if (find_file(out, directory, "ImageReward.safetensors", &ignored) == MM_OK)
        return MM_OK;
    return find_file(out, directory, "ImageReward.pt", error);
}

static mm_status open_tokenizer(image_reward *r, const char *directory, mm_error *error)
{
    static const char *const added[] = {"[DEC]", "[ENC]", NULL};
    char *path;
    MM_TRY(find_file(&path, directory, "vocab.txt", error));
    mm_status status = mm_wordpiece_open(&r->tokenizer, path, added, error);
    int64_t ids = status == MM_OK ? mm_wordpiece_vocabulary(r->tokenizer) : 0;
    if (ids > r->config.text.vocabulary)
        status = mm_fail(error, MM_ERR_INPUT,
                         "%s: ids go up to %lld, the text encoder's table has %lld rows "
                         "(med_config.json, vocab_size)",
                         path, (long long)ids - 1, (long long)r->config.text.vocabulary);
    mm_free(path);
    return status;
}

static mm_status check_weights(image_reward *r, const char *config_path, int64_t vision_heads,
                               mm_error *error)
{
    mm_tensor_file *file = NULL;
    MM_TRY(mm_tensor_file_open(&file, r->model.path, error));
    mm_status status =
        mm_image_reward_config_load(&r->config, config_path, file, vision_heads, error);
    if (status == MM_OK)
        status = mm_image_reward_declare(&r->config, &r->model.weights, error);
    if (status == MM_OK)
        status = mm_weights_check(&r->model.weights, file, r->metric.runtime->logger, error);
    mm_tensor_file_close(&file);
    return status;
}

/* Mean and deviation are CLIP's; every step in single precision. */
static void set_pictures(image_reward *r)
{
    static const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
    static const float deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    mm_picture_network *n = &r->network;
    int64_t side = r->config.vision.image_size;
    n->geometry = (mm_image_geometry){side, side, MM_CROP_TO_EVEN};
    n->patch_size = r->config.vision.patch_size;
    n->outputs = 1;
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++)
            n->pixels.value[c][v] = ((float)v / 255.0f - mean[c]) / deviation[c];
    }
}

static mm_status open_parts(image_reward *r, const char *directory, int64_t vision_heads,
                            mm_error *error)
{
    char *config_path;
    if (!mm_path_is_directory(directory))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: no such directory; one with ImageReward is "
                       "expected",
                       directory);
    MM_TRY(find_weights(&r->model.path, directory, error));
    MM_TRY(find_file(&config_path, directory, "med_config.json", error));
    mm_status status = check_weights(r, config_path, vision_heads, error);
    mm_free(config_path);
    MM_TRY(status);
    set_pictures(r);
    return open_tokenizer(r, directory, error);
}

mm_status mm_image_reward_open(mm_metric **out, const char *directory, int64_t vision_heads,
                               const mm_runtime *runtime, mm_error *error)
{
    image_reward *r = mm_calloc(1, sizeof(*r));
    if (!r)
        return mm_fail_memory(error, "a metric", sizeof(*r));
    r->metric = (mm_metric){&table, runtime};
    mm_weight_set_init(&r->model.weights, MM_F32);
    r->network =
        (mm_picture_network){.runtime = runtime, .build = build, .take = take_rewards, .user = r};
    mm_status status = open_parts(r, directory, vision_heads, error);
    if (status != MM_OK) {
        free_metric(&r->metric);
        return status;
    }
    *out = &r->metric;
    return MM_OK;
}

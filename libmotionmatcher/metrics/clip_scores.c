/* SPDX-License-Identifier: BSD-2-Clause */
/* CLIP text similarity and frame consistency. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "metrics/clip_images.h"
#include "metrics/metrics.h"
#include "metrics/picture_network.h"
#include "models/clip.h"
#include "models/weight_loader.h"

#define MOST_TOKENS 77
#define LEAST_NORM 1e-6 /* of a feature, so that a cosine is defined */

typedef struct clip_scores {
    mm_metric metric;
    mm_clip_config config;
    mm_component model;
    mm_tokenizer *tokenizer;
    mm_picture_network network;
    char *path;                /* of the video */
    char *prompt;              /* whose feature is `text` */
    float *text, *last;        /* [projection_dim]: of the prompt, of the frame before */
    int64_t frames;            /* so far */
    double text_sum, pair_sum; /* of cosines */
} clip_scores;

static double cosine(const float *a, const float *b, int64_t count)
{
    double product = 0.0, aa = 0.0, bb = 0.0;
    for (int64_t i = 0; i < count; i++) {
        product += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return product / (fmax(sqrt(aa), LEAST_NORM) * fmax(sqrt(bb), LEAST_NORM));
}

static mm_status build_images(void *user, mm_picture_graph *g, int64_t pictures, mm_error *error)
{
    clip_scores *s = user;
    mm_builder b = {.graph = g->graph, .weights = &s->model.weights, .frames = 1, .path = ""};
    (void)pictures, (void)error;
    g->output = mm_clip_image_features(&b, &s->config, g->patches, g->zeros);
    return MM_OK;
}

static mm_status take_features(void *user, const float *features, int64_t count, mm_error *error)
{
    clip_scores *s = user;
    int64_t size = s->config.projection_dim;
    (void)error;
    for (int64_t i = 0; i < count; i++) {
        const float *feature = features + i * size;
        s->text_sum += cosine(s->text, feature, size);
        if (s->frames++ > 0)
            s->pair_sum += cosine(s->last, feature, size);
        memcpy(s->last, feature, (size_t)size * sizeof(*feature));
    }
    return MM_OK;
}

static void free_metric(mm_metric *metric)
{
    clip_scores *s = (clip_scores *)metric;
    mm_picture_network_free(&s->network);
    mm_component_release(&s->model, metric->runtime->backend);
    mm_weight_set_free(&s->model.weights);
    mm_free(s->model.path);
    mm_tokenizer_close(&s->tokenizer);
    mm_free(s->path);
    mm_free(s->prompt);
    mm_free(s->text);
    mm_free(s->last);
    mm_free(s);
}

static size_t weight_bytes(const mm_metric *metric)
{
    const clip_scores *s = (const clip_scores *)metric;
    return mm_component_bytes(&s->model, metric->runtime->backend);
}

/* The text encoder compiled for a prompt of `count` tokens. */
typedef struct text_pass {
    mm_graph *graph;
    mm_node *ids, *feature;
    mm_executable *executable;
} text_pass;

static void free_text(text_pass *t)
{
    mm_executable_free(&t->executable);
    mm_graph_free(&t->graph);
}

static mm_status compile_text(text_pass *t, clip_scores *s, int64_t count, mm_error *error)
{
    *t = (text_pass){0};
    MM_TRY(mm_graph_create(&t->graph, MM_F32, error));
    mm_builder b = {.graph = t->graph, .weights = &s->model.weights, .frames = 1, .path = ""};
    t->ids = mm_input(t->graph, "token ids", MM_I64, &MM_SHAPE(1, count));
    t->feature = mm_clip_text_features(&b, &s->config, t->ids);
    mm_status status = mm_graph_status(t->graph, error);
    if (status == MM_OK)
        status = mm_executable_create(&t->executable, t->graph, &t->feature, 1,
                                      s->metric.runtime->backend, &(mm_compile_options){0}, error);
    if (status != MM_OK)
        free_text(t);
    return status;
}

static int64_t most_tokens(const clip_scores *s)
{
    return s->config.text.positions < MOST_TOKENS ? s->config.text.positions : MOST_TOKENS;
}

static mm_status plan(mm_metric *metric, size_t budget, size_t *bytes, mm_error *error)
{
    clip_scores *s = (clip_scores *)metric;
    mm_plan_summary summary;
    text_pass text;
    MM_TRY(compile_text(&text, s, most_tokens(s), error));
    mm_executable_summary(text.executable, &summary);
    free_text(&text);
    size_t left = budget > summary.arena_bytes ? budget - summary.arena_bytes : 1;
    mm_status status = mm_picture_network_plan(&s->network, left, bytes, error);
    *bytes += summary.arena_bytes;
    return status == MM_OK ? MM_OK : mm_error_prefix(error, "CLIP");
}

static mm_status load(mm_metric *metric, mm_error *error)
{
    return mm_metric_load(metric, &((clip_scores *)metric)->model, error);
}

static mm_status run_text(clip_scores *s, const int64_t *ids, int64_t count, mm_error *error)
{
    text_pass text;
    mm_run_control control = {.cancel = s->metric.runtime->cancel};
    MM_TRY(compile_text(&text, s, count, error));
    mm_status status =
        mm_executable_write(text.executable, text.ids, ids, (size_t)count * sizeof(*ids), error);
    if (status == MM_OK)
        status = mm_executable_run(text.executable, &control, error);
    if (status == MM_OK)
        status = mm_executable_read(text.executable, text.feature, s->text,
                                    (size_t)s->config.projection_dim * sizeof(float), error);
    free_text(&text);
    return status;
}

/* No token sees those behind it, so the text ends with the token that stands for it. */
static mm_status encode_prompt(clip_scores *s, const char *prompt, mm_error *error)
{
    int64_t ids[MOST_TOKENS], count = most_tokens(s);
    size_t truncated = 0;
    MM_TRY(mm_tokenizer_encode(s->tokenizer, prompt, (size_t)count, ids, &truncated, error));
    if (truncated)
        mm_log(s->metric.runtime->logger, MM_LOG_NOTICE,
               "the prompt is too long for CLIP: its last %zu tokens were left out (%lld are used)",
               truncated, (long long)count);
    return run_text(s, ids, mm_clip_pooled_position(&s->config, ids, count) + 1, error);
}

static mm_status begin(mm_metric *metric, const mm_metric_video *video, mm_error *error)
{
    clip_scores *s = (clip_scores *)metric;
    s->frames = 0;
    s->text_sum = s->pair_sum = 0.0;
    mm_picture_network_reset(&s->network, false);
    MM_TRY(mm_metric_keep_text(&s->path, video->path, error));
    if (mm_metric_has_text(&s->prompt, video->prompt))
        return MM_OK;
    MM_TRY(encode_prompt(s, video->prompt, error));
    return mm_metric_keep_text(&s->prompt, video->prompt, error);
}

static mm_status add_frame(mm_metric *metric, const mm_picture *frame, mm_error *error)
{
    return mm_picture_network_add(&((clip_scores *)metric)->network, frame, error);
}

static mm_status finish(mm_metric *metric, double *values, mm_error *error)
{
    clip_scores *s = (clip_scores *)metric;
    MM_TRY(mm_picture_network_flush(&s->network, error));
    values[0] = s->text_sum / (double)s->frames;
    values[1] = s->pair_sum / (double)(s->frames - 1);
    for (size_t i = 0; i < (s->frames > 1 ? 2 : 1); i++)
        MM_TRY(mm_metric_check_finite(metric, s->path, i, values[i], error));
    if (s->frames == 1)
        mm_log(metric->runtime->logger, MM_LOG_NOTICE,
               "%s: frame_consistency is undefined for a video of one frame", s->path);
    return MM_OK;
}

static const mm_metric_table table = {
    .name = "CLIP",
    .figure_count = 2,
    .figure = {"clip_text", "frame_consistency"},
    .needs_prompt = true,
    .free = free_metric,
    .weight_bytes = weight_bytes,
    .plan = plan,
    .load = load,
    .begin = begin,
    .add_frame = add_frame,
    .finish = finish,
};

static mm_status load_config(clip_scores *s, const char *directory, mm_error *error)
{
    char *path = mm_path_join(directory, "config.json");
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_status status =
        mm_path_is_file(path)
            ? mm_clip_config_load(&s->config, path, error)
            : mm_fail(error, MM_ERR_INPUT,
                      "%s: there is no config.json; a directory with a CLIPModel is expected",
                      directory);
    mm_free(path);
    return status;
}

static mm_status check_weights(clip_scores *s, const char *directory, mm_error *error)
{
    mm_tensor_file *file = NULL;
    MM_TRY(mm_clip_declare(&s->config, &s->model.weights, error));
    MM_TRY(mm_component_find(&s->model.path, directory, "model", error));
    MM_TRY(mm_tensor_file_open(&file, s->model.path, error));
    mm_status status = mm_weights_check(&s->model.weights, file, s->metric.runtime->logger, error);
    mm_tensor_file_close(&file);
    return status;
}

static mm_status check_tokenizer(const clip_scores *s, const char *directory, mm_error *error)
{
    int64_t ids = mm_tokenizer_vocabulary(s->tokenizer), rows = s->config.text.vocabulary;
    if (ids <= rows)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: the tokenizer has ids up to %lld, the text encoder's table %lld rows",
                   directory, (long long)ids - 1, (long long)rows);
}

static mm_status open_parts(clip_scores *s, const char *directory, mm_error *error)
{
    if (!mm_path_is_directory(directory))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: no such directory; one with a CLIPModel is expected", directory);
    MM_TRY(load_config(s, directory, error));
    MM_TRY(check_weights(s, directory, error));
    MM_TRY(mm_tokenizer_open(&s->tokenizer, directory, error));
    MM_TRY(check_tokenizer(s, directory, error));
    size_t bytes = (size_t)s->config.projection_dim * sizeof(float);
    s->text = mm_malloc(bytes);
    s->last = mm_malloc(bytes);
    if (!s->text || !s->last)
        return mm_fail_memory(error, "features", 2 * bytes);
    return mm_clip_images_read(directory, &s->config.vision, &s->network, error);
}

mm_status mm_clip_scores_open(mm_metric **out, const char *directory, const mm_runtime *runtime,
                              mm_error *error)
{
    clip_scores *s = mm_calloc(1, sizeof(*s));
    if (!s)
        return mm_fail_memory(error, "a metric", sizeof(*s));
    s->metric = (mm_metric){&table, runtime};
    mm_weight_set_init(&s->model.weights, MM_F32);
    s->network = (mm_picture_network){
        .runtime = runtime, .build = build_images, .take = take_features, .user = s};
    mm_status status = open_parts(s, directory, error);
    s->network.patch_size = s->config.vision.patch_size;
    s->network.outputs = s->config.projection_dim;
    if (status != MM_OK) {
        free_metric(&s->metric);
        return status;
    }
    *out = &s->metric;
    return MM_OK;
}

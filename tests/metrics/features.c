/* SPDX-License-Identifier: BSD-2-Clause */
/* Features of texts and frames against PyTorch, whatever number of frames is computed together. */
#include "check.h"

#include "backends/cpu/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "media/media.h"
#include "metrics/clip_images.h"
#include "models/clip.h"
#include "models/weight_loader.h"
#include "text/tokenizer.h"

#define TOLERANCE 1e-5
#define MOST_FLOATS 1024

static mm_error error;
static mm_backend *backend;
static mm_json_document expected;

#define DONE(call)                      \
    do {                                \
        if ((call) != MM_OK)            \
            fail_msg("%s", error.text); \
    } while (0)

static int open_all(void **state)
{
    (void)state;
    if (mm_cpu_backend_create(&backend, 2, NULL, &error) != MM_OK)
        return -1;
    return mm_json_load(&expected, FIXTURES "/expected.json", &error);
}

static int close_all(void **state)
{
    (void)state;
    mm_json_free(&expected);
    backend->table->free(backend);
    return 0;
}

/* A model with its weights, and the features that were taken. */
typedef struct clip {
    mm_clip_config config;
    mm_component model;
    mm_runtime runtime;
    mm_picture_network network;
    float features[MOST_FLOATS];
    int64_t frames;
} clip;

static mm_status build(void *user, mm_picture_graph *g, int64_t pictures, mm_error *problem)
{
    clip *c = user;
    mm_builder b = {.graph = g->graph, .weights = &c->model.weights, .frames = 1, .path = ""};
    (void)pictures, (void)problem;
    g->output = mm_clip_image_features(&b, &c->config, g->patches, g->zeros);
    return MM_OK;
}

static mm_status take(void *user, const float *values, int64_t count, mm_error *problem)
{
    clip *c = user;
    int64_t size = c->config.projection_dim;
    (void)problem;
    assert_true((c->frames + count) * size <= MOST_FLOATS);
    memcpy(c->features + c->frames * size, values, (size_t)(count * size) * sizeof(float));
    c->frames += count;
    return MM_OK;
}

static void open_clip(clip *c, const char *name)
{
    char *directory = mm_format("%s/%s", FIXTURES, name);
    char *config = mm_path_join(directory, "config.json");
    *c = (clip){.runtime = {.backend = backend}};
    DONE(mm_clip_config_load(&c->config, config, &error));
    mm_weight_set_init(&c->model.weights, MM_F32);
    DONE(mm_clip_declare(&c->config, &c->model.weights, &error));
    DONE(mm_component_find(&c->model.path, directory, "model", &error));
    DONE(mm_component_load(&c->model, &c->runtime, &error));
    c->network = (mm_picture_network){.runtime = &c->runtime,
                                      .build = build,
                                      .take = take,
                                      .user = c,
                                      .patch_size = c->config.vision.patch_size,
                                      .outputs = c->config.projection_dim};
    DONE(mm_clip_images_read(directory, &c->config.vision, &c->network, &error));
    mm_free(config);
    mm_free(directory);
}

static void close_clip(clip *c)
{
    mm_picture_network_free(&c->network);
    mm_component_release(&c->model, backend);
    mm_weight_set_free(&c->model.weights);
    mm_free(c->model.path);
}

static const mm_json *expectation(const char *model)
{
    return mm_json_member(mm_json_member(expected.root, model), "moving");
}

static double difference(const mm_json *list, const float *have, size_t count)
{
    float want[MOST_FLOATS];
    assert_int_equal(mm_json_count(list), count);
    for (size_t i = 0; i < count; i++) {
        double value = NAN;
        assert_true(mm_json_number(mm_json_item(list, i), &value));
        want[i] = (float)value;
    }
    return check_difference(have, want, count);
}

static mm_status push(void *user, const uint8_t *rgb, int32_t width, int32_t height,
                      mm_error *problem)
{
    mm_picture picture = {rgb, width, height};
    return mm_picture_network_add(user, &picture, problem);
}

static void compute(clip *c)
{
    int64_t count = 0;
    c->frames = 0;
    mm_decode_request request = {.frame_step = 1};
    DONE(mm_media_decode_each(FIXTURES "/moving.mkv", &request, NULL, push, &c->network, &count,
                              &error));
    DONE(mm_picture_network_flush(&c->network, &error));
    assert_int_equal(count, 6);
    assert_int_equal(c->frames, 6);
}

static void check_images(clip *c, const char *model)
{
    const mm_json *images = mm_json_member(expectation(model), "images");
    size_t size = (size_t)c->config.projection_dim;
    compute(c);
    for (size_t i = 0; i < 6; i++)
        assert_true(difference(mm_json_item(images, i), c->features + i * size, size) < TOLERANCE);
}

static void test_images(void **state)
{
    (void)state;
    static const char *const models[] = {"clip", "clip-old"};
    for (int i = 0; i < 2; i++) {
        clip c;
        size_t bytes;
        open_clip(&c, models[i]);
        DONE(mm_picture_network_plan(&c.network, SIZE_MAX, &bytes, &error));
        assert_int_equal(c.network.most, 16);
        check_images(&c, models[i]);
        close_clip(&c);
    }
}

/* Less memory means fewer frames at a time, the last time fewer than that, and the same numbers. */
static void test_fewer_frames_at_a_time(void **state)
{
    (void)state;
    clip c;
    size_t all, some, one;
    open_clip(&c, "clip");
    DONE(mm_picture_network_plan(&c.network, SIZE_MAX, &all, &error));
    DONE(mm_picture_network_plan(&c.network, all / 2, &some, &error));
    assert_true(some <= all / 2 && c.network.most >= 4);
    c.network.most = 4;
    check_images(&c, "clip");
    for (one = some; c.network.most > 1;)
        DONE(mm_picture_network_plan(&c.network, one - 1, &one, &error));
    check_images(&c, "clip");
    assert_int_equal(mm_picture_network_plan(&c.network, one - 1, &one, &error), MM_ERR_MEMORY);
    assert_non_null(strstr(error.text, "one frame needs"));
    close_clip(&c);
}

static void check_text(const char *model)
{
    clip c;
    mm_graph *graph;
    mm_executable *executable;
    mm_tokenizer *tokenizer;
    int64_t ids[77];
    float feature[MOST_FLOATS];
    open_clip(&c, model);
    DONE(mm_tokenizer_open(&tokenizer, FIXTURES "/clip", &error));
    const char *prompt = mm_json_text(mm_json_member(expected.root, "prompt"));
    DONE(mm_tokenizer_encode(tokenizer, prompt, 77, ids, NULL, &error));
    int64_t count = mm_clip_pooled_position(&c.config, ids, 77) + 1;
    assert_true(count > 3 && count < 77);
    DONE(mm_graph_create(&graph, MM_F32, &error));
    mm_builder b = {.graph = graph, .weights = &c.model.weights, .frames = 1, .path = ""};
    mm_node *input = mm_input(graph, "ids", MM_I64, &MM_SHAPE(1, count));
    mm_node *output = mm_clip_text_features(&b, &c.config, input);
    DONE(mm_executable_create(&executable, graph, &output, 1, backend, &(mm_compile_options){0},
                              &error));
    DONE(mm_executable_write(executable, input, ids, (size_t)count * sizeof(*ids), &error));
    DONE(mm_executable_run(executable, NULL, &error));
    DONE(mm_executable_read(executable, output, feature, mm_node_bytes(output), &error));
    assert_true(difference(mm_json_member(expectation(model), "text"), feature,
                           (size_t)c.config.projection_dim) < TOLERANCE);
    mm_executable_free(&executable);
    mm_graph_free(&graph);
    mm_tokenizer_close(&tokenizer);
    close_clip(&c);
}

static void test_texts(void **state)
{
    (void)state;
    check_text("clip");
    check_text("clip-old");
}

static void test_pooled_position(void **state)
{
    (void)state;
    static const int64_t ids[] = {8, 3, 7, 9, 5, 9, 7};
    mm_clip_config newer = {.end_token = 7}, older = {.end_token = 2}, absent = {.end_token = 4};
    assert_int_equal(mm_clip_pooled_position(&newer, ids, 7), 2);
    assert_int_equal(mm_clip_pooled_position(&older, ids, 7), 3);
    assert_int_equal(mm_clip_pooled_position(&absent, ids, 7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_fewer_frames_at_a_time),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_pooled_position),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Config files: the released code's YAML, JSON, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/options_internal.h"
#include "base/memory.h"
#include "config.h"

typedef struct both {
    mm_options *train, *context;
} both;

static int make_options(void **state)
{
    static both options;
    *state = &options;
    return mm_options_create(&options.train, "train") != MM_OK ||
           mm_options_create(&options.context, "context") != MM_OK;
}

static int free_options(void **state)
{
    both *options = *state;
    mm_options_free(&options->train);
    mm_options_free(&options->context);
    return 0;
}

static void assert_value(mm_options *options, const char *key, const char *wanted)
{
    const char *text = NULL;
    assert_int_equal(mm_options_get(options, key, 0, &text), MM_OK);
    assert_non_null(text);
    assert_string_equal(text, wanted);
}

static mm_status load_bytes(both *options, const char *ending, const char *text, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof(path), "/tmp/mm-config-XXXXXX%s", ending);
    int descriptor = mkstemps(path, (int)strlen(ending));
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, bytes), bytes);
    close(descriptor);
    mm_status status = mm_options_load(options->train, options->context, path);
    unlink(path);
    return status;
}

static mm_status load(both *options, const char *ending, const char *text)
{
    return load_bytes(options, ending, text, strlen(text));
}

static void assert_refused(both *options, const char *ending, const char *text, mm_status status,
                           const char *part)
{
    mm_status got = load(options, ending, text);
    if (got != status || !strstr(mm_last_error(), part))
        fail_msg("%s: status %d, '%s'; wanted %d, '%s'", text, got, mm_last_error(), status, part);
}

#if MM_HAVE_YAML
static size_t count_lines_with(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *found = strstr(line, part), *end = strchr(line, '\n');
        count += found && (!end || found < end);
    }
    return count;
}

static void test_reference_yaml(void **state)
{
    both *options = *state;
    static const char *const expected[][2] = {
        {"model", "models/small/"},
        {"output_dir", "./runs/boat"},
        {"lora_dropout", "0.25"},
        {"rank", "7"},
        {"width", "192"},
        {"height", "128"},
        {"start_frame", "3"},
        {"frame_step", "2"},
        {"num_frames", "9"},
        {"video", "clips/boat.mp4"},
        {"prompt", "A boat: red, on #1 lake."},
        {"validation_num_frames", "8"},
        {"validation_width", "96"},
        {"validation_height", "64"},
        {"validation_num_steps", "11"},
        {"validation_guidance_scale", "7.5"},
        {"noise_prior", "0.2"},
        {"num_denoise_steps", "2"},
        {"spatial_scale_factor", "2"},
        {"temporal_scale_factor", "1"},
        {"min_timestep", "450"},
        {"learning_rate", "0.0002"},
        {"weight_decay", "0.03"},
        {"steps", "120"},
        {"checkpoint_every", "30"},
        {"validation_every", "40"},
        {"validation_prompt", "A duck on a lake."},
    };
    assert_int_equal(
        mm_options_load(options->train, options->context, FIXTURES "/run-configs/reference.yaml"),
        MM_OK);
    for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
        assert_value(options->train, expected[i][0], expected[i][1]);
    const mm_train_config *config = mm_options_train(options->train);
    assert_int_equal(config->validation_prompt.count, 2);
    assert_string_equal(config->validation_prompt.item[1], "Zwei Schw\xc3\xa4ne, it's dusk.");
    assert_true(config->spatial_weight == 8000 && config->temporal_weight == 800);
    assert_value(options->context, "precision", "auto");
    const char *notices = mm_options_notices(options->train);
    assert_int_equal(count_lines_with(notices, "enable_torch_2_attn"), 1);
    assert_int_equal(count_lines_with(notices, "gradient_checkpointing"), 1);
    assert_int_equal(count_lines_with(notices, "train_data.fps"), 1);
    assert_int_equal(count_lines_with(notices, "lora_scale"), 0);
}

static void test_further_keys(void **state)
{
    both *options = *state;
    assert_int_equal(
        mm_options_load(options->train, options->context, FIXTURES "/run-configs/all-keys.yaml"),
        MM_OK);
    assert_value(options->train, "adam_beta1", "0.8");
    assert_value(options->train, "max_gradient_norm", "1.5");
    assert_value(options->train, "gradient_accumulation", "2");
    assert_value(options->train, "warmup_steps", "6");
    assert_value(options->train, "seed", "64");
    assert_value(options->train, "validation_every", "0");
    assert_value(options->train, "validation_prompt", "just one");
}

static void test_loading_again_replaces_lists(void **state)
{
    both *options = *state;
    assert_int_equal(load(options, ".yaml", "validation_data: {prompt: [a, b]}"), MM_OK);
    assert_int_equal(load(options, ".yaml", "validation_data: {prompt: [c, d, e]}"), MM_OK);
    assert_int_equal(mm_options_train(options->train)->validation_prompt.count, 3);
    assert_value(options->train, "validation_prompt", "c");
}

static void test_file_yields_to_command_line(void **state)
{
    both *options = *state;
    mm_options_set(options->train, "rank", "3", MM_SOURCE_COMMAND_LINE);
    assert_int_equal(load(options, ".yaml", "lora_rank: 9\nmax_train_steps: 4\nthreads: 2\n"),
                     MM_OK);
    assert_value(options->train, "rank", "3");
    assert_value(options->train, "steps", "4");
    assert_value(options->context, "threads", "2");
}

static void test_warmup_needs_its_scheduler(void **state)
{
    both *options = *state;
    assert_int_equal(load(options, ".yaml", "lr_warmup_steps: 5\n"), MM_OK);
    assert_value(options->train, "warmup_steps", "0");
    assert_non_null(strstr(mm_options_notices(options->train), "lr_warmup_steps"));
}
#endif

static void test_json(void **state)
{
    both *options = *state;
    assert_int_equal(load(options, ".json",
                          "{\"width\": 64, \"train_data\": {\"height\": 32}, \"model\": null,"
                          "\"learning-rate\": 1.5e-3, \"validation_prompt\": [\"a\", \"b\"],"
                          "\"precision\": \"f32\", \"seed\": 9007199254740991}"),
                     MM_OK);
    assert_value(options->train, "width", "64");
    assert_value(options->train, "height", "32");
    assert_value(options->train, "learning_rate", "0.0015");
    assert_value(options->train, "seed", "9007199254740991");
    assert_value(options->context, "precision", "f32");
    assert_int_equal(mm_options_train(options->train)->validation_prompt.count, 2);
}

static void test_bad_json(void **state)
{
    both *options = *state;
    assert_refused(options, ".json", "", MM_ERR_INPUT, "JSON");
    assert_refused(options, ".json", "[]", MM_ERR_INPUT, "object");
    assert_refused(options, ".json", "{\"width\": 64,}", MM_ERR_INPUT, "JSON");
    assert_refused(options, ".json", "{\"width\": 64, \"width\": 32}", MM_ERR_INPUT, "twice");
    assert_refused(options, ".json",
                   "{\"width\": 64, \"train-data.width\": 1, "
                   "\"train_data\": {\"width\": 2}}",
                   MM_ERR_INPUT, "twice");
    assert_refused(options, ".json", "{\"widht\": 64}", MM_ERR_USAGE, "'width'");
    assert_refused(options, ".json", "{\"width\": [64]}", MM_ERR_USAGE, "not a list");
    assert_refused(options, ".json", "{\"width\": {\"a\": 1}}", MM_ERR_USAGE, "section");
    assert_refused(options, ".json", "{\"width\": 7}", MM_ERR_USAGE, "outside");
    assert_refused(options, ".json", "{\"validation_prompt\": [true]}", MM_ERR_USAGE, "texts");
    assert_refused(options, ".json", "{\"use_offset_noise\": true}", MM_ERR_UNSUPPORTED, "offset");
}

#if MM_HAVE_YAML
static void test_json_round_trip(void **state)
{
    both *options = *state;
    char *first = NULL, *second = NULL;
    assert_int_equal(
        mm_options_load(options->train, options->context, FIXTURES "/run-configs/reference.yaml"),
        MM_OK);
    assert_int_equal(mm_options_to_json(options->train, &first), MM_OK);
    free_options(state);
    make_options(state);
    assert_int_equal(load(options, "", first), MM_OK);
    assert_int_equal(mm_options_to_json(options->train, &second), MM_OK);
    assert_string_equal(first, second);
    mm_string_free(first);
    mm_string_free(second);
}

static void test_bad_yaml(void **state)
{
    both *options = *state;
    assert_refused(options, ".yaml", "a: [", MM_ERR_INPUT, ":2: no valid YAML");
    assert_refused(options, ".yaml", "- 1\n", MM_ERR_INPUT, "mapping");
    assert_refused(options, ".yaml", "seed: &x 1\n", MM_ERR_INPUT, ":1: YAML anchors");
    assert_refused(options, ".yaml", "seed: *x\n", MM_ERR_INPUT, "aliases");
    assert_refused(options, ".yaml", "seed: !!int 1\n", MM_ERR_INPUT, "tags");
    assert_refused(options, ".yaml", "seed: 1\n---\nseed: 2\n", MM_ERR_INPUT, "single");
    assert_refused(options, ".yaml", "seed: 1\nrank: 2\nseed: 2\n", MM_ERR_INPUT, ":3: the key");
    assert_refused(options, ".yaml", "? [a]\n: 1\n", MM_ERR_INPUT, "key must be");
    assert_refused(options, ".yaml", "prompt: \"a\\0b\"\n", MM_ERR_INPUT, "NUL");
    assert_refused(options, ".yaml", "prompt: \xff\n", MM_ERR_INPUT, "UTF-8");
    assert_refused(options, ".yaml", "a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n", MM_ERR_INPUT,
                   "deep");
    assert_refused(options, ".yaml", "train_data:\n  single_video_prompt: [a, b]\n", MM_ERR_USAGE,
                   ":2: 'train_data.single_video_prompt' takes one value");
    assert_refused(options, ".yaml", "train_data:\n  single_video_pronpt: a\n", MM_ERR_USAGE,
                   "did you mean 'train_data.single_video_prompt'");
    assert_refused(options, ".yaml", "trian_data:\n  width: 8\n", MM_ERR_USAGE, "'train_data'");
    assert_refused(options, ".yaml", "train_data: 8\n", MM_ERR_USAGE, "section");
    assert_refused(options, ".yaml", "max_train_steps: many\n", MM_ERR_USAGE, ":1: option steps");
    assert_refused(options, ".yaml", "validation_data: {prompt: [a, null]}", MM_ERR_USAGE, "list");
    assert_refused(options, ".yaml", "validation_data: {prompt: [[a]]}", MM_ERR_USAGE, "list");
}

static void test_yaml_keys_that_would_change_the_result(void **state)
{
    both *options = *state;
    static const char *const texts[] = {
        "use_offset_noise: True",
        "rescale_schedule: True",
        "train_text_encoder: True",
        "use_8bit_adam: True",
        "save_pretrained_model: True",
        "use_unet_lora: False",
        "train_batch_size: 2",
        "lr_scheduler: cosine",
        "cached_latent_dir: some/where",
        "trainable_modules: ['attn1.to_out']",
        "extra_train_params: [a]",
        "dataset_types: ['image']",
        "dataset_types: [single_video, image]",
        "train_data: {use_bucketing: True}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_refused(options, ".yaml", texts[i], MM_ERR_UNSUPPORTED, ":1: ");
}

static void test_large_yaml(void **state)
{
    both *options = *state;
    size_t bytes = 5u << 20;
    char *text = malloc(bytes);
    assert_non_null(text);
    memset(text, '[', bytes);
    assert_int_equal(load_bytes(options, ".yaml", text, bytes), MM_ERR_INPUT);
    assert_int_equal(load_bytes(options, ".yaml", text, 3u << 20), MM_ERR_INPUT);
    for (size_t i = 0; i + 12 < 1u << 20; i += 12)
        snprintf(text + i, 13, "k%09zu:\n", i);
    assert_int_equal(load_bytes(options, ".yaml", text, strlen(text)), MM_ERR_INPUT);
    free(text);
}
#endif

static void test_unreadable(void **state)
{
    both *options = *state;
    assert_int_equal(mm_options_load(options->train, NULL, "/nonexistent.yaml"), MM_ERR_INPUT);
    assert_non_null(strstr(mm_last_error(), "/nonexistent.yaml"));
    assert_int_equal(mm_options_load(options->train, NULL, "/tmp"), MM_ERR_INPUT);
    assert_int_equal(mm_options_load(options->train, NULL, NULL), MM_ERR_USAGE);
}

#if MM_HAVE_YAML
static void test_failing_memory(void **state)
{
    both *options = *state;
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK && n < 5000; n++) {
        free_options(state);
        make_options(state);
        mm_memory_fail_after(n, false);
        status = mm_options_load(options->train, options->context,
                                 FIXTURES "/run-configs/reference.yaml");
        mm_memory_fail_after(0, false);
        if (status != MM_OK)
            assert_int_equal(status, MM_ERR_MEMORY);
    }
    assert_int_equal(status, MM_OK);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_options, free_options)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_json),
        TEST(test_bad_json),
        TEST(test_unreadable),
#if MM_HAVE_YAML
        TEST(test_reference_yaml),
        TEST(test_further_keys),
        TEST(test_loading_again_replaces_lists),
        TEST(test_file_yields_to_command_line),
        TEST(test_warmup_needs_its_scheduler),
        TEST(test_json_round_trip),
        TEST(test_bad_yaml),
        TEST(test_yaml_keys_that_would_change_the_result),
        TEST(test_large_yaml),
        TEST(test_failing_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Scores of whole videos against PyTorch, and what an evaluation makes of bad input. */
#include "check.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "motionmatcher/evaluator.h"

#define TOLERANCE 1e-5
#define CLIP FIXTURES "/clip"
#define REWARD FIXTURES "/image-reward"
#define MOVING FIXTURES "/moving.mkv"
#define STILL FIXTURES "/still.png"

static mm_error error;
static mm_json_document expected;
static mm_context *context;
static char notices[4096]; /* of the context, one after the other */

static void keep_notice(void *user, int32_t level, const char *message)
{
    (void)user, (void)level;
    size_t length = strlen(notices);
    snprintf(notices + length, sizeof(notices) - length, "%s\n", message);
}

static int open_all(void **state)
{
    (void)state;
    if (mm_json_load(&expected, FIXTURES "/expected.json", &error) != MM_OK ||
        mm_context_create(&context, NULL) != MM_OK)
        return -1;
    mm_context_set_log(context, keep_notice, NULL);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    mm_json_free(&expected);
    mm_context_free(&context);
    return 0;
}

/* What came out of a run, in order; the means are the last. */
typedef struct outcome {
    size_t count;
    struct {
        mm_status status;
        char path[256], message[512];
        double value[4];
        int64_t frames;
        size_t figures;
    } score[8];
} outcome;

static int32_t keep_score(void *user, const mm_score *score)
{
    outcome *o = user;
    assert_true(o->count < 8);
    assert_true(score->struct_size >= sizeof(mm_score));
    o->score[o->count].status = score->status;
    o->score[o->count].frames = score->frames;
    o->score[o->count].figures = score->figure_count;
    snprintf(o->score[o->count].path, 256, "%s", score->path ? score->path : "");
    snprintf(o->score[o->count].message, 512, "%s", score->message ? score->message : "");
    for (size_t i = 0; i < score->figure_count; i++)
        o->score[o->count].value[i] = score->values[i];
    o->count++;
    return 0;
}

static const char *prompt(void)
{
    return mm_json_text(mm_json_member(expected.root, "prompt"));
}

static double number(const char *model, const char *video, const char *figure)
{
    double value = NAN;
    const mm_json *section = mm_json_member(mm_json_member(expected.root, model), video);
    assert_true(mm_json_number(figure ? mm_json_member(section, figure) : section, &value));
    return value;
}

static void assert_close(double have, double want)
{
    if (!(fabs(have - want) <= TOLERANCE * fabs(want)))
        fail_msg("%.9g instead of %.9g", have, want);
}

static mm_evaluator *open_evaluator(const char *clip, const char *reward)
{
    mm_options *options = check_options("evaluate", "vision_heads", "4", NULL);
    mm_evaluator *evaluator = NULL;
    if (clip)
        OK(mm_options_set(options, "clip_model", clip, MM_SOURCE_SET));
    if (reward)
        OK(mm_options_set(options, "image_reward_model", reward, MM_SOURCE_SET));
    OK(mm_evaluator_create(&evaluator, context, options));
    mm_options_free(&options);
    notices[0] = '\0';
    return evaluator;
}

static void test_clip_scores(void **state)
{
    (void)state;
    static const char *const models[] = {"clip", "clip-old"};
    for (int i = 0; i < 2; i++) {
        char *directory = mm_path_join(FIXTURES, models[i]);
        mm_evaluator *e = open_evaluator(directory, NULL);
        outcome o = {0};
        size_t count;
        assert_string_equal(mm_evaluator_figures(e, &count)[1], "frame_consistency");
        assert_int_equal(count, 2);
        OK(mm_evaluator_add(e, MOVING, prompt()));
        OK(mm_evaluator_run(e, keep_score, &o));
        assert_int_equal(o.count, 2);
        assert_int_equal(o.score[0].frames, 6);
        assert_close(o.score[0].value[0], number(models[i], "moving", "clip_text"));
        assert_close(o.score[0].value[1], number(models[i], "moving", "frame_consistency"));
        assert_string_equal(o.score[1].path, "");
        assert_true(o.score[1].value[0] == o.score[0].value[0]);
        mm_evaluator_free(&e);
        assert_null(e);
        mm_free(directory);
    }
}

static void test_one_frame_has_no_consistency(void **state)
{
    (void)state;
    mm_evaluator *e = open_evaluator(CLIP, NULL);
    outcome o = {0};
    OK(mm_evaluator_add(e, STILL, prompt()));
    OK(mm_evaluator_add(e, MOVING, prompt()));
    OK(mm_evaluator_run(e, keep_score, &o));
    assert_int_equal(o.count, 3);
    assert_close(o.score[0].value[0], number("clip", "still", "clip_text"));
    assert_true(isnan(o.score[0].value[1]));
    assert_non_null(strstr(notices, "frame_consistency is undefined"));
    assert_close(o.score[2].value[0], (o.score[0].value[0] + o.score[1].value[0]) / 2);
    assert_true(o.score[2].value[1] == o.score[1].value[1]);
    mm_evaluator_free(&e);
}

static char *repeated(const char *word, int count)
{
    char *text = calloc(1, strlen(word) * (size_t)count + 1);
    for (int i = 0; i < count; i++)
        strcat(text, word);
    return text;
}

static void test_long_prompts_are_cut(void **state)
{
    (void)state;
    mm_evaluator *e = open_evaluator(CLIP, REWARD);
    outcome o = {0};
    char *text = repeated("snow ", 200);
    OK(mm_evaluator_add(e, MOVING, text));
    OK(mm_evaluator_run(e, keep_score, &o));
    assert_close(o.score[0].value[0], number("clip", "long", NULL));
    assert_close(o.score[0].value[2], number("image-reward", "long", "image_reward"));
    assert_non_null(strstr(notices, "too long for CLIP"));
    assert_non_null(strstr(notices, "too long for ImageReward"));
    mm_evaluator_free(&e);
    free(text);
}

/* Prompts of other lengths, one after the other, and the same once more. */
static void test_image_reward(void **state)
{
    (void)state;
    mm_evaluator *e = open_evaluator(NULL, REWARD);
    outcome o = {0};
    OK(mm_evaluator_add(e, MOVING, prompt()));
    OK(mm_evaluator_add(e, MOVING, ""));
    OK(mm_evaluator_add(e, MOVING, prompt()));
    assert_int_equal(mm_evaluator_video_count(e), 3);
    OK(mm_evaluator_run(e, keep_score, &o));
    assert_int_equal(o.count, 4);
    assert_close(o.score[0].value[0], number("image-reward", "moving", "image_reward"));
    assert_close(o.score[1].value[0], number("image-reward", "empty", "image_reward"));
    assert_true(o.score[2].value[0] == o.score[0].value[0]);
    assert_close(o.score[3].value[0], (2 * o.score[0].value[0] + o.score[1].value[0]) / 3);
    mm_evaluator_free(&e);
}

static void copy_file(const char *from, const char *directory, const char *name)
{
    char *content, *to = mm_path_join(directory, name);
    size_t bytes;
    assert_int_equal(mm_file_read_all(from, 1 << 20, &content, &bytes, &error), MM_OK);
    assert_int_equal(mm_output_file_write_all(to, content, bytes, &error), MM_OK);
    mm_free(content);
    mm_free(to);
}

static void write_text(const char *directory, const char *name, const char *text)
{
    char *path = mm_path_join(directory, name);
    assert_int_equal(mm_output_file_write_all(path, text, strlen(text), &error), MM_OK);
    mm_free(path);
}

/* A broken video among good ones is named, the others are scored in the order of their names. */
static void test_folder_with_a_broken_video(void **state)
{
    (void)state;
    char *folder = check_directory();
    copy_file(MOVING, folder, "c.mkv");
    copy_file(MOVING, folder, "a.mkv");
    write_text(folder, "b.mp4", "this is no video");
    write_text(folder, "a.json", "{\"prompt\": \"\"}");
    write_text(folder, "b.json", "{\"prompt\": \"snow\"}");
    write_text(folder, "c.json", "{\"prompt\": \"a dog\"}");
    write_text(folder, "notes.txt", "not a video either");
    mm_evaluator *e = open_evaluator(NULL, REWARD);
    outcome o = {0};
    OK(mm_evaluator_add(e, folder, NULL));
    assert_int_equal(mm_evaluator_video_count(e), 3);
    FAILS(mm_evaluator_run(e, keep_score, &o), MM_ERR_RUNTIME, "1 of 3 videos");
    assert_int_equal(o.count, 4);
    assert_non_null(strstr(o.score[0].path, "a.mkv"));
    assert_close(o.score[0].value[0], number("image-reward", "empty", "image_reward"));
    assert_int_equal(o.score[1].status, MM_ERR_INPUT);
    assert_non_null(strstr(o.score[1].message, "b.mp4"));
    assert_int_equal(o.score[1].figures, 0);
    assert_int_equal(o.score[2].status, MM_OK);
    assert_int_equal(o.score[3].frames, 2);
    FAILS(mm_evaluator_plan(e), MM_ERR_INPUT, "b.mp4");
    mm_evaluator_free(&e);
    check_remove(folder);
}

static void test_prompts_that_are_missing_or_bad(void **state)
{
    (void)state;
    char *folder = check_directory();
    mm_evaluator *e = open_evaluator(CLIP, NULL);
    copy_file(MOVING, folder, "a.mkv");
    FAILS(mm_evaluator_add(e, folder, NULL), MM_ERR_USAGE, "prompt");
    FAILS(mm_evaluator_add(e, MOVING, "\xff"), MM_ERR_USAGE, "UTF-8");
    write_text(folder, "a.json", "{\"prompt\": 3}");
    FAILS(mm_evaluator_add(e, folder, NULL), MM_ERR_INPUT, "prompt");
    assert_int_equal(mm_evaluator_video_count(e), 0);
    mm_evaluator_free(&e);
    check_remove(folder);
}

static void test_nothing_to_score(void **state)
{
    (void)state;
    char *folder = check_directory();
    mm_evaluator *e = open_evaluator(CLIP, NULL);
    FAILS(mm_evaluator_add(e, folder, "a"), MM_ERR_INPUT, "no videos in this folder");
    FAILS(mm_evaluator_run(e, NULL, NULL), MM_ERR_USAGE, "no videos");
    OK(mm_evaluator_add(e, "/nowhere/at/all.mp4", NULL));
    FAILS(mm_evaluator_run(e, NULL, NULL), MM_ERR_INPUT, "/nowhere/at/all.mp4");
    mm_evaluator_free(&e);
    check_remove(folder);
}

static void expect_refused(const char *key, const char *path, mm_status status, const char *part)
{
    mm_options *options = check_options("evaluate", key, path, NULL);
    mm_evaluator *e = NULL;
    FAILS(mm_evaluator_create(&e, context, options), status, part);
    assert_null(e);
    mm_options_free(&options);
}

static void test_wrong_models(void **state)
{
    (void)state;
    mm_options *options = check_options("evaluate", NULL);
    mm_evaluator *e = NULL;
    FAILS(mm_evaluator_create(&e, context, options), MM_ERR_USAGE, "name a model");
    mm_options_free(&options);
    expect_refused("clip_model", REWARD, MM_ERR_INPUT, "no config.json");
    expect_refused("image_reward_model", CLIP, MM_ERR_INPUT, "no ImageReward.pt");
    expect_refused("clip_model", MOVING, MM_ERR_INPUT, "no such directory");
    /* 32 channels are no heads of 64. */
    expect_refused("image_reward_model", REWARD, MM_ERR_INPUT, "vision_heads");
}

/* A copy of the model with one file changed: `text` in place of it, or gone where NULL. */
static char *changed_copy(const char *model, const char *const *files, const char *name,
                          const char *text)
{
    char *directory = check_directory();
    for (; *files; files++) {
        char *from = mm_path_join(model, *files);
        if (strcmp(*files, name) != 0)
            copy_file(from, directory, *files);
        else if (text)
            write_text(directory, name, text);
        mm_free(from);
    }
    return directory;
}

static const char *const clip_files[] = {"config.json", "model.safetensors",        "vocab.json",
                                         "merges.txt",  "preprocessor_config.json", NULL};
static const char *const reward_files[] = {"ImageReward.pt", "med_config.json", "vocab.txt", NULL};

static void expect_change_refused(const char *key, const char *name, const char *text,
                                  mm_status status, const char *part)
{
    bool clip = strcmp(key, "clip_model") == 0;
    char *directory =
        changed_copy(clip ? CLIP : REWARD, clip ? clip_files : reward_files, name, text);
    mm_options *options = check_options("evaluate", key, directory, "vision_heads", "4", NULL);
    mm_evaluator *e = NULL;
    FAILS(mm_evaluator_create(&e, context, options), status, part);
    mm_options_free(&options);
    check_remove(directory);
}

static void test_damaged_models(void **state)
{
    (void)state;
    static const char *const clip = "clip_model", *const reward = "image_reward_model";
    expect_change_refused(clip, "model.safetensors", NULL, MM_ERR_INPUT, "no weights");
    expect_change_refused(clip, "model.safetensors", "short", MM_ERR_INPUT, "model.safetensors");
    expect_change_refused(clip, "config.json", "{}", MM_ERR_INPUT, "the model's config makes it");
    expect_change_refused(clip, "config.json", "{\"model_type\": \"siglip\"}", MM_ERR_UNSUPPORTED,
                          "siglip");
    expect_change_refused(clip, "config.json", "{\"vision_config\": {\"patch_size\": 0}}",
                          MM_ERR_INPUT, "patch_size");
    expect_change_refused(clip, "config.json", "{\"vision_config\": {\"num_attention_heads\": 7}}",
                          MM_ERR_INPUT, "heads");
    expect_change_refused(clip, "vocab.json", NULL, MM_ERR_INPUT, "vocab.json");
    expect_change_refused(clip, "preprocessor_config.json", "{\"resample\": 2}", MM_ERR_UNSUPPORTED,
                          "resample");
    expect_change_refused(clip, "preprocessor_config.json", "{\"crop_size\": 32, \"size\": 32}",
                          MM_ERR_INPUT, "crop_size");
    expect_change_refused(clip, "preprocessor_config.json", "{\"image_std\": [1, 0, 1]}",
                          MM_ERR_INPUT, "image_std");
    expect_change_refused(reward, "med_config.json", NULL, MM_ERR_INPUT, "med_config.json");
    expect_change_refused(reward, "vocab.txt", NULL, MM_ERR_INPUT, "vocab.txt");
    expect_change_refused(reward, "med_config.json", "{}", MM_ERR_INPUT, "[");
    expect_change_refused(reward, "med_config.json", "{\"num_attention_heads\": 0}", MM_ERR_INPUT,
                          "num_attention_heads");
    expect_change_refused(reward, "ImageReward.pt", "junk", MM_ERR_INPUT, "ImageReward.pt");
}

/* The file's last number becomes a NaN. */
static void test_scores_that_are_not_finite(void **state)
{
    (void)state;
    char *directory = changed_copy(CLIP, clip_files, "", NULL);
    char *path = mm_path_join(directory, "model.safetensors");
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -2, SEEK_END), 0);
    assert_int_equal(fwrite("\x00\x7e", 1, 2, file), 2);
    assert_int_equal(fclose(file), 0);
    mm_evaluator *e = open_evaluator(directory, NULL);
    OK(mm_evaluator_add(e, MOVING, "a"));
    FAILS(mm_evaluator_run(e, NULL, NULL), MM_ERR_NONFINITE, "moving.mkv");
    mm_evaluator_free(&e);
    mm_free(path);
    check_remove(directory);
}

static void test_memory_budget(void **state)
{
    (void)state;
    mm_options *machine = check_options("context", "memory_budget", "1M", NULL);
    mm_options *options = check_options("evaluate", "clip_model", CLIP, NULL);
    mm_context *small = NULL;
    mm_evaluator *e = NULL;
    OK(mm_context_create(&small, machine));
    OK(mm_evaluator_create(&e, small, options));
    OK(mm_evaluator_add(e, MOVING, "a"));
    FAILS(mm_evaluator_plan(e), MM_ERR_MEMORY, "memory budget");
    FAILS(mm_evaluator_run(e, NULL, NULL), MM_ERR_MEMORY, "memory budget");
    mm_evaluator_free(&e);
    mm_context_free(&small);
    mm_options_free(&options);
    mm_options_free(&machine);
}

static int32_t stop_at_once(void *user, const mm_score *score)
{
    (void)user, (void)score;
    return 1;
}

static void test_stop(void **state)
{
    (void)state;
    mm_evaluator *e = open_evaluator(NULL, REWARD);
    OK(mm_evaluator_add(e, MOVING, "a"));
    OK(mm_evaluator_add(e, MOVING, "a"));
    FAILS(mm_evaluator_run(e, stop_at_once, NULL), MM_ERR_CANCELLED, "1 of 2");
    mm_context_resume(context);
    mm_context_cancel(context);
    FAILS(mm_evaluator_run(e, NULL, NULL), MM_ERR_CANCELLED, "0 of 2");
    mm_context_resume(context);
    OK(mm_evaluator_run(e, NULL, NULL));
    mm_evaluator_free(&e);
}

static mm_status evaluate_once(void)
{
    mm_options *options = NULL;
    mm_evaluator *e = NULL;
    mm_status status = mm_options_create(&options, "evaluate");
    if (status == MM_OK)
        status = mm_options_set(options, "clip_model", CLIP, MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_options_set(options, "image_reward_model", REWARD, MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_options_set(options, "vision_heads", "4", MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_evaluator_create(&e, context, options);
    if (status == MM_OK)
        status = mm_evaluator_add(e, STILL, "a dog");
    if (status == MM_OK)
        status = mm_evaluator_run(e, NULL, NULL);
    mm_evaluator_free(&e);
    mm_options_free(&options);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK; n += 1 + n / 40) {
        mm_memory_fail_after(n, false);
        status = evaluate_once();
        mm_memory_fail_after(0, false);
        if (status != MM_OK && (status != MM_ERR_MEMORY || !*mm_last_error()))
            fail_msg("allocation %llu: %s, \"%s\"", (unsigned long long)n, mm_status_name(status),
                     mm_last_error());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip_scores),
        cmocka_unit_test(test_one_frame_has_no_consistency),
        cmocka_unit_test(test_long_prompts_are_cut),
        cmocka_unit_test(test_image_reward),
        cmocka_unit_test(test_folder_with_a_broken_video),
        cmocka_unit_test(test_prompts_that_are_missing_or_bad),
        cmocka_unit_test(test_nothing_to_score),
        cmocka_unit_test(test_wrong_models),
        cmocka_unit_test(test_damaged_models),
        cmocka_unit_test(test_scores_that_are_not_finite),
        cmocka_unit_test(test_memory_budget),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

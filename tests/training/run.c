/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs from beginning to end through the public handles: resuming, checkpoints, LoRA files. */
#include "check.h"

#include <sys/stat.h>

#include "base/file.h"
#include "motionmatcher/lora.h"
#include "motionmatcher/trainer.h"

static mm_context *context;
static mm_model *model;
static char *scratch;
static int64_t stop_at;

static int32_t stop_after_step(void *user, const mm_event *event)
{
    (void)user;
    return event->kind == MM_EVENT_STEP && event->step == stop_at;
}

static int setup(void **state)
{
    (void)state;
    scratch = check_directory();
    OK(mm_context_create(&context, NULL));
    mm_context_set_events(context, stop_after_step, NULL);
    OK(mm_model_open(&model, context, FIXTURES "/quickstart-model"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mm_model_free(&model);
    mm_context_free(&context);
    check_remove(scratch);
    return 0;
}

static char *inside(const char *run, const char *name)
{
    return mm_format("%s/%s%s%s", scratch, run, *name ? "/" : "", name);
}

static mm_options *run_options(const char *run)
{
    char *directory = inside(run, "");
    mm_options *options =
        check_options("train", "model", FIXTURES "/quickstart-model", "prompt", "a red circle",
                      "width", "32", "height", "24", "num_frames", "3", "steps", "4", "rank", "4",
                      "seed", "11", "checkpoint_every", "2", "gradient_accumulation", "2",
                      "max_gradient_norm", "1", "output_dir", directory, NULL);
    mm_free(directory);
    return options;
}

static mm_video *clip(void)
{
    static uint8_t frames[3 * 24 * 32 * 3];
    mm_video *video = NULL;
    for (size_t i = 0; i < sizeof(frames); i++)
        frames[i] = (uint8_t)(i * 7 + i / 1000 * 31);
    OK(check_video(&video, frames, 3, 24, 32));
    return video;
}

static mm_status train(const char *run)
{
    mm_options *options = run_options(run);
    mm_video *video = clip();
    mm_trainer *trainer = NULL;
    OK(mm_trainer_create(&trainer, model, options));
    OK(mm_trainer_add_clip(trainer, video, "a red circle"));
    mm_status status = mm_trainer_run(trainer);
    mm_trainer_free(&trainer);
    mm_video_free(&video);
    mm_options_free(&options);
    return status;
}

static mm_status resume(const char *run)
{
    char *directory = inside(run, "");
    mm_options *options = check_options("train", "steps", "4", NULL);
    mm_trainer *trainer = NULL;
    mm_context_resume(context);
    OK(mm_trainer_load_options(options, directory));
    OK(mm_trainer_resume(&trainer, model, options));
    mm_status status = mm_trainer_run(trainer);
    mm_trainer_free(&trainer);
    mm_options_free(&options);
    mm_free(directory);
    return status;
}

static char *contents(const char *run, const char *name, size_t *bytes)
{
    mm_error error = {0};
    char *path = inside(run, name), *text = NULL;
    if (mm_file_read_all(path, 1 << 26, &text, bytes, &error) != MM_OK)
        fail_msg("%s", error.text);
    mm_free(path);
    return text;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    size_t n, m;
    char *x = contents(a, name, &n), *y = contents(b, name, &m);
    if (n != m || memcmp(x, y, n) != 0)
        fail_msg("%s of %s and %s differ", name, a, b);
    mm_free(x);
    mm_free(y);
}

static int lines(const char *run)
{
    size_t bytes;
    char *text = contents(run, "metrics.jsonl", &bytes);
    int count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += text[i] == '\n';
    mm_free(text);
    return count;
}

static void test_equal_runs_give_equal_bytes(void **state)
{
    (void)state;
    stop_at = 0;
    OK(train("whole"));
    OK(train("twin"));
    assert_same_file("whole", "twin", "checkpoint-4/lora.safetensors");
    assert_same_file("whole", "twin", "checkpoint-2/state.safetensors");
    assert_same_file("whole", "twin", "cached_latents/cached_0.safetensors");
    assert_int_equal(lines("whole"), 4);
}

static void test_stopped_run_goes_on_bit_for_bit(void **state)
{
    (void)state;
    stop_at = 3;
    FAILS(train("stopped"), MM_ERR_CANCELLED, "step 3");
    assert_int_equal(lines("stopped"), 3);
    stop_at = 0;
    OK(resume("stopped"));
    assert_same_file("whole", "stopped", "checkpoint-4/lora.safetensors");
    assert_same_file("whole", "stopped", "checkpoint-4/state.safetensors");
    assert_int_equal(lines("stopped"), 4);
}

static void damage(const char *run, const char *name, long cut, long flip)
{
    char *path = inside(run, name);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    if (cut)
        assert_int_equal(truncate(path, info.st_size - cut), 0);
    if (flip) {
        FILE *file = fopen(path, "r+b");
        assert_int_equal(fseek(file, info.st_size - flip, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, info.st_size - flip, SEEK_SET), 0);
        fputc(byte ^ 4, file);
        fclose(file);
    }
    mm_free(path);
}

/* The newest checkpoint is not whole: the one before is used, and the result is the same. */
static void test_damaged_checkpoints_are_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *run, *file;
        long cut, flip;
    } cases[] = {
        {"torn-state", "checkpoint-3/state.safetensors", 100, 0},
        {"torn-lora", "checkpoint-3/lora.safetensors", 4096, 0},
        {"flipped-state", "checkpoint-3/state.safetensors", 0, 5},
        {"flipped-lora", "checkpoint-3/lora.safetensors", 0, 1000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stop_at = 3;
        FAILS(train(cases[i].run), MM_ERR_CANCELLED, "stopped");
        damage(cases[i].run, cases[i].file, cases[i].cut, cases[i].flip);
        stop_at = 0;
        OK(resume(cases[i].run));
        assert_same_file("whole", cases[i].run, "checkpoint-4/lora.safetensors");
        assert_int_equal(lines(cases[i].run), 4);
    }
}

static void test_resume_without_checkpoint_starts_over(void **state)
{
    (void)state;
    stop_at = 3;
    FAILS(train("bare"), MM_ERR_CANCELLED, "stopped");
    damage("bare", "checkpoint-3/state.safetensors", 100, 0);
    damage("bare", "checkpoint-2/lora.safetensors", 1, 0);
    stop_at = 0;
    OK(resume("bare"));
    assert_same_file("whole", "bare", "checkpoint-4/lora.safetensors");
    assert_int_equal(lines("bare"), 4);
}

static void test_a_run_is_not_overwritten(void **state)
{
    (void)state;
    mm_options *options = run_options("whole");
    mm_trainer *trainer = NULL;
    FAILS(mm_trainer_create(&trainer, model, options), MM_ERR_USAGE, "holds a run");
    assert_null(trainer);
    mm_options_free(&options);
}

static void test_resume_with_other_settings(void **state)
{
    (void)state;
    char *directory = inside("whole", "");
    mm_options *options = check_options("train", "rank", "5", NULL);
    FAILS(mm_trainer_load_options(options, directory), MM_ERR_USAGE, "rank");
    mm_options_free(&options);
    options = check_options("train", "steps", "9", NULL);
    OK(mm_trainer_load_options(options, directory));
    mm_trainer *trainer = NULL;
    OK(mm_options_set(options, "rank", "5", MM_SOURCE_COMMAND_LINE));
    FAILS(mm_trainer_resume(&trainer, model, options), MM_ERR_USAGE, "rank");
    assert_null(trainer);
    mm_options_free(&options);
    options = check_options("train", NULL);
    FAILS(mm_trainer_load_options(options, scratch), MM_ERR_INPUT, "no run");
    mm_options_free(&options);
    mm_free(directory);
}

static void test_wrong_settings(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"width", "34", "multiples of"},
        {"min_timestep", "1000", "timesteps end"},
        {"spatial_scale_factor", "8", "levels"},
        {"temporal_scale_factor", "3", "power of 2"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_options *options = run_options("wrong");
        mm_trainer *trainer = NULL;
        OK(mm_options_set(options, cases[i].key, cases[i].value, MM_SOURCE_SET));
        FAILS(mm_trainer_create(&trainer, model, options), MM_ERR_USAGE, cases[i].message);
        mm_options_free(&options);
    }
    mm_options *options = run_options("wrong");
    mm_trainer *trainer = NULL;
    OK(mm_trainer_create(&trainer, model, options));
    FAILS(mm_trainer_run(trainer), MM_ERR_USAGE, "no clip");
    mm_trainer_free(&trainer);
    mm_options_free(&options);
}

static void assert_same_lora(const char *a, const char *b)
{
    mm_tensor_file *x = check_open(a), *y = check_open(b);
    assert_int_equal(mm_tensor_file_count(x), mm_tensor_file_count(y));
    for (size_t i = 0; i < mm_tensor_file_count(x); i++)
        assert_true(check_tensor(x, y, mm_tensor_file_info(x, i)->name) == 0.0);
    mm_tensor_file_close(&x);
    mm_tensor_file_close(&y);
}

/* Through the released code's list without names, and back. */
static void test_lora_round_trip(void **state)
{
    (void)state;
    char *checkpoint = inside("whole", "checkpoint-4");
    char *file = inside("whole", "checkpoint-4/lora.safetensors");
    char *list = inside("list.pt", ""), *back = inside("back.safetensors", "");
    mm_lora *lora = NULL;
    OK(mm_lora_open(&lora, model, checkpoint));
    assert_int_equal(mm_lora_rank(lora), 4);
    assert_string_equal(mm_lora_metadata(lora, "mm_min_timestep"), "500");
    assert_string_equal(mm_lora_metadata(lora, "mm_prompt"), "a red circle");
    OK(mm_lora_save(lora, list, "pt"));
    FAILS(mm_lora_save(lora, "x.bin", NULL), MM_ERR_USAGE, "ends with");
    mm_lora_free(&lora);
    OK(mm_lora_open(&lora, model, list));
    OK(mm_lora_save(lora, back, NULL));
    mm_lora_free(&lora);
    assert_same_lora(file, back);
    mm_free(checkpoint);
    mm_free(file);
    mm_free(list);
    mm_free(back);
}

/* Writes a small LoRA file for one layer with given shapes. */
static void expect_refusal(const char *path_a, mm_shape a, const char *path_b, mm_shape b,
                           const char *message)
{
    static float zeros[1 << 14];
    mm_error error = {0};
    char *path = inside("wrong.safetensors", "");
    mm_tensor_entry entries[] = {{path_a, MM_F32, a, zeros}, {path_b, MM_F32, b, zeros}};
    mm_lora *lora = NULL;
    assert_int_equal(mm_safetensors_write(path, entries, path_b ? 2 : 1, NULL, 0, &error), MM_OK);
    FAILS(mm_lora_open(&lora, model, path), MM_ERR_INPUT, message);
    assert_null(lora);
    mm_free(path);
}

static void test_wrong_loras(void **state)
{
    (void)state;
#define LAYER "unet.transformer_in.transformer_blocks.0.attn1.to_out.0.lora_"
    mm_tensor_file *good;
    char *file = inside("whole", "checkpoint-4/lora.safetensors");
    good = check_open(file);
    int64_t in = mm_tensor_file_info(good, (size_t)mm_tensor_file_find(good, LAYER "A.weight"))
                     ->shape.dim[1];
    int64_t out = mm_tensor_file_info(good, (size_t)mm_tensor_file_find(good, LAYER "B.weight"))
                      ->shape.dim[0];
    int64_t least = in < out ? in : out;
    mm_tensor_file_close(&good);
    mm_free(file);
    expect_refusal(LAYER "A.weight", MM_SHAPE(least + 1, in), LAYER "B.weight",
                   MM_SHAPE(out, least + 1), "rank");
    expect_refusal(LAYER "A.weight", MM_SHAPE(2, in + 1), LAYER "B.weight", MM_SHAPE(out, 2),
                   "another model");
    expect_refusal(LAYER "A.weight", MM_SHAPE(2, in), LAYER "B.weight", MM_SHAPE(out, 3),
                   "does not fit");
    expect_refusal(LAYER "A.weight", MM_SHAPE(2, in), NULL, MM_SHAPE(1), "only one of");
    expect_refusal("unet.other.lora_A.weight", MM_SHAPE(2, 4), "unet.other.lora_B.weight",
                   MM_SHAPE(4, 2), "none of its");
    mm_lora *lora = NULL;
    FAILS(mm_lora_open(&lora, model, scratch), MM_ERR_INPUT, "no LoRA here");
    FAILS(mm_lora_open(&lora, model, "/nonexistent.safetensors"), MM_ERR_INPUT, "nonexistent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_runs_give_equal_bytes),
        cmocka_unit_test(test_stopped_run_goes_on_bit_for_bit),
        cmocka_unit_test(test_damaged_checkpoints_are_passed_over),
        cmocka_unit_test(test_resume_without_checkpoint_starts_over),
        cmocka_unit_test(test_a_run_is_not_overwritten),
        cmocka_unit_test(test_resume_with_other_settings),
        cmocka_unit_test(test_wrong_settings),
        cmocka_unit_test(test_lora_round_trip),
        cmocka_unit_test(test_wrong_loras),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A model is opened, trained for a step, sampled from and looked into while one allocation after
   the other fails: each time the status says so, and nothing is lost. */
#include "check.h"

#include "base/clock.h"
#include "motionmatcher/extractor.h"
#include "motionmatcher/lora.h"
#include "motionmatcher/sampler.h"
#include "motionmatcher/trainer.h"

#define SECONDS_FOR_EACH 6.0
#define EVERY_ONE 300 /* the first allocations fail one by one, of later ones a growing share */

static char *scratch;
static mm_options *threads;

static int setup(void **state)
{
    (void)state;
    scratch = check_directory();
    threads = check_options("context", "threads", "1", NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mm_options_free(&threads);
    check_remove(scratch);
    return 0;
}

static mm_status set(mm_options *options, const char *const (*values)[2])
{
    mm_status status = MM_OK;
    for (; status == MM_OK && (*values)[0]; values++)
        status = mm_options_set(options, (*values)[0], (*values)[1], MM_SOURCE_SET);
    return status;
}

/* What every work begins with. */
typedef struct subject {
    mm_context *context;
    mm_model *model;
    mm_options *options;
} subject;

static mm_status open_subject(subject *s, const char *table, const char *const (*values)[2])
{
    mm_status status = mm_options_create(&s->options, table);
    if (status == MM_OK)
        status = set(s->options, values);
    if (status == MM_OK)
        status = mm_context_create(&s->context, threads);
    if (status == MM_OK)
        status = mm_model_open(&s->model, s->context, FIXTURES "/quickstart-model");
    return status;
}

static void close_subject(subject *s)
{
    mm_model_free(&s->model);
    mm_context_free(&s->context);
    mm_options_free(&s->options);
}

static mm_status run_training(mm_model *model, mm_options *options, mm_trainer **trainer)
{
    static const uint8_t frames[2 * 16 * 16 * 3];
    mm_video *video = NULL;
    mm_status status = mm_trainer_create(trainer, model, options);
    if (status == MM_OK)
        status = check_video(&video, frames, 2, 16, 16);
    if (status == MM_OK)
        status = mm_trainer_add_clip(*trainer, video, "a test");
    if (status == MM_OK)
        status = mm_trainer_run(*trainer);
    mm_video_free(&video);
    return status;
}

static mm_status train(void)
{
    static const char *const values[][2] = {{"width", "16"},
                                            {"height", "16"},
                                            {"num_frames", "2"},
                                            {"steps", "1"},
                                            {"rank", "2"},
                                            {"spatial_scale_factor", "2"},
                                            {"noise_prior", "1"},
                                            {"validation_prompt", "a"},
                                            {"validation_num_steps", "1"},
                                            {"seed", "1"},
                                            {"validation_every", "1"},
                                            {NULL, NULL}};
    subject s = {0};
    mm_trainer *trainer = NULL;
    char run[64];
    static int count;
    snprintf(run, sizeof(run), "%s/run-%d", scratch, count++);
    mm_status status = open_subject(&s, "train", values);
    if (status == MM_OK)
        status = mm_options_set(s.options, "output_dir", run, MM_SOURCE_SET);
    if (status == MM_OK)
        status = run_training(s.model, s.options, &trainer);
    mm_trainer_free(&trainer);
    close_subject(&s);
    return status;
}

static mm_status sample(void)
{
    static const char *const values[][2] = {
        {"width", "16"}, {"height", "16"},          {"num_frames", "2"},
        {"seed", "1"},   {"num_steps", "1"},        {"prompt", "a test"},
        {"fps", "8"},    {"negative_prompt", "no"}, {NULL, NULL}};
    subject s = {0};
    mm_sampler *sampler = NULL;
    mm_video *video = NULL;
    char latents[64];
    snprintf(latents, sizeof(latents), "%s/latents.safetensors", scratch);
    mm_status status = open_subject(&s, "sample", values);
    if (status == MM_OK)
        status = mm_options_set(s.options, "save_latents", latents, MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_sampler_create(&sampler, s.model, s.options);
    if (status == MM_OK)
        status = mm_sampler_run(sampler, &video);
    assert_int_equal(video != NULL, status == MM_OK);
    mm_video_free(&video);
    mm_sampler_free(&sampler);
    close_subject(&s);
    return status;
}

static mm_status run_extractor(mm_extractor *extractor)
{
    static const uint8_t frames[2 * 16 * 16 * 3];
    mm_video *video = NULL;
    mm_status status = check_video(&video, frames, 2, 16, 16);
    if (status == MM_OK)
        status = mm_extractor_set_video(extractor, video, "a test");
    if (status == MM_OK)
        status = mm_extractor_run(extractor);
    if (status == MM_OK && strcmp(mm_video_backend_versions(), "none") != 0)
        status = mm_extractor_write_pictures(extractor, scratch);
    mm_video_free(&video);
    return status;
}

static mm_status look(void)
{
    static const char *const values[][2] = {{"width", "16"},     {"height", "16"},
                                            {"num_frames", "2"}, {"timestep", "10"},
                                            {"seed", "1"},       {"spatial_scale_factor", "2"},
                                            {NULL, NULL}};
    subject s = {0};
    mm_extractor *extractor = NULL;
    char file[64];
    snprintf(file, sizeof(file), "%s/features.safetensors", scratch);
    mm_status status = open_subject(&s, "features", values);
    if (status == MM_OK)
        status = mm_extractor_create(&extractor, s.model, s.options);
    if (status == MM_OK)
        status = run_extractor(extractor);
    if (status == MM_OK)
        status = mm_extractor_write(extractor, file);
    mm_extractor_free(&extractor);
    close_subject(&s);
    return status;
}

/* Until nothing fails any more; the time that is left decides how many are passed over. */
static void sweep(mm_status (*work)(void), bool forever)
{
    double start = mm_clock_seconds();
    mm_status status = MM_ERR_MEMORY;
    uint64_t n = 1, tries = 0;
    while (status != MM_OK) {
        mm_memory_fail_after(n, forever);
        status = work();
        mm_memory_fail_after(0, false);
        if (status != MM_OK && (status != MM_ERR_MEMORY || !*mm_last_error()))
            fail_msg("allocation %llu: %s, \"%s\"", (unsigned long long)n, mm_status_name(status),
                     mm_last_error());
        double spent = (mm_clock_seconds() - start) / SECONDS_FOR_EACH;
        n += n < EVERY_ONE && spent < 0.5 ? 1 : 1 + (uint64_t)((double)n * (0.02 + spent / 4));
        tries++;
    }
    print_message("%llu of about %llu allocations failed\n", (unsigned long long)tries,
                  (unsigned long long)n);
    assert_true(tries > 20);
}

static void test_training(void **state)
{
    (void)state;
    sweep(train, true);
    sweep(train, false);
}

static void test_sampling(void **state)
{
    (void)state;
    sweep(sample, true);
    sweep(sample, false);
}

static void test_looking(void **state)
{
    (void)state;
    sweep(look, true);
    sweep(look, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_looking),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

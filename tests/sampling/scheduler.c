/* SPDX-License-Identifier: BSD-2-Clause */
/* The noise schedule, its timesteps and steps against diffusers' values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/memory.h"
#include "sampling/scheduler.h"

static void assert_close(double have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance * (fabs(want) + 1e-3)))
        fail_msg("%.9g instead of %.9g", have, want);
}

static double number(const mm_json *value)
{
    double out = NAN;
    assert_true(mm_json_number(value, &out));
    return out;
}

static double item(const mm_json *list, size_t i)
{
    return number(mm_json_item(list, i));
}

/* Equal bits, but for zero-SNR schedules: PyTorch's square roots are not always rounded to nearest.
 */
static void check_schedule(const mm_scheduler *s, const mm_json *want, double tolerance)
{
    const mm_json *at = mm_json_member(want, "at"), *values = mm_json_member(want, "alpha_bar");
    for (size_t i = 0; i < mm_json_count(at); i++)
        assert_close(mm_scheduler_alpha_bar(s, (int64_t)item(at, i)), item(values, i), tolerance);
    assert_true(mm_scheduler_alpha_bar(s, -1) == number(mm_json_member(want, "final_alpha_bar")));
}

static void check_timesteps(const mm_scheduler *s, const mm_json *want)
{
    const mm_json *steps = mm_json_member(want, "steps"), *all = mm_json_member(want, "timesteps");
    mm_error error = {0};
    for (size_t i = 0; i < mm_json_count(steps); i++) {
        int64_t count = (int64_t)item(steps, i), have[512];
        const mm_json *list = mm_json_item(all, i);
        assert_int_equal(mm_json_count(list), count);
        assert_int_equal(mm_scheduler_timesteps(s, count, have, &error), MM_OK);
        for (int64_t k = 0; k < count; k++)
            assert_int_equal(have[k], item(list, (size_t)k));
    }
}

static void read_floats(const mm_json *list, float *out)
{
    assert_int_equal(mm_json_count(list), 8);
    for (size_t i = 0; i < 8; i++)
        out[i] = (float)item(list, i);
}

static void check_moves(const mm_scheduler *s, const mm_json *want)
{
    float output[8];
    read_floats(mm_json_member(want, "output"), output);
    const mm_json *moves = mm_json_member(want, "moves");
    for (const mm_json *m = mm_json_first(moves); m; m = mm_json_next(m)) {
        float sample[8];
        read_floats(mm_json_member(want, "sample"), sample);
        int64_t from = (int64_t)number(mm_json_member(m, "from"));
        int64_t to = (int64_t)number(mm_json_member(m, "to"));
        assert_int_equal(mm_scheduler_previous(s, from, 10), to);
        mm_scheduler_step(s, from, to, sample, output, 8);
        for (size_t i = 0; i < 8; i++)
            assert_close(sample[i], item(mm_json_member(m, "result"), i), 2e-5);
    }
}

static void as_diffusers(void **state)
{
    (void)state;
    static const char *const names[] = {"defaults", "zeroscope", "zero-snr", "linspace",
                                        "v-clipped"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        mm_error error = {0};
        mm_scheduler s;
        mm_json_document want;
        char *config = mm_format("%s/scheduler/%s.json", FIXTURES, names[i]);
        char *expected = mm_format("%s/scheduler/%s.expected.json", FIXTURES, names[i]);
        assert_int_equal(mm_scheduler_load(&s, config, &error), MM_OK);
        assert_int_equal(mm_json_load(&want, expected, &error), MM_OK);
        check_schedule(&s, want.root, strcmp(names[i], "zero-snr") == 0 ? 2e-6 : 0.0);
        check_timesteps(&s, want.root);
        check_moves(&s, want.root);
        mm_json_free(&want);
        mm_scheduler_free(&s);
        mm_free(config);
        mm_free(expected);
    }
}

/* Noise put on, then taken off again with the true noise, gives the sample back. */
static void steps_undo_each_other(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_scheduler s;
    assert_int_equal(mm_scheduler_load(&s, FIXTURES "/scheduler/zeroscope.json", &error), MM_OK);
    float x[3] = {0.5f, -1.25f, 2.0f};
    const float noise[3] = {1.0f, 0.25f, -0.5f}, start[3] = {0.5f, -1.25f, 2.0f};
    mm_scheduler_invert_step(&s, 200, 400, x, noise, 3);
    assert_true(fabsf(x[0] - start[0]) > 0.05f);
    mm_scheduler_step(&s, 400, 200, x, noise, 3);
    for (int i = 0; i < 3; i++)
        assert_close(x[i], start[i], 1e-6);
    mm_scheduler_free(&s);
}

static void too_many_steps(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_scheduler s;
    static int64_t out[1000];
    assert_int_equal(mm_scheduler_load(&s, FIXTURES "/scheduler/zeroscope.json", &error), MM_OK);
    assert_int_equal(mm_scheduler_timesteps(&s, 0, out, &error), MM_ERR_USAGE);
    assert_int_equal(mm_scheduler_timesteps(&s, 1001, out, &error), MM_ERR_USAGE);
    /* steps_offset 1 would reach timestep 1000. */
    assert_int_equal(mm_scheduler_timesteps(&s, 1000, out, &error), MM_ERR_USAGE);
    assert_int_equal(mm_scheduler_timesteps(&s, 999, out, &error), MM_OK);
    assert_int_equal(out[998], 1);
    mm_scheduler_free(&s);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        mm_status status;
        const char *text, *message;
    } cases[] = {
        {MM_ERR_UNSUPPORTED, "{\"_class_name\": \"PNDMScheduler\"}", "PNDMScheduler"},
        {MM_ERR_UNSUPPORTED, "{\"prediction_type\": \"sample\"}", "sample"},
        {MM_ERR_UNSUPPORTED, "{\"beta_schedule\": \"squaredcos_cap_v2\"}", "squaredcos_cap_v2"},
        {MM_ERR_UNSUPPORTED, "{\"timestep_spacing\": \"odd\"}", "odd"},
        {MM_ERR_UNSUPPORTED, "{\"thresholding\": true}", "thresholding"},
        {MM_ERR_UNSUPPORTED, "{\"trained_betas\": [0.1]}", "trained_betas"},
        {MM_ERR_INPUT, "{\"num_train_timesteps\": 0}", "num_train_timesteps"},
        {MM_ERR_INPUT, "{\"num_train_timesteps\": 2147483648}", "num_train_timesteps"},
        {MM_ERR_INPUT, "{\"beta_start\": NaN}", ""},
        {MM_ERR_INPUT, "{\"beta_end\": 1.5}", "beta_end"},
        {MM_ERR_INPUT, "{\"beta_end\": \"0.02\"}", "beta_end"},
        {MM_ERR_INPUT, "{\"prediction_type\": 1}", "prediction_type"},
        {MM_ERR_INPUT, "[]", "not an object"},
    };
    char path[] = "/tmp/mm-scheduler-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_error error = {0};
        mm_scheduler s;
        assert_int_equal(ftruncate(descriptor, 0), 0);
        size_t bytes = strlen(cases[i].text);
        assert_int_equal(pwrite(descriptor, cases[i].text, bytes, 0), bytes);
        mm_status status = mm_scheduler_load(&s, path, &error);
        if (status != cases[i].status || !strstr(error.text, cases[i].message))
            fail_msg("%s: %d %s", cases[i].text, status, error.text);
        assert_null(s.alpha_bar);
    }
    close(descriptor);
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_diffusers),
        cmocka_unit_test(steps_undo_each_other),
        cmocka_unit_test(too_many_steps),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Contexts: devices, precision, limits, references, stopping, events. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/context_internal.h"
#include "api/options_internal.h"
#include "base/memory.h"

static mm_status create_with(mm_context **out, const char *key, const char *value)
{
    mm_options *options = NULL;
    assert_int_equal(mm_options_create(&options, "context"), MM_OK);
    assert_int_equal(mm_options_set(options, key, value, MM_SOURCE_COMMAND_LINE), MM_OK);
    mm_status status = mm_context_create(out, options);
    mm_options_free(&options);
    return status;
}

static void test_defaults(void **state)
{
    (void)state;
    mm_context *context = NULL;
    assert_int_equal(mm_context_create(&context, NULL), MM_OK);
    assert_string_equal(mm_context_device(context), "cpu");
    bool narrow = context->backend->table->computes(context->backend, MM_BF16);
    assert_string_equal(mm_context_precision(context), narrow ? "bf16" : "f32");
    assert_true(context->threads >= 1 && context->threads <= 4096);
    uint64_t budget = mm_context_memory_budget(context);
    assert_true(budget > 0 && budget < mm_available_bytes());
    mm_context_free(&context);
    assert_null(context);
    mm_context_free(&context);
    mm_context_free(NULL);
}

static void test_settings(void **state)
{
    (void)state;
    mm_context *context = NULL;
    assert_int_equal(create_with(&context, "threads", "3"), MM_OK);
    assert_int_equal(context->threads, 3);
    mm_context_free(&context);
    assert_int_equal(create_with(&context, "memory_budget", "2G"), MM_OK);
    assert_true(mm_context_memory_budget(context) == 2ull << 30);
    mm_context_free(&context);
    assert_int_equal(create_with(&context, "precision", "f32"), MM_OK);
    mm_context_free(&context);
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    mm_context *context = (mm_context *)1;
    assert_int_equal(create_with(&context, "device", "cuda"), MM_ERR_DEVICE);
    assert_null(context);
    assert_int_equal(create_with(&context, "device", "cuda:1"), MM_ERR_DEVICE);
    assert_int_equal(create_with(&context, "device", "cuda:"), MM_ERR_USAGE);
    assert_int_equal(create_with(&context, "device", "cuda:x"), MM_ERR_USAGE);
    assert_int_equal(create_with(&context, "device", "tpu"), MM_ERR_USAGE);
    assert_int_equal(create_with(&context, "precision", "f16"), MM_ERR_UNSUPPORTED);
    mm_options *train = NULL;
    assert_int_equal(mm_options_create(&train, "train"), MM_OK);
    assert_int_equal(mm_context_create(&context, train), MM_ERR_USAGE);
    mm_options_free(&train);
    assert_int_equal(mm_context_create(NULL, NULL), MM_ERR_USAGE);
}

static void test_cpu_mask(void **state)
{
    (void)state;
    mm_context *context = NULL;
    setenv("MM_CPU_MASK", "nonsense", 1);
    assert_int_equal(mm_context_create(&context, NULL), MM_ERR_USAGE);
    assert_non_null(strstr(mm_last_error(), "MM_CPU_MASK"));
    setenv("MM_CPU_MASK", "sse4", 1);
    assert_int_equal(mm_context_create(&context, NULL), MM_OK);
    assert_string_equal(mm_context_precision(context), "f32");
    mm_context_free(&context);
    assert_int_equal(create_with(&context, "precision", "bf16"), MM_ERR_DEVICE);
    assert_non_null(strstr(mm_last_error(), "bf16"));
    assert_null(context);
    setenv("MM_CPU_MASK", "", 1);
    assert_int_equal(mm_context_create(&context, NULL), MM_OK);
    mm_context_free(&context);
    unsetenv("MM_CPU_MASK");
}

static void test_references(void **state)
{
    (void)state;
    mm_context *context = NULL;
    assert_int_equal(mm_context_create(&context, NULL), MM_OK);
    mm_context *child = mm_context_retain(context);
    mm_context_free(&context);
    assert_string_equal(mm_context_device(child), "cpu");
    mm_context_free(&child);
}

static void test_stop_and_cancel(void **state)
{
    (void)state;
    mm_context *context = NULL;
    mm_error error = {0};
    assert_int_equal(mm_context_create(&context, NULL), MM_OK);
    assert_false(mm_context_stopping(context));
    mm_context_stop(context);
    assert_true(mm_context_stopping(context));
    assert_int_equal(mm_context_check_cancel(context, &error), MM_OK);
    mm_context_cancel(context);
    assert_int_equal(mm_context_check_cancel(context, &error), MM_ERR_CANCELLED);
    mm_context_resume(context);
    assert_false(mm_context_stopping(context));
    assert_int_equal(mm_context_check_cancel(context, &error), MM_OK);
    mm_context_free(&context);
}

static mm_event seen;

static int32_t on_event(void *user, const mm_event *event)
{
    seen = *event;
    return *(const int32_t *)user;
}

static void test_events(void **state)
{
    (void)state;
    mm_context *context = NULL;
    int32_t answer = 0;
    assert_int_equal(mm_context_create(&context, NULL), MM_OK);
    mm_context_emit_plan(context, 7);
    mm_context_set_events(context, on_event, &answer);
    mm_context_emit_step(context, 2, 5, 1.5);
    assert_int_equal(seen.struct_size, sizeof(mm_event));
    assert_int_equal(seen.kind, MM_EVENT_STEP);
    assert_int_equal(seen.step, 2);
    assert_int_equal(seen.of, 5);
    assert_true(seen.seconds == 1.5 && isnan(seen.loss) && isnan(seen.loss_spatial));
    assert_int_equal(seen.timestep, -1);
    assert_true(seen.peak_bytes > 0);
    assert_false(mm_context_stopping(context));
    answer = 1;
    mm_context_emit_output(context, "x");
    assert_string_equal(seen.path, "x");
    assert_true(isnan(seen.loss));
    assert_true(mm_context_stopping(context));
    mm_context_free(&context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_cpu_mask),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_stop_and_cancel),
        cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Options by name: types, ranges, sources, lists, nearest names, copies, failing memory. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/options_internal.h"
#include "base/json.h"
#include "base/memory.h"

#define CLI MM_SOURCE_COMMAND_LINE

static mm_options *make(const char *table)
{
    mm_options *options = NULL;
    assert_int_equal(mm_options_create(&options, table), MM_OK);
    return options;
}

static void assert_value(mm_options *options, const char *key, size_t index, const char *wanted)
{
    const char *text = "unset";
    assert_int_equal(mm_options_get(options, key, index, &text), MM_OK);
    if (wanted)
        assert_string_equal(text, wanted);
    else
        assert_null(text);
}

static void assert_refused(mm_options *options, const char *key, const char *value,
                           mm_status status, const char *part)
{
    assert_int_equal(mm_options_set(options, key, value, CLI), status);
    if (!strstr(mm_last_error(), part))
        fail_msg("'%s' does not contain '%s'", mm_last_error(), part);
}

static void test_every_default_is_in_its_range(void **state)
{
    (void)state;
    static const char *const tables[] = {"context", "train", "sample", "evaluate", "retrieve"};
    for (size_t t = 0; t < 4; t++) {
        mm_options *options = make(tables[t]);
        assert_true(mm_option_count(tables[t]) > 3);
        for (size_t i = 0; i < mm_option_count(tables[t]); i++) {
            mm_option_info info = {.struct_size = sizeof(info)};
            assert_int_equal(mm_option_describe(tables[t], i, &info), MM_OK);
            assert_int_equal(mm_options_source(options, info.name), MM_SOURCE_DEFAULT);
            if (*info.fallback)
                assert_int_equal(mm_options_set(options, info.name, info.fallback, CLI), MM_OK);
            else if (strcmp(info.type, "integer") == 0 || strcmp(info.type, "real") == 0 ||
                     strcmp(info.type, "text") == 0)
                assert_value(options, info.name, 0, NULL);
            assert_true(strlen(info.help) > 5);
        }
        mm_options_free(&options);
        assert_null(options);
    }
}

static void test_types(void **state)
{
    (void)state;
    mm_options *train = make("train"), *sample = make("sample"), *context = make("context");
    const mm_train_config *t = mm_options_train(train);
    const mm_sample_config *s = mm_options_sample(sample);
    const mm_context_config *c = mm_options_context(context);
    assert_null(mm_options_sample(train));
    assert_int_equal(mm_options_set(train, "steps", "12", CLI), MM_OK);
    assert_int_equal(t->steps, 12);
    assert_int_equal(mm_options_set(train, "learning-rate", "2.5e-4", CLI), MM_OK);
    assert_true(t->learning_rate == 2.5e-4);
    assert_int_equal(mm_options_set(train, "objective", "ddpm", CLI), MM_OK);
    assert_int_equal(t->objective, 1);
    assert_value(train, "objective", 0, "ddpm");
    assert_int_equal(mm_options_set(sample, "steps_only", "Yes", CLI), MM_OK);
    assert_true(s->steps_only);
    assert_true(isnan(s->noise_prior));
    assert_true(s->checkpoint_index == MM_NOT_GIVEN);
    assert_int_equal(mm_options_set(sample, "noise-prior", "0", CLI), MM_OK);
    assert_true(s->noise_prior == 0);
    assert_null(s->negative_prompt);
    assert_int_equal(mm_options_set(sample, "negative_prompt", "", CLI), MM_OK);
    assert_string_equal(s->negative_prompt, "");
    assert_int_equal(mm_options_set(context, "memory_budget", "1.5G", CLI), MM_OK);
    assert_true(c->memory_budget == 3ull << 29);
    assert_int_equal(mm_options_set(context, "memory_budget", "500mib", CLI), MM_OK);
    assert_true(c->memory_budget == 500ull << 20);
    assert_value(context, "memory-budget", 0, "524288000");
    mm_options_free(&train);
    mm_options_free(&sample);
    mm_options_free(&context);
}

static void test_bad_values(void **state)
{
    (void)state;
    mm_options *train = make("train"), *context = make("context"), *sample = make("sample");
    assert_refused(train, "steps", "0", MM_ERR_USAGE, "outside 1..");
    assert_refused(train, "steps", "10000001", MM_ERR_USAGE, "outside");
    assert_refused(train, "steps", "1.5", MM_ERR_USAGE, "whole number");
    assert_refused(train, "steps", " 3", MM_ERR_USAGE, "whole number");
    assert_refused(train, "steps", "0x10", MM_ERR_USAGE, "whole number");
    assert_refused(train, "steps", "99999999999999999999", MM_ERR_USAGE, "steps");
    assert_refused(train, "learning_rate", "nan", MM_ERR_USAGE, "number");
    assert_refused(train, "learning_rate", "inf", MM_ERR_USAGE, "number");
    assert_refused(train, "learning_rate", "1,5", MM_ERR_USAGE, "number");
    assert_refused(train, "learning_rate", "-1e-9", MM_ERR_USAGE, "outside");
    assert_refused(train, "lora_dropout", "1", MM_ERR_USAGE, "outside 0..0.999");
    assert_refused(train, "scaling", "bilinear|bicubic", MM_ERR_USAGE, "none of");
    assert_refused(train, "scaling", "bi", MM_ERR_USAGE, "none of bilinear|bicubic");
    assert_refused(train, "prompt", "\xff", MM_ERR_USAGE, "UTF-8");
    assert_refused(train, "prompt", "\xc0\x80", MM_ERR_USAGE, "UTF-8");
    assert_refused(sample, "steps_only", "maybe", MM_ERR_USAGE, "true or false");
    assert_refused(context, "memory_budget", "", MM_ERR_USAGE, "size");
    assert_refused(context, "memory_budget", "G", MM_ERR_USAGE, "size");
    assert_refused(context, "memory_budget", "16X", MM_ERR_USAGE, "size");
    assert_refused(context, "memory_budget", "-1G", MM_ERR_USAGE, "size");
    assert_refused(context, "memory_budget", "99999999999G", MM_ERR_USAGE, "outside");
    assert_value(train, "steps", 0, "400");
    assert_int_equal(mm_options_source(train, "steps"), MM_SOURCE_DEFAULT);
    mm_options_free(&train);
    mm_options_free(&context);
    mm_options_free(&sample);
}

static void test_unknown_keys_name_the_nearest(void **state)
{
    (void)state;
    mm_options *train = make("train");
    const char *text;
    assert_refused(train, "stesp", "1", MM_ERR_USAGE, "'steps'");
    assert_refused(train, "learning-rat", "1", MM_ERR_USAGE, "'learning_rate'");
    assert_refused(train, "max_trian_steps", "1", MM_ERR_USAGE, "'max_train_steps'");
    assert_refused(train, "train_data.widht", "8", MM_ERR_USAGE, "'train_data.width'");
    assert_refused(train, "zzzzzzzzzz", "1", MM_ERR_USAGE, "unknown option");
    assert_null(strstr(mm_last_error(), "did you mean"));
    assert_refused(train, "", "1", MM_ERR_USAGE, "unknown option");
    assert_refused(train, "\xff", "1", MM_ERR_USAGE, "UTF-8");
    assert_int_equal(mm_options_get(train, "stesp", 0, &text), MM_ERR_USAGE);
    assert_int_equal(mm_options_source(train, "stesp"), -1);
    mm_options_free(&train);
}

static void test_sources(void **state)
{
    (void)state;
    mm_options *train = make("train");
    assert_int_equal(mm_options_set(train, "steps", "5", MM_SOURCE_SET), MM_OK);
    assert_int_equal(mm_options_set(train, "steps", "6", MM_SOURCE_FILE), MM_OK);
    assert_value(train, "steps", 0, "5");
    assert_int_equal(mm_options_set(train, "steps", "nonsense", MM_SOURCE_FILE), MM_ERR_USAGE);
    assert_int_equal(mm_options_set(train, "steps", "7", MM_SOURCE_SET), MM_OK);
    assert_value(train, "steps", 0, "7");
    assert_int_equal(mm_options_set(train, "steps", "8", CLI), MM_OK);
    assert_value(train, "max_train_steps", 0, "8");
    assert_int_equal(mm_options_source(train, "max-train-steps"), CLI);
    assert_int_equal(mm_options_set(train, "steps", "8", 4), MM_ERR_USAGE);
    mm_options_free(&train);
}

static void test_lists_append_within_a_source(void **state)
{
    (void)state;
    mm_options *train = make("train");
    const char *key = "validation_prompt";
    assert_value(train, key, 0, NULL);
    assert_int_equal(mm_options_set(train, key, "a", MM_SOURCE_FILE), MM_OK);
    assert_int_equal(mm_options_set(train, key, "b", MM_SOURCE_FILE), MM_OK);
    assert_value(train, key, 1, "b");
    assert_int_equal(mm_options_set(train, key, "c", CLI), MM_OK);
    assert_value(train, key, 0, "c");
    assert_value(train, key, 1, NULL);
    assert_int_equal(mm_options_set(train, key, "d", MM_SOURCE_SET), MM_OK);
    assert_int_equal(mm_options_train(train)->validation_prompt.count, 1);
    assert_int_equal(mm_options_set(train, key, "\xff", CLI), MM_ERR_USAGE);
    assert_value(train, key, 0, "c");
    mm_options_free(&train);
}

static void test_released_keys_by_setter(void **state)
{
    (void)state;
    mm_options *train = make("train"), *context = make("context");
    assert_int_equal(mm_options_set(train, "pretrained_model_path", "m", MM_SOURCE_SET), MM_OK);
    assert_value(train, "model", 0, "m");
    assert_int_equal(mm_options_set(train, "train_data.width", "64", MM_SOURCE_SET), MM_OK);
    assert_value(train, "width", 0, "64");
    assert_refused(train, "use_offset_noise", "true", MM_ERR_UNSUPPORTED, "use_offset_noise");
    assert_refused(train, "use_offset_noise", "7", MM_ERR_USAGE, "true or false");
    assert_int_equal(mm_options_set(train, "use_offset_noise", "False", CLI), MM_OK);
    assert_refused(train, "train_batch_size", "2", MM_ERR_UNSUPPORTED, "train_batch_size");
    assert_refused(train, "use_unet_lora", "false", MM_ERR_UNSUPPORTED, "use_unet_lora");
    assert_refused(train, "trainable_modules", "attn1", MM_ERR_UNSUPPORTED, "trainable_modules");
    assert_refused(train, "lr_scheduler", "cosine", MM_ERR_UNSUPPORTED, "cosine");
    assert_int_equal(mm_options_set(train, "gradient_checkpointing", "true", CLI), MM_OK);
    assert_non_null(strstr(mm_options_notices(train), "gradient_checkpointing"));
    assert_int_equal(mm_options_set(train, "validation_data.sample_preview", "0", CLI), MM_OK);
    assert_value(train, "validation_every", 0, "0");
    assert_int_equal(mm_options_set(context, "precision", "f32", MM_SOURCE_FILE), MM_OK);
    assert_int_equal(mm_options_set(context, "mixed_precision", "fp16", MM_SOURCE_SET), MM_OK);
    assert_value(context, "precision", 0, "auto");
    assert_refused(context, "mixed_precision", "fp8", MM_ERR_USAGE, "fp8");
    mm_options_free(&train);
    mm_options_free(&context);
}

static void test_copy_and_agreement(void **state)
{
    (void)state;
    static const char *const except[] = {"steps", NULL};
    mm_options *a = make("train"), *b = NULL;
    mm_error error = {0};
    mm_options_set(a, "prompt", "p", CLI);
    mm_options_set(a, "validation_prompt", "x", CLI);
    mm_options_set(a, "validation_prompt", "y", CLI);
    assert_int_equal(mm_options_copy(&b, a, &error), MM_OK);
    assert_value(b, "validation_prompt", 1, "y");
    assert_int_equal(mm_options_source(b, "prompt"), CLI);
    assert_int_equal(mm_options_check_agree(a, b, NULL, &error), MM_OK);
    mm_options_set(a, "steps", "3", CLI);
    assert_int_equal(mm_options_check_agree(a, b, except, &error), MM_OK);
    assert_int_equal(mm_options_check_agree(a, b, NULL, &error), MM_ERR_USAGE);
    assert_non_null(strstr(error.text, "steps is 3, but the run has 400"));
    mm_options_set(b, "rank", "4", CLI);
    mm_options_set(b, "prompt", "other", CLI);
    assert_int_equal(mm_options_inherit(a, b, MM_SOURCE_FILE, &error), MM_OK);
    assert_value(a, "rank", 0, "4");
    assert_value(a, "prompt", 0, "p");
    assert_int_equal(mm_options_source(a, "rank"), MM_SOURCE_FILE);
    mm_options_free(&a);
    mm_options_free(&b);
}

static void test_json(void **state)
{
    (void)state;
    mm_options *train = make("train");
    mm_json_document document;
    mm_error error = {0};
    char *text = NULL;
    mm_options_set(train, "prompt", "a \"b\"\n\xc3\xa9", CLI);
    mm_options_set(train, "learning_rate", "0.1", CLI);
    mm_options_set(train, "validation_prompt", "v", CLI);
    assert_int_equal(mm_options_to_json(train, &text), MM_OK);
    assert_int_equal(mm_json_parse(&document, "text", text, strlen(text), &error), MM_OK);
    assert_int_equal(mm_json_count(document.root), mm_option_count("train"));
    const char *prompt = NULL;
    double rate = 0;
    mm_json_get_string(&document, document.root, "prompt", NULL, &prompt, &error);
    assert_string_equal(prompt, "a \"b\"\n\xc3\xa9");
    mm_json_get_double(&document, document.root, "learning_rate", 0, 0, 1, &rate, &error);
    assert_true(rate == 0.1);
    assert_null(mm_json_member(document.root, "model"));
    assert_string_equal(
        mm_json_text(mm_json_item(mm_json_member(document.root, "validation_prompt"), 0)), "v");
    mm_json_free(&document);
    mm_string_free(text);
    mm_options_free(&train);
}

static void test_comma_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    bool found = false;
    for (size_t i = 0; i < 4 && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL;
    if (!found)
        skip();
    mm_options *train = make("train");
    assert_true(mm_options_train(train)->learning_rate == 5e-4);
    assert_int_equal(mm_options_set(train, "lora_dropout", "0.25", CLI), MM_OK);
    assert_value(train, "lora_dropout", 0, "0.25");
    mm_options_free(&train);
    setlocale(LC_ALL, "C");
}

static void test_misuse(void **state)
{
    (void)state;
    mm_options *options = (mm_options *)1;
    mm_option_info info = {.struct_size = 8};
    assert_int_equal(mm_options_create(&options, "nonsense"), MM_ERR_USAGE);
    assert_null(options);
    assert_int_equal(mm_options_create(NULL, "train"), MM_ERR_USAGE);
    assert_int_equal(mm_option_describe("train", 0, &info), MM_ERR_USAGE);
    info.struct_size = sizeof(info);
    assert_int_equal(mm_option_describe("train", 1000, &info), MM_ERR_USAGE);
    assert_int_equal(mm_option_count("nonsense"), 0);
    assert_int_equal(mm_options_set(NULL, "a", "b", CLI), MM_ERR_USAGE);
    assert_string_equal(mm_status_name(MM_ERR_UNSUPPORTED), "MM_ERR_UNSUPPORTED");
    assert_string_equal(mm_status_name(-99), "MM_ERR_UNKNOWN");
    mm_options_free(NULL);
    mm_options_free(&options);
}

/* One round with the n-th allocation failing: nothing leaks, nothing crashes. */
static mm_status try_everything(void)
{
    mm_options *train = NULL, *copy = NULL;
    mm_error error = {0};
    char *text = NULL;
    mm_status status = mm_options_create(&train, "train");
    if (status == MM_OK)
        status = mm_options_set(train, "validation_prompt", "x", CLI);
    if (status == MM_OK)
        status = mm_options_set(train, "gradient_checkpointing", "true", CLI);
    if (status == MM_OK)
        status = mm_options_copy(&copy, train, &error);
    if (status == MM_OK)
        status = mm_options_to_json(train, &text);
    mm_string_free(text);
    mm_options_free(&train);
    mm_options_free(&copy);
    return status;
}

static void test_failing_memory(void **state)
{
    (void)state;
    mm_status status = MM_ERR_MEMORY;
    uint64_t n = 0;
    while (status != MM_OK && n < 2000) {
        mm_memory_fail_after(++n, false);
        status = try_everything();
        mm_memory_fail_after(0, false);
        if (status != MM_OK)
            assert_int_equal(status, MM_ERR_MEMORY);
    }
    assert_int_equal(status, MM_OK);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_default_is_in_its_range),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_unknown_keys_name_the_nearest),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_lists_append_within_a_source),
        cmocka_unit_test(test_released_keys_by_setter),
        cmocka_unit_test(test_copy_and_agreement),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_comma_locale),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that has set a locale with a decimal comma gets the same bytes and the same messages.
 */
#include "embedding.h"

#include <locale.h>

#include "base/file.h"

static char *scratch;

/* German as the system has it, or made here with localedef; false where neither is possible. */
static bool enter_comma_locale(void)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8")) {
        char *command =
            mm_format("localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' 2>/dev/null", scratch);
        int made = system(command);
        mm_free(command);
        setenv("LOCPATH", scratch, 1);
        if (made != 0 || !setlocale(LC_ALL, "de_DE.UTF-8"))
            return false;
    }
    char text[8];
    snprintf(text, sizeof(text), "%.1f", 0.5);
    assert_string_equal(text, "0,5");
    return true;
}

static char *json_of(const char *table)
{
    mm_options *options = check_options(table, NULL);
    char *text = NULL;
    OK(mm_options_to_json(options, &text));
    mm_options_free(&options);
    return text;
}

static void keep_message(void *user, int32_t level, const char *message)
{
    if (level >= MM_LEVEL_DEBUG && strstr(message, "GiB"))
        snprintf(user, 256, "%s", message);
}

/* Everything that puts numbers into text or takes them from it. */
typedef struct results {
    char *train, *sample, *lora;
    size_t lora_bytes;
    char message[256], logged[256];
    uint64_t sum;
} results;

static void collect(results *r, const char *name)
{
    mm_error error = {0};
    mm_context *context = NULL;
    mm_model *model = NULL;
    char *run = mm_path_join(scratch, name);
    char *lora = mm_format("%s/checkpoint-2/lora.safetensors", run);
    mm_options *options = check_options("train", "learning_rate", "2.5e-4", NULL);
    r->train = json_of("train");
    r->sample = json_of("sample");
    assert_int_equal(mm_options_set(options, "learning_rate", "2,5", MM_SOURCE_SET), MM_ERR_USAGE);
    assert_int_equal(mm_options_set(options, "noise_prior", "1.5", MM_SOURCE_SET), MM_ERR_USAGE);
    snprintf(r->message, sizeof(r->message), "%s", mm_last_error());
    OK(mm_context_create(&context, NULL));
    mm_context_set_log(context, keep_message, r->logged);
    OK(mm_model_open(&model, context, MODEL));
    OK(work_sample(model, &r->sum));
    OK(work_train(model, run));
    assert_int_equal(mm_file_read_all(lora, 1 << 24, &r->lora, &r->lora_bytes, &error), MM_OK);
    mm_model_free(&model);
    mm_context_free(&context);
    mm_options_free(&options);
    mm_free(lora);
    mm_free(run);
}

static void free_results(results *r)
{
    mm_string_free(r->train);
    mm_string_free(r->sample);
    mm_free(r->lora);
}

/* Sizes differ from run to run, commas must not. */
static void assert_no_decimal_comma(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == ',' && c > text && c[-1] >= '0' && c[-1] <= '9' && c[1] >= '0' && c[1] <= '9')
            fail_msg("%s", text);
    }
}

static void test_results_do_not_depend_on_the_locale(void **state)
{
    (void)state;
    results plain = {0}, german = {0};
    collect(&plain, "plain");
    if (!enter_comma_locale()) {
        free_results(&plain);
        skip();
    }
    collect(&german, "german");
    assert_string_equal(setlocale(LC_NUMERIC, NULL), "de_DE.UTF-8");
    setlocale(LC_ALL, "C");
    assert_string_equal(plain.train, german.train);
    assert_string_equal(plain.sample, german.sample);
    assert_string_equal(plain.message, german.message);
    assert_non_null(strstr(plain.message, "1.5"));
    assert_true(strlen(german.logged) > 0);
    assert_no_decimal_comma(german.logged);
    assert_true(plain.sum == german.sum);
    assert_int_equal(plain.lora_bytes, german.lora_bytes);
    assert_memory_equal(plain.lora, german.lora, plain.lora_bytes);
    free_results(&plain);
    free_results(&german);
}

static int begin(void **state)
{
    (void)state;
    scratch = check_directory();
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_remove(scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_results_do_not_depend_on_the_locale)};
    return cmocka_run_group_tests(tests, begin, end);
}

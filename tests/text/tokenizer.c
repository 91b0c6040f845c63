/* SPDX-License-Identifier: BSD-2-Clause */
/* Ids against those that transformers gives (tests/fixtures/make_tokenizer.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "text/tokenizer.h"

enum { context = 77 };

static char *fixture(const char *name)
{
    char *path = mm_format("%s/tokenizer/%s", FIXTURES, name);
    assert_non_null(path);
    return path;
}

static mm_tokenizer *open_fixture(const char *name)
{
    mm_error error = {0};
    mm_tokenizer *tokenizer = NULL;
    char *path = fixture(name);
    if (mm_tokenizer_open(&tokenizer, path, &error) != MM_OK)
        fail_msg("%s", error.text);
    mm_free(path);
    return tokenizer;
}

static mm_json_document load_expected(void)
{
    mm_error error = {0};
    mm_json_document document = {0};
    char *path = fixture("expected.json");
    if (mm_json_load(&document, path, &error) != MM_OK)
        fail_msg("%s", error.text);
    mm_free(path);
    return document;
}

/* The fixture leaves out repetitions of the last id. */
static void expect_ids(const char *name, const char *prompt, const int64_t *ids,
                       const mm_json *expected)
{
    const mm_json *item = mm_json_first(expected);
    int64_t id = -1;
    for (int i = 0; i < context; i++) {
        if (item)
            assert_true(mm_json_whole(item, &id));
        if (ids[i] != id)
            fail_msg("%s, \"%s\": id %d is %lld, not %lld", name, prompt, i, (long long)ids[i],
                     (long long)id);
        item = item ? mm_json_next(item) : NULL;
    }
}

static void check_variant(const mm_json_document *expected, const char *name)
{
    mm_tokenizer *tokenizer = open_fixture(name);
    const mm_json *list = mm_json_member(mm_json_member(expected->root, "ids"), name);
    const mm_json *prompt = mm_json_first(mm_json_member(expected->root, "prompts"));
    int count = 0;
    for (const mm_json *item = mm_json_first(list); item; item = mm_json_next(item), count++) {
        int64_t ids[context];
        mm_error error = {0};
        assert_int_equal(
            mm_tokenizer_encode(tokenizer, mm_json_text(prompt), context, ids, NULL, &error),
            MM_OK);
        expect_ids(name, mm_json_text(prompt), ids, item);
        prompt = mm_json_next(prompt);
    }
    assert_true(count > 40);
    mm_tokenizer_close(&tokenizer);
    assert_null(tokenizer);
}

static void test_ids_equal_the_reference(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "pad_letter", "dicts", "added", "whole_file"};
    mm_json_document expected = load_expected();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        check_variant(&expected, names[i]);
    mm_json_free(&expected);
}

static void test_truncation_counts_what_is_left_out(void **state)
{
    (void)state;
    mm_json_document expected = load_expected();
    mm_tokenizer *tokenizer = open_fixture("plain");
    const mm_json *prompt = mm_json_first(mm_json_member(expected.root, "prompts"));
    const mm_json *count = mm_json_first(mm_json_member(expected.root, "counts"));
    for (; count; count = mm_json_next(count), prompt = mm_json_next(prompt)) {
        int64_t ids[context], whole;
        size_t truncated = 99;
        mm_error error = {0};
        assert_true(mm_json_whole(count, &whole));
        assert_int_equal(
            mm_tokenizer_encode(tokenizer, mm_json_text(prompt), context, ids, &truncated, &error),
            MM_OK);
        assert_int_equal(truncated, whole > context ? whole - context : 0);
    }
    mm_tokenizer_close(&tokenizer);
    mm_json_free(&expected);
}

static void test_bad_prompts(void **state)
{
    (void)state;
    mm_tokenizer *tokenizer = open_fixture("plain");
    int64_t ids[context];
    mm_error error = {0};
    assert_int_equal(mm_tokenizer_encode(tokenizer, "a \xff dog", context, ids, NULL, &error),
                     MM_ERR_USAGE);
    assert_non_null(strstr(error.text, "UTF-8"));
    assert_int_equal(mm_tokenizer_encode(tokenizer, "\xed\xa0\x80", context, ids, NULL, &error),
                     MM_ERR_USAGE);
    assert_int_equal(mm_tokenizer_encode(tokenizer, "dog", 1, ids, NULL, &error), MM_ERR_USAGE);
    assert_int_equal(mm_tokenizer_encode(tokenizer, "dog", 2, ids, NULL, &error), MM_OK);
    mm_tokenizer_close(&tokenizer);
}

static void test_token_texts(void **state)
{
    (void)state;
    mm_tokenizer *tokenizer = open_fixture("added");
    int64_t ids[context];
    mm_error error = {0};
    assert_int_equal(mm_tokenizer_encode(tokenizer, "Snow <new>\u00e9", context, ids, NULL, &error),
                     MM_OK);
    assert_string_equal(mm_tokenizer_token(tokenizer, ids[0]), "<|startoftext|>");
    assert_string_equal(mm_tokenizer_token(tokenizer, ids[1]), "snow");
    assert_string_equal(mm_tokenizer_token(tokenizer, ids[2]), "<new>");
    assert_string_equal(mm_tokenizer_token(tokenizer, 256 + 158), "\\xE2");
    assert_int_equal(mm_tokenizer_vocabulary(tokenizer), 776);
    assert_null(mm_tokenizer_token(tokenizer, 776));
    assert_null(mm_tokenizer_token(tokenizer, -1));
    mm_tokenizer_close(&tokenizer);
}

/* A quadratic step anywhere would run into the test's time limit. */
static void test_a_prompt_of_a_megabyte(void **state)
{
    (void)state;
    static const char *const parts[] = {"x", "the", "dog ", "!?", "\u0323\u0301", "<|endoftext|"};
    mm_tokenizer *tokenizer = open_fixture("added");
    const size_t bytes = 1 << 20;
    char *text = mm_malloc(bytes + 1);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        size_t length = strlen(parts[i]), at = 0, truncated = 0;
        for (; at + length <= bytes; at += length)
            memcpy(text + at, parts[i], length);
        text[at] = '\0';
        int64_t ids[context];
        mm_error error = {0};
        assert_int_equal(mm_tokenizer_encode(tokenizer, text, context, ids, &truncated, &error),
                         MM_OK);
        assert_true(truncated > bytes / 8);
    }
    mm_free(text);
    mm_tokenizer_close(&tokenizer);
}

/* A tokenizer directory of given texts; NULL: no such file. */
static void expect_open_error(const char *vocabulary, const char *merges, const char *config,
                              const char *words)
{
    char directory[] = "/tmp/mm-tokenizer-XXXXXX";
    assert_non_null(mkdtemp(directory));
    const char *names[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    const char *texts[] = {vocabulary, merges, config};
    mm_error error = {0};
    char *paths[3];
    for (int i = 0; i < 3; i++) {
        paths[i] = mm_path_join(directory, names[i]);
        if (texts[i])
            assert_int_equal(mm_output_file_write_all(paths[i], texts[i], strlen(texts[i]), &error),
                             MM_OK);
    }
    mm_tokenizer *tokenizer = NULL;
    mm_status status = mm_tokenizer_open(&tokenizer, directory, &error);
    for (int i = 0; i < 3; i++) {
        unlink(paths[i]);
        mm_free(paths[i]);
    }
    rmdir(directory);
    if (status != MM_ERR_INPUT || !strstr(error.text, words))
        fail_msg("status %d, \"%s\" does not speak of \"%s\"", status, error.text, words);
    assert_null(tokenizer);
}

static void test_bad_files(void **state)
{
    (void)state;
    const char *good = "{\"a\": 0, \"b\": 1, \"ab\": 2}";
    expect_open_error(NULL, "", NULL, "vocab.json");
    expect_open_error("[1, 2]", "", NULL, "vocab.json");
    expect_open_error("{}", "", NULL, "no tokens");
    expect_open_error("{\"a\": 0, \"b\": 0}", "", NULL, "two tokens have the id 0");
    expect_open_error("{\"a\": -1}", "", NULL, "\"a\"");
    expect_open_error("{\"a\": 1.5}", "", NULL, "\"a\"");
    expect_open_error("{\"a\": \"0\"}", "", NULL, "\"a\"");
    expect_open_error("{\"a\": 4294967296}", "", NULL, "\"a\"");
    expect_open_error(good, NULL, NULL, "merges.txt");
    expect_open_error(good, "#version: 0.2\na b\nab\n", NULL, "line 3");
    expect_open_error(good, "a b\na b c\n", NULL, "line 2");
    expect_open_error(good, "a  b\n", NULL, "line 1");
    expect_open_error(good, "a b\n\na b\n", NULL, "line 2");
    expect_open_error(good, "b a\n", NULL, "\"ba\" is not in the vocabulary");
    expect_open_error(good, "a \xff\n", NULL, "UTF-8");
    expect_open_error(good, "a b\n", "{\"pad_token\": 7}", "tokenizer_config.json");
    expect_open_error(good, "a b\n", "{\"pad_token\": \"\"}", "pad_token");
    expect_open_error(good, "a b\n", "{\"pad_token\": {\"content\": 7}}", "content");
    expect_open_error(good, "a b\n", "{", "tokenizer_config.json");
}

static mm_status open_and_encode(const char *path)
{
    mm_tokenizer *tokenizer = NULL;
    int64_t ids[context];
    mm_error error = {0};
    mm_status status = mm_tokenizer_open(&tokenizer, path, &error);
    if (status == MM_OK)
        status = mm_tokenizer_encode(tokenizer, "cafe\u0301 <new> <|endoftext|> the dogs", context,
                                     ids, NULL, &error);
    mm_tokenizer_close(&tokenizer);
    assert_true(status == MM_OK || error.text[0] != '\0');
    return status;
}

static void sweep(const char *name, bool forever)
{
    char *path = fixture(name);
    mm_status status = MM_ERR_MEMORY;
    uint64_t countdown = 1;
    for (; status != MM_OK && countdown < 20000; countdown++) {
        mm_memory_fail_after(countdown, forever);
        status = open_and_encode(path);
        mm_memory_fail_after(0, false);
        assert_true(status == MM_OK || status == MM_ERR_MEMORY);
    }
    assert_int_equal(status, MM_OK);
    assert_true(countdown > 50);
    mm_free(path);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    sweep("added", false);
    sweep("added", true);
    sweep("whole_file", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_equal_the_reference),
        cmocka_unit_test(test_truncation_counts_what_is_left_out),
        cmocka_unit_test(test_bad_prompts),
        cmocka_unit_test(test_token_texts),
        cmocka_unit_test(test_a_prompt_of_a_megabyte),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

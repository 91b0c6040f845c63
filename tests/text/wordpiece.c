/* SPDX-License-Identifier: BSD-2-Clause */
/* WordPiece ids against those of transformers' BertTokenizer, and bad vocabularies. */
#include "check.h"

#include "base/file.h"
#include "base/json.h"
#include "text/wordpiece.h"

#define VOCABULARY FIXTURES "/image-reward/vocab.txt"

static mm_error error;
static mm_wordpiece *tokenizer;

static int open_tokenizer(void **state)
{
    (void)state;
    static const char *const added[] = {"[DEC]", "[ENC]", NULL};
    return mm_wordpiece_open(&tokenizer, VOCABULARY, added, &error);
}

static int close_tokenizer(void **state)
{
    (void)state;
    mm_wordpiece_close(&tokenizer);
    return 0;
}

static size_t encode(const char *text, int64_t *ids, bool *truncated)
{
    size_t count = 0;
    if (mm_wordpiece_encode(tokenizer, text, 35, ids, &count, truncated, &error) != MM_OK)
        fail_msg("%s", error.text);
    return count;
}

static bool same_ids(const mm_json *want, const int64_t *ids, size_t count)
{
    bool same = mm_json_count(want) == count;
    for (size_t i = 0; same && i < count; i++) {
        int64_t id = -1;
        same = mm_json_whole(mm_json_item(want, i), &id) && id == ids[i];
    }
    return same;
}

static void test_ids_of_hard_prompts(void **state)
{
    (void)state;
    mm_json_document cases;
    int64_t ids[35];
    size_t wrong = 0, count = 0;
    assert_int_equal(mm_json_load(&cases, FIXTURES "/wordpiece.json", &error), MM_OK);
    for (const mm_json *c = mm_json_first(cases.root); c; c = mm_json_next(c), count++) {
        const char *prompt = mm_json_text(mm_json_member(c, "prompt"));
        size_t have = encode(prompt, ids, NULL);
        if (!same_ids(mm_json_member(c, "ids"), ids, have)) {
            print_error("prompt %zu: \"%s\"\n", count, prompt);
            wrong++;
        }
    }
    mm_json_free(&cases);
    assert_true(count > 40);
    assert_int_equal(wrong, 0);
}

static void test_truncation_is_told(void **state)
{
    (void)state;
    int64_t ids[35];
    bool truncated = true;
    char text[200] = "";
    for (int i = 0; i < 33; i++)
        strcat(text, "dog ");
    assert_int_equal(encode(text, ids, &truncated), 35);
    assert_false(truncated);
    strcat(text, "dog");
    assert_int_equal(encode(text, ids, &truncated), 35);
    assert_true(truncated);
    assert_int_equal(encode("dog", ids, &truncated), 3);
    assert_false(truncated);
}

/* A megabyte is not tokenized to its end. */
static void test_long_text(void **state)
{
    (void)state;
    int64_t ids[35];
    size_t bytes = 1 << 20;
    char *text = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        text[i] = "snow "[i % 5];
    text[bytes] = '\0';
    assert_int_equal(encode(text, ids, NULL), 35);
    free(text);
}

static void test_not_utf8(void **state)
{
    (void)state;
    int64_t ids[35];
    size_t count;
    assert_int_equal(mm_wordpiece_encode(tokenizer, "dog \xff", 35, ids, &count, NULL, &error),
                     MM_ERR_USAGE);
}

static void expect_refused(const char *content, size_t bytes, const char *part)
{
    char *directory = check_directory(), *path = mm_format("%s/vocab.txt", directory);
    mm_wordpiece *none = NULL;
    assert_int_equal(mm_output_file_write_all(path, content, bytes, &error), MM_OK);
    assert_int_equal(mm_wordpiece_open(&none, path, NULL, &error), MM_ERR_INPUT);
    if (!strstr(error.text, part))
        fail_msg("'%s' lacks '%s'", error.text, part);
    assert_null(none);
    mm_free(path);
    check_remove(directory);
}

static void test_bad_vocabularies(void **state)
{
    (void)state;
    expect_refused("", 0, "lines");
    expect_refused("[PAD]\n[UNK]\n[CLS]\n", 18, "[SEP]");
    expect_refused("[PAD]\n\xff\n", 8, "UTF-8");
    expect_refused("{\"a\": 1}", 8, "[PAD]");
}

static void test_line_ends_and_repeated_tokens(void **state)
{
    (void)state;
    static const char content[] = "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\ndog\r\ncat\r\ndog";
    char *directory = check_directory(), *path = mm_format("%s/vocab.txt", directory);
    mm_wordpiece *own = NULL;
    int64_t ids[8];
    size_t count;
    assert_int_equal(mm_output_file_write_all(path, content, sizeof(content) - 1, &error), MM_OK);
    assert_int_equal(mm_wordpiece_open(&own, path, NULL, &error), MM_OK);
    assert_int_equal(mm_wordpiece_vocabulary(own), 7);
    assert_int_equal(mm_wordpiece_encode(own, "cat dog", 8, ids, &count, NULL, &error), MM_OK);
    assert_int_equal(count, 4);
    assert_int_equal(ids[1], 5);
    assert_int_equal(ids[2], 6);
    mm_wordpiece_close(&own);
    mm_free(path);
    check_remove(directory);
}

/* As Unicode decomposes it; some tokenizers' tables lack this character. */
static void test_decomposition(void **state)
{
    (void)state;
    static const char content[] =
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n\xf0\x91\xa4\xb5\n##\xf0\x91\xa4\xb0";
    char *directory = check_directory(), *path = mm_format("%s/vocab.txt", directory);
    mm_wordpiece *own = NULL;
    int64_t ids[8];
    size_t count;
    assert_int_equal(mm_output_file_write_all(path, content, sizeof(content) - 1, &error), MM_OK);
    assert_int_equal(mm_wordpiece_open(&own, path, NULL, &error), MM_OK);
    assert_int_equal(mm_wordpiece_encode(own, "\xf0\x91\xa4\xb8", 8, ids, &count, NULL, &error),
                     MM_OK);
    assert_int_equal(count, 4);
    assert_int_equal(ids[1], 4);
    assert_int_equal(ids[2], 5);
    mm_wordpiece_close(&own);
    mm_free(path);
    check_remove(directory);
}

static void test_without_memory(void **state)
{
    (void)state;
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK; n++) {
        int64_t ids[35];
        size_t count;
        mm_wordpiece *own = NULL;
        mm_memory_fail_after(n, false);
        status = mm_wordpiece_open(&own, VOCABULARY, NULL, &error);
        if (status == MM_OK)
            status = mm_wordpiece_encode(own, "a caf\xc3\xa9", 35, ids, &count, NULL, &error);
        mm_memory_fail_after(0, false);
        assert_true(status == MM_OK || status == MM_ERR_MEMORY);
        mm_wordpiece_close(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_hard_prompts),
        cmocka_unit_test(test_truncation_is_told),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_bad_vocabularies),
        cmocka_unit_test(test_line_ends_and_repeated_tokens),
        cmocka_unit_test(test_decomposition),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}

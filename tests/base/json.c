/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "base/json.h"
#include "base/memory.h"

static const char sample[] =
    "{\"layers\": 2, \"eps\": 1e-5, \"name\": \"\\u00e4\\ud83d\\ude00\\n\","
    " \"flag\": true, \"none\": null, \"list\": [320, 640, 1280],"
    " \"half\": 1.5, \"huge\": 1e400, \"large\": 9007199254740993}";

static mm_json_document parse(const char *text)
{
    mm_json_document document;
    mm_error error = {0};
    if (mm_json_parse(&document, "sample.json", text, strlen(text), &error) != MM_OK)
        fail_msg("%s", error.text);
    return document;
}

static void test_values(void **state)
{
    (void)state;
    mm_json_document d = parse(sample);
    mm_error error = {0};
    int64_t whole, list[3];
    size_t count = 7;
    double number;
    bool flag;
    const char *text;
    assert_int_equal(mm_json_get_int(&d, d.root, "layers", 0, 1, 9, &whole, &error), MM_OK);
    assert_int_equal(whole, 2);
    assert_int_equal(mm_json_get_int(&d, d.root, "absent", 5, 1, 9, &whole, &error), MM_OK);
    assert_int_equal(whole, 5);
    assert_int_equal(mm_json_get_int(&d, d.root, "none", 6, 1, 9, &whole, &error), MM_OK);
    assert_int_equal(whole, 6);
    assert_int_equal(mm_json_get_double(&d, d.root, "eps", 0, 0, 1, &number, &error), MM_OK);
    assert_true(number == 1e-5);
    assert_int_equal(mm_json_get_bool(&d, d.root, "flag", false, &flag, &error), MM_OK);
    assert_true(flag);
    assert_int_equal(mm_json_get_string(&d, d.root, "name", NULL, &text, &error), MM_OK);
    assert_string_equal(text, "\xc3\xa4\xf0\x9f\x98\x80\n");
    assert_int_equal(mm_json_get_ints(&d, d.root, "list", 1, 2000, 3, list, &count, &error), MM_OK);
    assert_int_equal(count, 3);
    assert_int_equal(list[2], 1280);
    mm_json_free(&d);
}

static void test_wrong_values(void **state)
{
    (void)state;
    mm_json_document d = parse(sample);
    mm_error error = {0};
    int64_t whole, list[3];
    size_t count = 7;
    double number;
    bool flag;
    const char *text;
    static const char *const no_int[] = {"eps", "name", "flag", "list", "half", "huge", "large"};
    for (size_t i = 0; i < sizeof(no_int) / sizeof(no_int[0]); i++) {
        error.text[0] = '\0';
        assert_int_equal(mm_json_get_int(&d, d.root, no_int[i], 0, -9, INT64_MAX, &whole, &error),
                         MM_ERR_INPUT);
        assert_non_null(strstr(error.text, no_int[i]));
        assert_non_null(strstr(error.text, "sample.json"));
    }
    assert_int_equal(mm_json_get_int(&d, d.root, "layers", 0, 3, 9, &whole, &error), MM_ERR_INPUT);
    assert_int_equal(mm_json_get_double(&d, d.root, "huge", 0, 0, 1, &number, &error),
                     MM_ERR_INPUT);
    assert_int_equal(mm_json_get_double(&d, d.root, "half", 0, 0, 1, &number, &error),
                     MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "1.5"));
    assert_int_equal(mm_json_get_bool(&d, d.root, "layers", false, &flag, &error), MM_ERR_INPUT);
    assert_int_equal(mm_json_get_string(&d, d.root, "layers", NULL, &text, &error), MM_ERR_INPUT);
    assert_int_equal(mm_json_get_ints(&d, d.root, "list", 1, 999, 3, list, &count, &error),
                     MM_ERR_INPUT);
    assert_int_equal(mm_json_get_ints(&d, d.root, "list", 1, 9999, 2, list, &count, &error),
                     MM_ERR_INPUT);
    assert_int_equal(mm_json_get_ints(&d, d.root, "layers", 1, 9999, 2, list, &count, &error),
                     MM_ERR_INPUT);
    mm_json_free(&d);
}

static void test_walking(void **state)
{
    (void)state;
    mm_json_document d = parse("{\"a\": [1, 2, 3], \"b\": {}}");
    const mm_json *list = mm_json_member(d.root, "a"), *item = mm_json_first(list);
    assert_int_equal(mm_json_count(d.root), 2);
    assert_int_equal(mm_json_count(list), 3);
    for (size_t i = 0; i < 3; i++, item = mm_json_next(item)) {
        int64_t whole;
        assert_ptr_equal(item, mm_json_item(list, i));
        assert_true(mm_json_whole(item, &whole) && whole == (int64_t)i + 1);
    }
    assert_null(item);
    assert_null(mm_json_item(list, 3));
    assert_string_equal(mm_json_key(mm_json_next(mm_json_first(d.root))), "b");
    assert_null(mm_json_first(mm_json_member(d.root, "b")));
    assert_null(mm_json_member(list, "a"));
    assert_null(mm_json_member(d.root, "A"));
    mm_json_free(&d);
}

static void test_no_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "[1] 2",
        "[1]x",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "nul",
        "True",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\t\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "\xef\xbb\xbf{}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"x\":{\"a\":1,\"a\":1}}]",
        "// comment\n1",
        "[1]/* */",
        "1000000000000000000000000000000000000000000000000000000000000000000000",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mm_json_document d;
        mm_error error = {0};
        if (mm_json_parse(&d, "bad.json", bad[i], strlen(bad[i]), &error) != MM_ERR_INPUT)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(error.text, "bad.json"));
        assert_null(d.root);
    }
    mm_json_document d;
    mm_error error;
    assert_int_equal(mm_json_parse(&d, "bad.json", "[1]\0", 4, &error), MM_ERR_INPUT);
}

static void test_depth(void **state)
{
    (void)state;
    enum { MOST = 64, LARGE = MM_JSON_LIMIT + 1 };
    static char text[LARGE];
    mm_json_document d;
    mm_error error;
    memset(text, '[', MOST + 1);
    memset(text + MOST, ']', MOST);
    assert_int_equal(mm_json_parse(&d, "deep", text, 2 * MOST, &error), MM_OK);
    mm_json_free(&d);
    memset(text, '[', LARGE);
    assert_int_equal(mm_json_parse(&d, "deep", text, LARGE - 1, &error), MM_ERR_INPUT);
    assert_int_equal(mm_json_parse(&d, "large", text, LARGE, &error), MM_ERR_INPUT);
}

static void put_sample(mm_json_writer *writer)
{
    mm_json_begin(writer, NULL, '{');
    mm_json_put_string(writer, "text", "\"\\/\b\f\n\r\t\x01\x1f\x7f \xc3\xa4 \xff");
    mm_json_put_int(writer, "whole", INT64_MIN);
    mm_json_put_double(writer, "number", 0.1);
    mm_json_put_double(writer, "infinite", 1e300 * 1e300);
    mm_json_begin(writer, "list", '[');
    mm_json_put_bool(writer, NULL, true);
    mm_json_put_null(writer, NULL);
    mm_json_begin(writer, NULL, '{');
    mm_json_end(writer, '}');
    mm_json_end(writer, ']');
    mm_json_end(writer, '}');
}

static void test_writing(void **state)
{
    (void)state;
    mm_json_writer plain = {0}, pretty = {.pretty = true};
    put_sample(&plain);
    put_sample(&pretty);
    assert_string_equal(plain.text,
                        "{\"text\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \xc3\xa4 \\ufffd\","
                        "\"whole\":-9223372036854775808,\"number\":0.1,\"infinite\":null,"
                        "\"list\":[true,null,{}]}");
    assert_int_equal(plain.bytes, strlen(plain.text));
    assert_non_null(strstr(pretty.text, "\n  \"list\": [\n    true,\n    null,\n    {}\n  ]\n}"));
    mm_json_document d = parse(pretty.text);
    mm_json_free(&d);
    mm_free(plain.text);
    mm_free(pretty.text);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK; n++) {
        mm_json_document d;
        mm_error error = {0};
        mm_memory_fail_after(n, false);
        status = mm_json_parse(&d, "sample", sample, sizeof(sample) - 1, &error);
        mm_memory_fail_after(0, false);
        assert_true(status == MM_OK || (status == MM_ERR_MEMORY && !d.root && error.text[0]));
        mm_json_free(&d);
        assert_true(n < 100);
    }
    mm_json_writer writer = {0};
    mm_memory_fail_after(1, false);
    put_sample(&writer);
    mm_memory_fail_after(0, false);
    assert_true(writer.failed);
    mm_free(writer.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_walking),
        cmocka_unit_test(test_no_json),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of the safetensors format, each with a file that keeps it and files that break it. */
#include "hostile.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define ENTRY(dtype, shape, offsets) \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define F32_PAIR ENTRY("F32", "[2]", "[0,8]")

typedef struct header_case {
    const char *label, *header;
    size_t data_bytes;
    mm_status expected;
} header_case;

static const header_case headers[] = {
    {"good", "{\"a\":" F32_PAIR "}", 8, MM_OK},
    {"no tensors", "{}", 0, MM_OK},
    {"metadata", "{\"__metadata__\":{\"k\":\"v\"},\"a\":" F32_PAIR "}", 8, MM_OK},
    {"empty metadata", "{\"__metadata__\":{},\"a\":" F32_PAIR "}", 8, MM_OK},
    {"scalar", "{\"a\":" ENTRY("F32", "[]", "[0,4]") "}", 4, MM_OK},
    {"trailing blanks", "{\"a\":" F32_PAIR "}   \t\n\r ", 8, MM_OK},
    {"leading blanks", " \n{ \"a\" : " F32_PAIR " }", 8, MM_OK},
    {"shuffled", "{\"b\":" ENTRY("F32", "[1]", "[4,8]") ",\"a\":" ENTRY("F32", "[1]", "[0,4]") "}",
     8, MM_OK},
    {"shuffled fields", "{\"a\":{\"data_offsets\":[0,8],\"shape\":[2],\"dtype\":\"F32\"}}", 8,
     MM_OK},
    {"empty tensor", "{\"a\":" ENTRY("F32", "[0,3]", "[0,0]") "}", 0, MM_OK},
    {"escapes", "{\"\\u00e4\\ud83d\\ude00\\n\":" F32_PAIR "}", 8, MM_OK},
    {"odd names", "{\"../%n\\n/x\":" F32_PAIR "}", 8, MM_OK},
    {"list", "[]", 0, MM_ERR_INPUT},
    {"null", "null", 0, MM_ERR_INPUT},
    {"number", "1", 0, MM_ERR_INPUT},
    {"brace alone", "{", 0, MM_ERR_INPUT},
    {"no header", "", 0, MM_ERR_INPUT},
    {"trailing text", "{\"a\":" F32_PAIR "}x", 8, MM_ERR_INPUT},
    {"two values", "{}{}", 0, MM_ERR_INPUT},
    {"0xFF", "{\"\xff\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"overlong", "{\"\xc0\xaf\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"surrogate", "{\"\xed\xa0\x80\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"escaped surrogate", "{\"\\ud800\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"escaped low surrogate", "{\"\\udc00\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"half a pair", "{\"\\ud83d\\u0041\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"escaped NUL", "{\"a\\u0000b\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"bad escape", "{\"\\x41\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"cut escape", "{\"\\u00", 0, MM_ERR_INPUT},
    {"escape at the end", "{\"\\", 0, MM_ERR_INPUT},
    {"control character", "{\"a\nb\":" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"twice", "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"a\":" ENTRY("F32", "[1]", "[4,8]") "}", 8,
     MM_ERR_INPUT},
    {"twice, empty",
     "{\"a\":" ENTRY("F32", "[0]", "[0,0]") ",\"a\":" ENTRY("F32", "[0,1]", "[0,0]") "}", 0,
     MM_ERR_INPUT},
    {"twice by escape",
     "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"\\u0061\":" ENTRY("F32", "[1]", "[4,8]") "}", 8,
     MM_ERR_INPUT},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, MM_ERR_INPUT},
    {"metadata key twice", "{\"__metadata__\":{\"k\":\"v\",\"k\":\"w\"}}", 0, MM_ERR_INPUT},
    {"metadata number", "{\"__metadata__\":{\"k\":1}}", 0, MM_ERR_INPUT},
    {"metadata list", "{\"__metadata__\":[]}", 0, MM_ERR_INPUT},
    {"begin after end", "{\"a\":" ENTRY("F32", "[2]", "[8,0]") "}", 8, MM_ERR_INPUT},
    {"negative offset", "{\"a\":" ENTRY("F32", "[2]", "[-0,8]") "}", 8, MM_ERR_INPUT},
    {"fraction", "{\"a\":" ENTRY("F32", "[2]", "[0,8.0]") "}", 8, MM_ERR_INPUT},
    {"exponent", "{\"a\":" ENTRY("F32", "[2]", "[0,8e0]") "}", 8, MM_ERR_INPUT},
    {"1e400", "{\"a\":" ENTRY("F32", "[2]", "[0,1e400]") "}", 8, MM_ERR_INPUT},
    {"NaN", "{\"a\":" ENTRY("F32", "[2]", "[0,NaN]") "}", 8, MM_ERR_INPUT},
    {"leading zero", "{\"a\":" ENTRY("F32", "[2]", "[0,08]") "}", 8, MM_ERR_INPUT},
    {"2^53 + 1", "{\"a\":" ENTRY("F32", "[2]", "[0,9007199254740993]") "}", 8, MM_ERR_INPUT},
    {"2^63", "{\"a\":" ENTRY("F32", "[2]", "[0,9223372036854775808]") "}", 8, MM_ERR_INPUT},
    {"2^64", "{\"a\":" ENTRY("F32", "[2]", "[0,18446744073709551616]") "}", 8, MM_ERR_INPUT},
    {"both 2^64 - 8",
     "{\"a\":" ENTRY("F32", "[2]", "[18446744073709551608,18446744073709551616]") "}", 8,
     MM_ERR_INPUT},
    {"past the end", "{\"a\":" ENTRY("F32", "[4]", "[0,16]") "}", 8, MM_ERR_INPUT},
    {"overlap", "{\"a\":" ENTRY("F32", "[2]", "[0,8]") ",\"b\":" ENTRY("F32", "[2]", "[4,12]") "}",
     12, MM_ERR_INPUT},
    {"hole", "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"b\":" ENTRY("F32", "[1]", "[5,9]") "}", 9,
     MM_ERR_INPUT},
    {"same range",
     "{\"a\":" ENTRY("F32", "[2]", "[0,8]") ",\"b\":" ENTRY("F32", "[2]", "[0,8]") "}", 8,
     MM_ERR_INPUT},
    {"a byte more", "{\"a\":" F32_PAIR "}", 9, MM_ERR_INPUT},
    {"a byte less", "{\"a\":" F32_PAIR "}", 7, MM_ERR_INPUT},
    {"first not at 0", "{\"a\":" ENTRY("F32", "[1]", "[4,8]") "}", 8, MM_ERR_INPUT},
    {"elements wrap", "{\"a\":" ENTRY("U8", "[2,18446744073709551614]", "[0,8]") "}", 8,
     MM_ERR_INPUT},
    {"elements wrap to the size", "{\"a\":" ENTRY("F32", "[4294967296,4294967296,2]", "[0,8]") "}",
     8, MM_ERR_INPUT},
    {"bytes wrap", "{\"a\":" ENTRY("F32", "[4611686018427387906]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"0 and 2^63", "{\"a\":" ENTRY("F32", "[0,9223372036854775808]", "[0,0]") "}", 0, MM_ERR_INPUT},
    {"negative dimension", "{\"a\":" ENTRY("F32", "[-2]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"two negative dimensions", "{\"a\":" ENTRY("F32", "[-2,-1]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"float dimension", "{\"a\":" ENTRY("F32", "[2.0]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"text dimension", "{\"a\":" ENTRY("F32", "[\"2\"]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"rank 9", "{\"a\":" ENTRY("F32", "[2,1,1,1,1,1,1,1,1]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"wrong size", "{\"a\":" ENTRY("F32", "[3]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"unknown dtype", "{\"a\":" ENTRY("F31", "[2]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"lower case dtype", "{\"a\":" ENTRY("f32", "[2]", "[0,8]") "}", 8, MM_ERR_INPUT},
    {"dtype F4", "{\"a\":" ENTRY("F4", "[3]", "[0,1]") "}", 1, MM_ERR_UNSUPPORTED},
    {"dtype BOOL", "{\"a\":" ENTRY("BOOL", "[3]", "[0,3]") "}", 3, MM_ERR_UNSUPPORTED},
    {"one offset", "{\"a\":" ENTRY("F32", "[2]", "[0]") "}", 8, MM_ERR_INPUT},
    {"three offsets", "{\"a\":" ENTRY("F32", "[2]", "[0,8,8]") "}", 8, MM_ERR_INPUT},
    {"no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, MM_ERR_INPUT},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, MM_ERR_INPUT},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, MM_ERR_INPUT},
    {"no fields", "{\"a\":{}}", 8, MM_ERR_INPUT},
    {"field more", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
     MM_ERR_INPUT},
    {"field twice",
     "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     MM_ERR_INPUT},
    {"comma at the end", "{\"a\":" F32_PAIR ",}", 8, MM_ERR_INPUT},
    {"no colon", "{\"a\"" F32_PAIR "}", 8, MM_ERR_INPUT},
    {"single quotes", "{'a':" F32_PAIR "}", 8, MM_ERR_INPUT},
};

static void put_file(bytes *b, const char *header, size_t header_bytes, size_t data_bytes)
{
    put_number(b, header_bytes, 8);
    put(b, header, header_bytes);
    put_filler(b, 0, data_bytes);
}

static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        bytes file = {0};
        put_file(&file, headers[i].header, strlen(headers[i].header), headers[i].data_bytes);
        expect_status(headers[i].label, &file, headers[i].expected);
        free_bytes(&file);
    }
}

/* The length field: every value but the true one is wrong. */
static void test_lengths(void **state)
{
    (void)state;
    static const char header[] = "{\"a\":" F32_PAIR "}";
    const uint64_t true_length = sizeof(header) - 1;
    const uint64_t lengths[] = {0,          1,          true_length - 1, true_length + 1,
                                UINT64_MAX, 1ull << 63, UINT64_MAX - 7,  true_length + 8 + 1,
                                100000001};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        bytes file = {0};
        put_number(&file, lengths[i], 8);
        put_text(&file, header);
        put_filler(&file, 0, 8);
        expect_status("header length", &file, MM_ERR_INPUT);
        free_bytes(&file);
    }
}

/* Cut anywhere, or with anything after it, a file is an error. */
static void test_truncation(void **state)
{
    (void)state;
    bytes file = {0};
    static const char header[] = "{\"__metadata__\":{\"k\":\"v\"},\"a\":" F32_PAIR "}";
    put_file(&file, header, sizeof(header) - 1, 8);
    const size_t whole = file.count;
    expect_status("whole", &file, MM_OK);
    for (file.count = 0; file.count < whole; file.count++)
        expect_status("cut", &file, MM_ERR_INPUT);
    put_text(&file, "PK\5\6");
    expect_status("archive appended", &file, MM_ERR_INPUT);
    free_bytes(&file);
}

/* Each byte replaced by a few others: never a crash, and a message when it is refused. */
static void test_flipped_bytes(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"k\":\"\\u00e4\"},\"a\":" F32_PAIR "}";
    static const unsigned char others[] = {0, '"', '\\', '{', '}', '9', 0x80, 0xff};
    bytes file = {0};
    put_file(&file, header, sizeof(header) - 1, 8);
    for (size_t i = 0; i < file.count - 8; i++) {
        unsigned char was = file.data[i];
        for (size_t k = 0; k < sizeof(others); k++) {
            mm_tensor_file *opened = NULL;
            mm_error error = {0};
            file.data[i] = others[k];
            mm_status status = mm_tensor_file_open(&opened, in_memory(&file), &error);
            assert_true(status == MM_OK || (error.text[0] && !opened));
            mm_tensor_file_close(&opened);
        }
        file.data[i] = was;
    }
    free_bytes(&file);
}

static void test_nul_in_header(void **state)
{
    (void)state;
    bytes file = {0};
    put_file(&file, "{}\0\0", 4, 0);
    expect_status("NUL after the header", &file, MM_ERR_INPUT);
    free_bytes(&file);
    put_file(&file, "{\"a\0b\":" F32_PAIR "}", sizeof("{\"a\0b\":" F32_PAIR "}") - 1, 8);
    expect_status("NUL in a name", &file, MM_ERR_INPUT);
    free_bytes(&file);
}

/* A megabyte of header: time and memory stay in proportion. */
static void test_large_headers(void **state)
{
    (void)state;
    static const struct {
        const char *label, *start, *repeated, *end;
    } cases[] = {
        {"depth", "{\"a\":", "[", ""},
        {"objects", "{\"a\":", "{\"dtype\":", ""},
        {"long rank", "{\"a\":{\"shape\":[1", ",1", "]}}"},
        {"long number", "{\"a\":{\"shape\":[1", "0", "]}}"},
        {"long name", "{\"", "n", "\":" F32_PAIR "}x"},
        {"blanks", "{", " ", "x"},
        {"same names", "{\"a\":" F32_PAIR, ",\"a\":" ENTRY("F32", "[0]", "[8,8]"), "}"},
        {"metadata", "{\"__metadata__\":{\"a\":\"\"", ",\"a\":\"\"", "}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bytes header = {0}, file = {0};
        put_text(&header, cases[i].start);
        while (header.count < 1000000)
            put_text(&header, cases[i].repeated);
        put_text(&header, cases[i].end);
        put_file(&file, (const char *)header.data, header.count, 8);
        expect_status(cases[i].label, &file, MM_ERR_INPUT);
        free_bytes(&header);
        free_bytes(&file);
    }
}

/* Many tensors are fine, and found. */
static void test_many_tensors(void **state)
{
    (void)state;
    bytes header = {0}, file = {0};
    for (int i = 0; i < 15000; i++) {
        char entry[128];
        snprintf(entry, sizeof(entry), "%c\"t%d\":" ENTRY("F32", "[0]", "[0,0]"), i ? ',' : '{', i);
        put_text(&header, entry);
    }
    put_text(&header, "}");
    put_file(&file, (const char *)header.data, header.count, 0);
    const char *path = scratch_path("many");
    write_scratch(path, &file);
    mm_tensor_file *opened;
    mm_error error;
    assert_int_equal(mm_tensor_file_open(&opened, path, &error), MM_OK);
    assert_int_equal(mm_tensor_file_count(opened), 15000);
    for (int i = 0; i < 15000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%d", i);
        int64_t index = mm_tensor_file_find(opened, name);
        assert_true(index >= 0);
        assert_string_equal(mm_tensor_file_info(opened, (size_t)index)->name, name);
    }
    assert_int_equal(mm_tensor_file_find(opened, "t15000"), -1);
    mm_tensor_file_close(&opened);
    free_bytes(&header);
    free_bytes(&file);
}

/* A sparse file of 5 GiB: a header beyond the limit is refused unread, offsets past 4 GiB work. */
static void test_large_files(void **state)
{
    (void)state;
    bytes file = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s", scratch_path("large"));
    put_number(&file, 100000001, 8);
    write_scratch(path, &file);
    assert_int_equal(truncate(path, 200000000), 0);
    expect_path_status("header over the limit", path, MM_ERR_INPUT);
    free_bytes(&file);
    static const char header[] =
        "{\"a\":" ENTRY("U8", "[5000000000]", "[0,5000000000]") ",\"b\":" ENTRY(
            "F32", "[1]", "[5000000000,5000000004]") "}";
    put_file(&file, header, sizeof(header) - 1, 0);
    const off_t data = (off_t)file.count;
    write_scratch(path, &file);
    free_bytes(&file);
    if (truncate(path, data + 5000000004) != 0)
        skip(); /* a file system without such sizes */
    mm_tensor_file *opened;
    mm_error error;
    float value = 1;
    assert_int_equal(mm_tensor_file_open(&opened, path, &error), MM_OK);
    assert_int_equal(mm_tensor_file_read_f32(opened, 1, 0, 1, &value, &error), MM_OK);
    assert_true(value == 0);
    mm_tensor_file_close(&opened);
}

static void test_paths(void **state)
{
    (void)state;
    char path[512];
    expect_path_status("missing", scratch_path("missing"), MM_ERR_INPUT);
    expect_path_status("directory", scratch_path(""), MM_ERR_INPUT);
    expect_path_status("device", "/dev/zero", MM_ERR_INPUT);
    snprintf(path, sizeof(path), "%s", scratch_path("fifo"));
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_path_status("FIFO", path, MM_ERR_INPUT);
    snprintf(path, sizeof(path), "%s", scratch_path("loop"));
    assert_int_equal(symlink("loop", path), 0);
    expect_path_status("symbolic link to itself", path, MM_ERR_INPUT);
}

/* Other files under a tensor file's name are named for what they are. */
static void test_foreign_files(void **state)
{
    (void)state;
    static const struct {
        const char *label, *start, *message;
        size_t start_bytes;
        mm_status expected;
    } cases[] = {
        {"LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         "git lfs pull", 0, MM_ERR_INPUT},
        {"text", "This is a text, not a file of weights.\n", "neither", 0, MM_ERR_INPUT},
        {"before 1.6", "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "1.6", 0,
         MM_ERR_UNSUPPORTED},
        {"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00", "gzip", 8, MM_ERR_UNSUPPORTED},
        {"7z", "7z\xbc\xaf\x27\x1c\x00\x04", "7z", 8, MM_ERR_UNSUPPORTED},
        {"GGUF", "GGUF\x03\x00\x00\x00", "GGUF", 8, MM_ERR_UNSUPPORTED},
        {"bare pickle", "\x80\x04\x95\x10\x01\x02\x03\x04\x05", "pickle", 9, MM_ERR_UNSUPPORTED},
        {"config", "{\"model_type\": \"clip\"}", "weight_map", 0, MM_ERR_INPUT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bytes file = {0};
        size_t length = cases[i].start_bytes ? cases[i].start_bytes : strlen(cases[i].start);
        put(&file, cases[i].start, length);
        expect_status(cases[i].label, &file, cases[i].expected);
        mm_tensor_file *opened;
        mm_error error;
        mm_tensor_file_open(&opened, in_memory(&file), &error);
        if (!strstr(error.text, cases[i].message))
            fail_msg("%s: '%s' does not say '%s'", cases[i].label, error.text, cases[i].message);
        free_bytes(&file);
    }
}

static void test_memory(void **state)
{
    (void)state;
    expect_peak_below((size_t)64 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),       cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_truncation),    cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_nul_in_header), cmocka_unit_test(test_large_headers),
        cmocka_unit_test(test_many_tensors),  cmocka_unit_test(test_large_files),
        cmocka_unit_test(test_paths),         cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup_scratch, remove_scratch);
}

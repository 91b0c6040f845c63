/* SPDX-License-Identifier: BSD-2-Clause */
/* Files written by torch and safetensors read right, and ours come back as they were written. */
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

static mm_tensor_file *open_fixture(const char *name)
{
    char path[512];
    mm_tensor_file *file;
    mm_error error = {0};
    snprintf(path, sizeof(path), "%s/%s", FIXTURES "/weights", name);
    if (mm_tensor_file_open(&file, path, &error) != MM_OK)
        fail_msg("%s", error.text);
    return file;
}

static bool holds_whole_numbers(mm_dtype dtype)
{
    return dtype == MM_I32 || dtype == MM_I64 || dtype == MM_U8;
}

/* Elements first .. first + count - 1 of a ramp: i / 2 - 3, or i. */
static void check_range(const mm_tensor_file *file, size_t index, int64_t first, int64_t count)
{
    const mm_tensor_info *info = mm_tensor_file_info(file, index);
    mm_error error = {0};
    unsigned char raw[1024 * 8];
    float out[1024];
    assert_true(count <= 1024);
    assert_int_equal(mm_tensor_file_read_raw(file, index, first, count, raw, &error), MM_OK);
    if (holds_whole_numbers(info->dtype)) {
        for (int64_t i = 0; i < count; i++) {
            int64_t value = 0;
            memcpy(&value, raw + (size_t)i * mm_dtype_bytes(info->dtype),
                   mm_dtype_bytes(info->dtype));
            assert_int_equal(value, first + i);
        }
        assert_int_equal(mm_tensor_file_read_f32(file, index, first, count, out, &error),
                         MM_ERR_INPUT);
        return;
    }
    if (mm_tensor_file_read_f32(file, index, first, count, out, &error) != MM_OK)
        fail_msg("%s", error.text);
    for (int64_t i = 0; i < count; i++) {
        if (out[i] != (float)(first + i) / 2 - 3)
            fail_msg("%s[%lld] is %g", info->name, (long long)(first + i), (double)out[i]);
    }
    if (info->dtype == MM_F32)
        assert_memory_equal(raw, out, (size_t)count * 4);
}

static void check_ramps(const mm_tensor_file *file)
{
    for (size_t i = 0; i < mm_tensor_file_count(file); i++) {
        int64_t elements = mm_shape_elements(&mm_tensor_file_info(file, i)->shape);
        check_range(file, i, 0, elements);
        for (int64_t first = 0; first < elements; first += 3)
            check_range(file, i, first, elements - first < 7 ? elements - first : 7);
    }
}

static void check_shape(const mm_tensor_file *file, const char *name, mm_dtype dtype,
                        mm_shape shape)
{
    int64_t index = mm_tensor_file_find(file, name);
    if (index < 0)
        fail_msg("no tensor %s", name);
    const mm_tensor_info *info = mm_tensor_file_info(file, (size_t)index);
    assert_string_equal(info->name, name);
    assert_int_equal(info->dtype, dtype);
    assert_true(mm_shape_equal(&info->shape, &shape));
}

static void test_torch_dict(void **state)
{
    (void)state;
    mm_tensor_file *file = open_fixture("mixed.pt");
    assert_int_equal(mm_tensor_file_count(file), 15);
    assert_false(mm_tensor_file_is_list(file));
    check_shape(file, "channels_last", MM_F32, MM_SHAPE(2, 3, 4, 5));
    check_shape(file, "transposed", MM_F32, MM_SHAPE(6, 8));
    check_shape(file, "permuted", MM_F32, MM_SHAPE(2, 3, 4));
    check_shape(file, "every_second", MM_F32, MM_SHAPE(9));
    check_shape(file, "tied.b", MM_F32, MM_SHAPE(3, 7));
    check_shape(file, "half", MM_F16, MM_SHAPE(5, 5));
    check_shape(file, "brain", MM_BF16, MM_SHAPE(5, 5));
    check_shape(file, "double", MM_F64, MM_SHAPE(5, 5));
    check_shape(file, "long", MM_I64, MM_SHAPE(7));
    check_shape(file, "int", MM_I32, MM_SHAPE(7));
    check_shape(file, "scalar", MM_F32, (mm_shape){0});
    check_shape(file, "empty", MM_F32, MM_SHAPE(0, 3));
    assert_int_equal(mm_tensor_file_find(file, "absent"), -1);
    check_ramps(file);
    mm_tensor_file_close(&file);
    assert_null(file);
}

static void test_state_dicts(void **state)
{
    (void)state;
    static const char *const names[] = {"state_dict.pt", "nested.pt", "wrapped.pt"};
    for (int i = 0; i < 3; i++) {
        mm_tensor_file *file = open_fixture(names[i]);
        assert_int_equal(mm_tensor_file_count(file), 2);
        check_shape(file, "weight", MM_F32, MM_SHAPE(4, 3));
        check_shape(file, "bias", MM_F32, MM_SHAPE(4));
        check_ramps(file);
        mm_tensor_file_close(&file);
    }
}

static void test_list(void **state)
{
    (void)state;
    mm_tensor_file *file = open_fixture("list.pt");
    assert_true(mm_tensor_file_is_list(file));
    assert_int_equal(mm_tensor_file_count(file), 2);
    assert_true(mm_shape_equal(&mm_tensor_file_info(file, 0)->shape, &MM_SHAPE(4, 2)));
    assert_true(mm_shape_equal(&mm_tensor_file_info(file, 1)->shape, &MM_SHAPE(2, 3)));
    assert_string_equal(mm_tensor_file_info(file, 1)->name, "");
    assert_int_equal(mm_tensor_file_find(file, ""), -1);
    check_ramps(file);
    mm_tensor_file_close(&file);
}

static void test_cached_latents(void **state)
{
    (void)state;
    mm_tensor_file *file = open_fixture("cached.pt");
    assert_int_equal(mm_tensor_file_count(file), 4);
    check_shape(file, "latents", MM_F16, MM_SHAPE(4, 2, 2, 2));
    check_shape(file, "prompt_ids", MM_I64, MM_SHAPE(77));
    check_ramps(file);
    assert_string_equal(mm_tensor_file_metadata(file, "text_prompt"), "a dog is running");
    assert_string_equal(mm_tensor_file_metadata(file, "dataset"), "video");
    assert_null(mm_tensor_file_metadata(file, "frames"));
    mm_tensor_file_close(&file);
}

static void test_safetensors(void **state)
{
    (void)state;
    mm_tensor_file *file = open_fixture("mixed.safetensors");
    assert_int_equal(mm_tensor_file_count(file), 7);
    check_shape(file, "brain", MM_BF16, MM_SHAPE(5, 5));
    check_shape(file, "scalar", MM_F32, (mm_shape){0});
    check_ramps(file);
    assert_string_equal(mm_tensor_file_metadata(file, "format"), "pt");
    assert_string_equal(mm_tensor_file_metadata(file, "note"), "gr\xc3\xbc\xc3\x9f");
    mm_tensor_file_close(&file);
}

static void test_shards(void **state)
{
    (void)state;
    mm_tensor_file *file = open_fixture("parts.safetensors.index.json");
    assert_int_equal(mm_tensor_file_count(file), 3);
    check_shape(file, "a", MM_F32, MM_SHAPE(2, 2));
    check_shape(file, "c", MM_F32, MM_SHAPE(4));
    check_ramps(file);
    mm_tensor_file_close(&file);
}

static void test_bad_shards(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"weight_map\": {}}",
        "{\"weight_map\": []}",
        "{\"weight_map\": {\"x\": 1}}",
        "{\"weight_map\": {\"x\": \"missing.safetensors\"}}",
        "{\"weight_map\": {\"x\": \"one.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"../one.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"/tmp/one.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"..\"}}",
        "{\"weight_map\": {\"a\": \"\"}}",
        "{\"weight_map\": {\"a\": \"one.safetensors\\u0000\"}}",
        "{\"weight_map\": {\"a\": \"one.safetensors\", \"a\": \"two.safetensors\"}}",
        "{\"weight_map\": {\"a\": \"case\"}}",
        "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}",
        "\xef\xbb\xbf{\"weight_map\": {\"a\": \"one.safetensors\"}}",
    };
    const float value = 1;
    const mm_tensor_entry a = {"a", MM_F32, MM_SHAPE(1), &value};
    const mm_tensor_entry two[] = {a, {"b", MM_F32, MM_SHAPE(1), &value}};
    mm_error error;
    assert_int_equal(mm_safetensors_write(scratch_path("one.safetensors"), &a, 1, NULL, 0, &error),
                     MM_OK);
    assert_int_equal(mm_safetensors_write(scratch_path("two.safetensors"), two, 2, NULL, 0, &error),
                     MM_OK);
    bytes index = {0};
    put_text(&index, "{\"weight_map\": {\"a\": \"one.safetensors\"}}");
    write_scratch(scratch_path("case"), &index);
    expect_path_status("good index", scratch_path("case"), MM_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        free_bytes(&index);
        put_text(&index, bad[i]);
        write_scratch(scratch_path("case"), &index);
        mm_tensor_file *file = NULL;
        if (mm_tensor_file_open(&file, scratch_path("case"), &error) != MM_ERR_INPUT || file)
            fail_msg("accepted: %s", bad[i]);
        assert_true(error.text[0] != '\0');
    }
    free_bytes(&index);
}

static void test_named_reading(void **state)
{
    (void)state;
    mm_tensor_file *file = open_fixture("state_dict.pt");
    mm_error error;
    float out[12];
    assert_int_equal(mm_tensor_file_read_named_f32(file, "weight", &MM_SHAPE(4, 3), out, &error),
                     MM_OK);
    assert_true(out[11] == 2.5f);
    assert_int_equal(mm_tensor_file_read_named_f32(file, "weight", &MM_SHAPE(3, 4), out, &error),
                     MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "[4, 3]"));
    assert_non_null(strstr(error.text, "[3, 4]"));
    assert_int_equal(mm_tensor_file_read_named_f32(file, "wait", &MM_SHAPE(4, 3), out, &error),
                     MM_ERR_INPUT);
    assert_int_equal(mm_tensor_file_read_f32(file, 0, 10, 3, out, &error), MM_ERR_INPUT);
    assert_int_equal(mm_tensor_file_read_f32(file, 0, -1, 1, out, &error), MM_ERR_INPUT);
    assert_int_equal(mm_tensor_file_read_f32(file, 9, 0, 1, out, &error), MM_ERR_INPUT);
    mm_tensor_file_close(&file);
}

/* Strided tensors larger than one slice. */
static void test_large_transposed(void **state)
{
    (void)state;
    enum { ROWS = 300, COLUMNS = 200 };
    float *stored = malloc(sizeof(float) * ROWS * COLUMNS);
    float *out = malloc(sizeof(float) * ROWS * COLUMNS);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++)
            stored[c * ROWS + r] = (float)(r * COLUMNS + c);
    const mm_tensor_entry entry = {"", MM_F32, MM_SHAPE(ROWS, COLUMNS), stored};
    mm_error error = {0};
    char path[512], *content;
    size_t count;
    snprintf(path, sizeof(path), "%s", scratch_path("transposed.pt"));
    assert_int_equal(mm_pickle_list_write(path, &entry, 1, &error), MM_OK);
    assert_int_equal(mm_file_read_all(path, 1 << 20, &content, &count, &error), MM_OK);
    /* The strides of the only tensor, (200, 1), become (1, 300); the checksum is put right. */
    static const char before[] = "(J\xc8\0\0\0J\1\0\0\0t\x89",
                      after[] = "(J\1\0\0\0J\x2c\1\0\0t\x89";
    char *at = memmem(content, count, before, sizeof(before) - 1);
    assert_non_null(at);
    memcpy(at, after, sizeof(after) - 1);
    mm_tensor_file *file;
    bytes changed = {0};
    put(&changed, content, count);
    write_scratch(path, &changed);
    assert_int_equal(mm_tensor_file_open(&file, path, &error), MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "checksum"));
    bytes archive = {0};
    char *pickle = memmem(content, count, "\x80\2](", 4);
    char *end = memmem(content, count, "tRe.", 4);
    assert_true(pickle && end);
    put_archive(&archive, pickle, (size_t)(end + 4 - pickle), sizeof(float) * ROWS * COLUMNS);
    static const char storage_name[] = "a/data/0";
    char *data = memmem(archive.data, archive.count, storage_name, 8);
    memcpy(data + 8, stored, sizeof(float) * ROWS * COLUMNS);
    write_scratch(path, &archive);
    assert_int_equal(mm_tensor_file_open(&file, path, &error), MM_OK);
    for (int64_t first = 0; first < ROWS * COLUMNS; first += 17001) {
        int64_t left = ROWS * COLUMNS - first, part = left < 17001 ? left : 17001;
        assert_int_equal(mm_tensor_file_read_f32(file, 0, first, part, out + first, &error), MM_OK);
    }
    for (int i = 0; i < ROWS * COLUMNS; i++)
        assert_true(out[i] == (float)i);
    mm_tensor_file_close(&file);
    mm_free(content);
    free_bytes(&changed);
    free_bytes(&archive);
    free(stored);
    free(out);
}

static void test_safetensors_round_trip(void **state)
{
    (void)state;
    const float numbers[] = {-3, -2.5f, -2, -1.5f, -1, -0.5f};
    const int64_t wholes[] = {0, 1};
    const unsigned char small[] = {0, 1, 2};
    const mm_tensor_entry forward[] = {
        {"b \"\\\n\xc3\xbc", MM_F32, MM_SHAPE(2, 3), numbers},
        {"a", MM_I64, MM_SHAPE(2), wholes},
        {"c", MM_U8, MM_SHAPE(3), small},
        {"empty", MM_F32, MM_SHAPE(0), numbers},
    };
    const mm_tensor_entry backward[] = {forward[3], forward[2], forward[1], forward[0]};
    const mm_metadata_entry metadata[] = {{"z", "1"}, {"format", "pt"}};
    const mm_metadata_entry reversed[] = {metadata[1], metadata[0]};
    mm_error error = {0};
    char *one, *two;
    size_t one_bytes, two_bytes;
    const char *path = scratch_path("written.safetensors");
    assert_int_equal(mm_safetensors_write(path, forward, 4, metadata, 2, &error), MM_OK);
    assert_int_equal(mm_file_read_all(path, 1 << 16, &one, &one_bytes, &error), MM_OK);
    assert_int_equal(mm_safetensors_write(path, backward, 4, reversed, 2, &error), MM_OK);
    assert_int_equal(mm_file_read_all(path, 1 << 16, &two, &two_bytes, &error), MM_OK);
    assert_int_equal(one_bytes, two_bytes);
    assert_memory_equal(one, two, one_bytes);
    assert_int_equal(one[0] % 8, 0);
    mm_tensor_file *file;
    assert_int_equal(mm_tensor_file_open(&file, path, &error), MM_OK);
    assert_int_equal(mm_tensor_file_count(file), 4);
    check_shape(file, forward[0].name, MM_F32, MM_SHAPE(2, 3));
    check_ramps(file);
    assert_string_equal(mm_tensor_file_metadata(file, "z"), "1");
    mm_tensor_file_close(&file);
    mm_free(one);
    mm_free(two);
    const mm_tensor_entry same[] = {forward[1], forward[1]};
    assert_int_equal(mm_safetensors_write(path, same, 2, NULL, 0, &error), MM_ERR_RUNTIME);
    const mm_tensor_entry reserved = {"__metadata__", MM_U8, MM_SHAPE(3), small};
    assert_int_equal(mm_safetensors_write(path, &reserved, 1, NULL, 0, &error), MM_ERR_RUNTIME);
    assert_int_equal(mm_safetensors_write("/missing/x", forward, 4, NULL, 0, &error),
                     MM_ERR_RUNTIME);
}

static void test_list_round_trip(void **state)
{
    (void)state;
    const float numbers[] = {-3, -2.5f, -2, -1.5f, -1, -0.5f};
    const mm_tensor_entry tensors[] = {
        {"", MM_F32, MM_SHAPE(2, 3), numbers},
        {"", MM_F32, MM_SHAPE(4, 1, 1), numbers},
        {"", MM_F32, {0}, numbers},
    };
    mm_error error = {0};
    mm_tensor_file *file;
    const char *path = scratch_path("list.pt");
    assert_int_equal(mm_pickle_list_write(path, tensors, 3, &error), MM_OK);
    assert_int_equal(mm_tensor_file_open(&file, path, &error), MM_OK);
    assert_true(mm_tensor_file_is_list(file));
    assert_int_equal(mm_tensor_file_count(file), 3);
    assert_true(mm_shape_equal(&mm_tensor_file_info(file, 1)->shape, &tensors[1].shape));
    check_ramps(file);
    mm_tensor_file_close(&file);
    const mm_tensor_entry half = {"", MM_F16, MM_SHAPE(2), numbers};
    assert_int_equal(mm_pickle_list_write(path, &half, 1, &error), MM_ERR_RUNTIME);
}

static void touch(const char *name)
{
    bytes nothing = {0};
    write_scratch(scratch_path(name), &nothing);
    free_bytes(&nothing);
}

static void expect_component(const char *stem, const char *name)
{
    char *path = NULL, directory[512];
    mm_error error = {0};
    snprintf(directory, sizeof(directory), "%s", scratch_path(""));
    mm_status status = mm_component_find(&path, directory, stem, &error);
    if (!name) {
        assert_int_equal(status, MM_ERR_INPUT);
        assert_non_null(strstr(error.text, directory));
        assert_null(path);
        return;
    }
    assert_int_equal(status, MM_OK);
    assert_string_equal(strrchr(path, '/') + 1, name);
    mm_free(path);
}

/* Each new file stands before those that were there. */
static void test_components(void **state)
{
    (void)state;
    static const char *const diffusers[] = {
        "unet.fp16.bin",
        "unet.bin.index.fp16.json",
        "unet.fp16.safetensors",
        "unet.bin",
        "unet.bin.index.json",
        "unet.safetensors",
        "unet.safetensors.index.json",
    };
    expect_component("unet", NULL);
    for (size_t i = 0; i < sizeof(diffusers) / sizeof(diffusers[0]); i++) {
        touch(diffusers[i]);
        expect_component("unet", diffusers[i]);
    }
    expect_component("model", NULL);
    touch("pytorch_model.bin");
    expect_component("model", "pytorch_model.bin");
    touch("model.safetensors");
    expect_component("model", "model.safetensors");
    char *path;
    mm_error error;
    assert_int_equal(mm_component_find(&path, scratch_path("missing"), "unet", &error),
                     MM_ERR_INPUT);
}

/* Whichever allocation fails, opening says so, leaks nothing and works the next time. */
static void test_failing_allocations(void **state)
{
    (void)state;
    static const char *const names[] = {"mixed.pt", "list.pt", "nested.pt", "mixed.safetensors",
                                        "parts.safetensors.index.json"};
    for (size_t i = 0; i < 2 * sizeof(names) / sizeof(names[0]); i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", FIXTURES "/weights", names[i / 2]);
        mm_status status = MM_ERR_MEMORY;
        for (uint64_t n = 1; status != MM_OK; n++) {
            mm_tensor_file *file = NULL;
            mm_error error = {0};
            mm_memory_fail_after(n, i % 2 != 0);
            status = mm_tensor_file_open(&file, path, &error);
            mm_memory_fail_after(0, false);
            if (status != MM_OK && (status != MM_ERR_MEMORY || file || !error.text[0]))
                fail_msg("%s, allocation %llu: status %d (%s)", names[i / 2], (unsigned long long)n,
                         status, error.text);
            mm_tensor_file_close(&file);
            assert_true(n < 1000);
        }
    }
}

static void test_failing_allocations_of_writers(void **state)
{
    (void)state;
    const float numbers[] = {1, 2};
    const mm_tensor_entry tensors[] = {{"a", MM_F32, MM_SHAPE(2), numbers},
                                       {"b", MM_F32, MM_SHAPE(1), numbers}};
    const char *path = scratch_path("faults");
    for (int writer = 0; writer < 2; writer++) {
        mm_status status = MM_ERR_MEMORY;
        for (uint64_t n = 1; status != MM_OK; n++) {
            mm_error error = {0};
            mm_memory_fail_after(n, false);
            status = writer ? mm_pickle_list_write(path, tensors, 2, &error)
                            : mm_safetensors_write(path, tensors, 2, NULL, 0, &error);
            mm_memory_fail_after(0, false);
            assert_true(status == MM_OK || (status == MM_ERR_MEMORY && error.text[0]));
            assert_true(n < 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_dict),
        cmocka_unit_test(test_state_dicts),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_cached_latents),
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_bad_shards),
        cmocka_unit_test(test_named_reading),
        cmocka_unit_test(test_large_transposed),
        cmocka_unit_test(test_safetensors_round_trip),
        cmocka_unit_test(test_list_round_trip),
        cmocka_unit_test(test_components),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_failing_allocations_of_writers),
    };
    return cmocka_run_group_tests(tests, setup_scratch, remove_scratch);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Scaled and cut pictures against Pillow's, byte for byte (by their checksums). */
#include "check.h"

#include "base/json.h"
#include "metrics/image_scaling.h"

static mm_error error;

/* The picture of tests/fixtures/make_evaluation.py. */
static uint8_t *pattern(int64_t width, int64_t height)
{
    uint8_t *rgb = malloc((size_t)(3 * width * height));
    assert_non_null(rgb);
    for (uint64_t i = 0; i < (uint64_t)(3 * width * height); i++) {
        uint64_t value = i * 2654435761u + i / 7 * 40503u + i / (uint64_t)(3 * width) * 977u;
        rgb[i] = (uint8_t)((uint32_t)value >> 11);
    }
    return rgb;
}

static uint32_t crc32_of(const uint8_t *bytes, size_t count)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static int64_t number(const mm_json *object, const char *key)
{
    int64_t value = 0;
    assert_true(mm_json_whole(mm_json_member(object, key), &value));
    return value;
}

static uint32_t scale(const uint8_t *rgb, int64_t width, int64_t height, int64_t size,
                      mm_crop_rounding rounding)
{
    uint8_t *out = malloc((size_t)(3 * size * size));
    mm_picture picture = {rgb, width, height};
    mm_image_geometry geometry = {size, size, rounding};
    if (mm_image_scale_and_crop(&picture, &geometry, out, &error) != MM_OK)
        fail_msg("%s", error.text);
    uint32_t crc = crc32_of(out, (size_t)(3 * size * size));
    free(out);
    return crc;
}

static void test_bytes_equal_pillows(void **state)
{
    (void)state;
    mm_json_document cases;
    assert_int_equal(mm_json_load(&cases, FIXTURES "/scaling.json", &error), MM_OK);
    int wrong = 0, count = 0;
    for (const mm_json *c = mm_json_first(cases.root); c; c = mm_json_next(c), count++) {
        int64_t width = number(c, "width"), height = number(c, "height"), size = number(c, "size");
        uint8_t *rgb = pattern(width, height);
        mm_crop_rounding rounding = count % 2 ? MM_CROP_TO_EVEN : MM_CROP_DOWN;
        if (scale(rgb, width, height, size, rounding) != (uint32_t)number(c, "crc32")) {
            print_error("%lldx%lld to %lld differs\n", (long long)width, (long long)height,
                        (long long)size);
            wrong++;
        }
        free(rgb);
    }
    mm_json_free(&cases);
    assert_int_equal(count, 48);
    assert_int_equal(wrong, 0);
}

/* The two roundings must give different squares where the spare pixels are odd, and only there. */
static void test_crop_rounding(void **state)
{
    (void)state;
    uint8_t *rgb = pattern(403, 224);
    assert_true(scale(rgb, 403, 224, 224, MM_CROP_DOWN) !=
                scale(rgb, 403, 224, 224, MM_CROP_TO_EVEN));
    assert_true(scale(rgb, 224, 224, 224, MM_CROP_DOWN) ==
                scale(rgb, 224, 224, 224, MM_CROP_TO_EVEN));
    free(rgb);
}

static void test_without_memory(void **state)
{
    (void)state;
    uint8_t out[3 * 8 * 8], *rgb = pattern(31, 17);
    mm_picture picture = {rgb, 31, 17};
    mm_image_geometry geometry = {8, 8, MM_CROP_DOWN};
    for (uint64_t n = 1; n <= 10; n++) {
        mm_memory_fail_after(n, false);
        mm_status status = mm_image_scale_and_crop(&picture, &geometry, out, &error);
        mm_memory_fail_after(0, false);
        assert_int_equal(status, MM_ERR_MEMORY);
    }
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_equal_pillows),
        cmocka_unit_test(test_crop_rounding),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

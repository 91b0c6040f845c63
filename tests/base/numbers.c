/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers, conversions of element types, and text to numbers and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/convert.h"
#include "base/number.h"
#include "base/rng.h"
#include "base/shape.h"

/* The known answers that the authors of Philox publish for philox4x32-10. */
static void test_philox(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint32_t out[4];
        mm_philox((uint64_t)known[i].key[1] << 32 | known[i].key[0],
                  (uint64_t)known[i].counter[1] << 32 | known[i].counter[0], known[i].counter[2],
                  known[i].counter[3], out);
        assert_memory_equal(out, known[i].out, sizeof(out));
    }
}

/* Any part of a sequence is the same as when it is drawn whole; the moments are a normal's. */
static void test_normals(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static float whole[COUNT], part[COUNT];
    const mm_rng rng = {.seed = 7, .stream = MM_STREAM_TRAINING_NOISE, .step = 3};
    const mm_rng other = {.seed = 7, .stream = MM_STREAM_TRAINING_NOISE, .step = 4};
    mm_rng_normal(&rng, 0, whole, COUNT);
    mm_rng_normal(&rng, 0, part, 1001);
    mm_rng_normal(&rng, 1001, part + 1001, COUNT - 1001);
    assert_memory_equal(whole, part, sizeof(whole));
    double sum = 0, squares = 0, product = 0;
    mm_rng_normal(&other, 0, part, COUNT);
    for (int i = 0; i < COUNT; i++) {
        sum += whole[i];
        squares += (double)whole[i] * whole[i];
        product += (double)whole[i] * part[i];
    }
    assert_true(fabs(sum / COUNT) < 0.03);
    assert_true(fabs(squares / COUNT - 1) < 0.05);
    assert_true(fabs(product / COUNT) < 0.03);
}

/* Box-Muller with the C library's functions gives the same up to its rounding. */
static void test_normals_against_libm(void **state)
{
    (void)state;
    const mm_rng rng = {.seed = 99, .stream = MM_STREAM_LORA_INIT, .step = 0};
    float out[400];
    mm_rng_normal(&rng, 0, out, 400);
    for (uint32_t block = 0; block < 100; block++) {
        uint32_t word[4];
        mm_philox(99, block, 0, MM_STREAM_LORA_INIT, word);
        for (int pair = 0; pair < 2; pair++) {
            double u = (word[2 * pair] + 0.5) / 4294967296.0;
            double angle = 2 * 3.14159265358979323846 * (word[2 * pair + 1] / 4294967296.0);
            double radius = sqrt(-2 * log(u));
            assert_true(fabs(out[4 * block + 2 * (uint32_t)pair] - radius * cos(angle)) < 1e-6);
            assert_true(fabs(out[4 * block + 2 * (uint32_t)pair + 1] - radius * sin(angle)) < 1e-6);
        }
    }
}

static void test_uniforms_and_integers(void **state)
{
    (void)state;
    const mm_rng rng = {.seed = 1, .stream = MM_STREAM_TIMESTEP, .step = 0};
    float out[1000];
    int seen[10] = {0};
    mm_rng_uniform(&rng, 0, out, 1000);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(out[i] >= 0 && out[i] < 1);
        int64_t draw = mm_rng_integer(&rng, i, -4, 5);
        assert_true(draw >= -4 && draw <= 5);
        seen[draw + 4]++;
    }
    for (int i = 0; i < 10; i++)
        assert_true(seen[i] > 50);
    assert_int_equal(mm_rng_integer(&rng, 0, 3, 3), 3);
}

static float value_of_half(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float sign = half & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return exponent ? sign * ldexpf((float)(1024 + fraction), exponent - 25)
                    : sign * ldexpf((float)fraction, -24);
}

static void test_all_halves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t half = (uint16_t)i;
        float expected = value_of_half(half), got = mm_f16_to_f32(half);
        if (isnan(expected)) {
            assert_true(isnan(got));
            assert_true(isnan(mm_f16_to_f32(mm_f32_to_f16(got))));
            continue;
        }
        assert_memory_equal(&got, &expected, sizeof(got));
        assert_int_equal(mm_f32_to_f16(got), half);
    }
}

/* Between two neighbouring halves: to the nearer one, in the middle to the even one. */
static void test_rounding_to_halves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x7c00; i++) {
        float low = value_of_half((uint16_t)i);
        float high = i == 0x7bff ? 65536.0f : value_of_half((uint16_t)(i + 1));
        float middle = low + (high - low) / 2;
        uint32_t even = i & 1 ? i + 1 : i;
        assert_int_equal(mm_f32_to_f16(middle), even);
        assert_int_equal(mm_f32_to_f16(-middle), even | 0x8000);
        assert_int_equal(mm_f32_to_f16(nextafterf(middle, 0)), i);
        assert_int_equal(mm_f32_to_f16(nextafterf(middle, INFINITY)), i + 1);
    }
    assert_int_equal(mm_f32_to_f16(1e10f), 0x7c00);
    assert_int_equal(mm_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(mm_f32_to_f16(1e-30f), 0);
}

static void test_all_brains(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        uint32_t bits = i << 16;
        float expected, got = mm_bf16_to_f32((uint16_t)i);
        memcpy(&expected, &bits, sizeof(expected));
        if (isnan(expected)) {
            assert_true(isnan(mm_bf16_to_f32(mm_f32_to_bf16(got))));
            continue;
        }
        assert_memory_equal(&got, &expected, sizeof(got));
        assert_int_equal(mm_f32_to_bf16(got), i);
        if (isinf(got))
            continue;
        float middle, above;
        uint32_t middle_bits = bits | 0x8000, above_bits = bits | 0x8001;
        memcpy(&middle, &middle_bits, sizeof(middle));
        memcpy(&above, &above_bits, sizeof(above));
        assert_int_equal(mm_f32_to_bf16(middle), i & 1 ? i + 1 : i);
        assert_int_equal(mm_f32_to_bf16(above), i + 1);
    }
}

/* Every run of conversions against the conversion of one number, from memory at odd addresses. */
static void test_runs(void **state)
{
    (void)state;
    enum { count = 65536 };
    static unsigned char odd[4 * count + 1];
    static float wide[count];
    static uint16_t half[count], brain[count];
    for (uint32_t i = 0; i < count; i++) {
        uint16_t one = (uint16_t)i;
        memcpy(odd + 1 + 2 * i, &one, sizeof(one));
    }
    mm_convert_numbers(wide, MM_F32, odd + 1, MM_F16, count);
    mm_convert_numbers(brain, MM_BF16, odd + 1, MM_F16, count);
    for (uint32_t i = 0; i < count; i++) {
        float one = mm_f16_to_f32((uint16_t)i);
        assert_memory_equal(&wide[i], &one, sizeof(one));
        assert_int_equal(brain[i], mm_f32_to_bf16(one));
    }
    mm_convert_numbers(wide, MM_F32, odd + 1, MM_BF16, count);
    for (uint32_t i = 0; i < count; i++) {
        float one = mm_bf16_to_f32((uint16_t)i);
        assert_memory_equal(&wide[i], &one, sizeof(one));
    }
    for (uint32_t i = 0; i < count; i++) { /* all exponents, both signs, NaN, ties */
        uint32_t bits = i << 16 | (i * 40503u & 0xffffu);
        bits = i % 3 ? bits : (bits & 0xffff0000u) | 0x8000u;
        memcpy(odd + 1 + 4 * i, &bits, sizeof(bits));
    }
    mm_convert_numbers(half, MM_F16, odd + 1, MM_F32, count);
    mm_convert_numbers(brain, MM_BF16, odd + 1, MM_F32, count);
    for (uint32_t i = 0; i < count; i++) {
        float one;
        memcpy(&one, odd + 1 + 4 * i, sizeof(one));
        assert_int_equal(half[i], mm_f32_to_f16(one));
        assert_int_equal(brain[i], mm_f32_to_bf16(one));
    }
    const double third = 1.0 / 3.0;
    mm_convert_numbers(wide, MM_F32, &third, MM_F64, 1);
    assert_true(wide[0] == (float)third);
}

static void test_shapes(void **state)
{
    (void)state;
    char text[64];
    int64_t elements;
    mm_shape shape = MM_SHAPE(2, 3, 4);
    assert_true(mm_shape_elements_checked(&shape, &elements) && elements == 24);
    assert_string_equal(mm_shape_text(&shape, text, sizeof(text)), "[2, 3, 4]");
    assert_string_equal(mm_shape_text(&(mm_shape){0}, text, sizeof(text)), "[]");
    assert_string_equal(mm_shape_text(&shape, text, 5), "[2, ");
    assert_true(mm_shape_elements_checked(&(mm_shape){0}, &elements) && elements == 1);
    assert_false(mm_shape_elements_checked(&MM_SHAPE(-1, 2), &elements));
    assert_false(mm_shape_elements_checked(&MM_SHAPE(1ll << 32, 1ll << 31), &elements));
    assert_false(mm_shape_equal(&shape, &MM_SHAPE(2, 3)));
}

static void test_reading_numbers(void **state)
{
    (void)state;
    static const char *const no_double[] = {"",    " 1",  "1 ",  "1e",  "e1", ".",     "inf", "nan",
                                            "0x1", "1,5", "--1", "1e+", "+",  "1e999", "1.5f"};
    static const char *const no_int[] = {
        "", "-", "1.0", " 1", "1 ", "0x1", "9223372036854775808", "-9223372036854775809"};
    double number;
    int64_t whole;
    for (size_t i = 0; i < sizeof(no_double) / sizeof(no_double[0]); i++)
        assert_false(mm_parse_double(no_double[i], &number));
    for (size_t i = 0; i < sizeof(no_int) / sizeof(no_int[0]); i++)
        assert_false(mm_parse_int(no_int[i], &whole));
    assert_true(mm_parse_double("-1.5e3", &number) && number == -1500);
    assert_true(mm_parse_double(".5", &number) && number == 0.5);
    assert_true(mm_parse_double("1e-400", &number) && number == 0);
    assert_true(mm_parse_int("-9223372036854775808", &whole) && whole == INT64_MIN);
    assert_true(mm_parse_int("9223372036854775807", &whole) && whole == INT64_MAX);
    assert_true(mm_parse_int("+7", &whole) && whole == 7);
}

static void test_writing_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.1, "0.1"},     {5e-4, "0.0005"},  {1.0 / 3, "0.3333333333333333"},
                 {-2000, "-2000"}, {1e300, "1e+300"}, {12345678, "12345678"}};
    char text[MM_DOUBLE_TEXT];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double back;
        assert_string_equal(mm_double_text(cases[i].value, text, sizeof(text)), cases[i].text);
        assert_true(mm_parse_double(text, &back) && back == cases[i].value);
    }
    assert_string_equal(mm_int_text(INT64_MIN, text, sizeof(text)), "-9223372036854775808");
}

/* A program that has set a locale with a decimal comma gets the same numbers. */
static void test_locale(void **state)
{
    (void)state;
    static const char *const with_comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    bool set = false;
    for (size_t i = 0; i < sizeof(with_comma) / sizeof(with_comma[0]) && !set; i++)
        set = setlocale(LC_ALL, with_comma[i]) != NULL;
    if (!set)
        skip();
    test_reading_numbers(state);
    test_writing_numbers(state);
    setlocale(LC_ALL, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_normals),
        cmocka_unit_test(test_normals_against_libm),
        cmocka_unit_test(test_uniforms_and_integers),
        cmocka_unit_test(test_all_halves),
        cmocka_unit_test(test_rounding_to_halves),
        cmocka_unit_test(test_all_brains),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_reading_numbers),
        cmocka_unit_test(test_writing_numbers),
        cmocka_unit_test(test_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

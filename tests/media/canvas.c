/* SPDX-License-Identifier: BSD-2-Clause */
/* Heat maps and pictures put together, without FFmpeg. */
#include "check.h"

#include "media/canvas.h"

static double linear(uint8_t value)
{
    double v = value / 255.0;
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

/* CIE L* of an sRGB colour. */
static double lightness(const uint8_t rgb[3])
{
    double y = 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
    return y > 0.008856 ? 116.0 * cbrt(y) - 16.0 : 903.3 * y;
}

static void test_colours(void **state)
{
    (void)state;
    uint8_t rgb[3], end[3];
    for (int i = 0; i <= 1000; i++) {
        mm_heat_colour(i / 1000.0, rgb);
        assert_float_equal(lightness(rgb), 10.0 + 0.085 * i, 1.5);
    }
    mm_heat_colour(7.0, end);
    assert_memory_equal(rgb, end, 3);
    mm_heat_colour(0.0, rgb);
    mm_heat_colour(-1.0, end);
    assert_memory_equal(rgb, end, 3);
    mm_heat_colour((double)NAN, end);
    assert_memory_equal(rgb, end, 3);
}

static const uint8_t *at(const mm_frames *canvas, int x, int y)
{
    return canvas->data + (y * canvas->width + x) * 3;
}

static void test_heat_maps(void **state)
{
    (void)state;
    static const float values[] = {0, 9, 1, 9, 2, 9, 3, 9, 4, 9, 5, 9};
    static const uint8_t white[3] = {255, 255, 255};
    mm_heat_map map = {values, 3, 2, 6, 2, 0, 5};
    mm_error error = {0};
    mm_frames canvas;
    uint8_t rgb[3];
    assert_int_equal(mm_canvas_create(&canvas, 12, 9, &error), MM_OK);
    mm_canvas_draw_heat(&canvas, 2, 1, 4, &map);
    for (int y = 0; y < 9; y++) {
        for (int x = 0; x < 12; x++) {
            int row = (y - 1) / 4, column = (x - 2) / 4;
            mm_heat_colour((row * 3 + column) / 5.0, rgb);
            assert_memory_equal(at(&canvas, x, y), x < 2 || y < 1 ? white : rgb, 3);
        }
    }
    map.low = map.high = 3; /* nothing to tell apart */
    mm_canvas_draw_heat(&canvas, 0, 0, 1, &map);
    mm_heat_colour(0, rgb);
    assert_memory_equal(at(&canvas, 2, 1), rgb, 3);
    mm_frames_free(&canvas);
}

static void test_pasting(void **state)
{
    (void)state;
    uint8_t pixels[2 * 2 * 3 * 3];
    mm_frames frames = {2, 3, 2, 8, pixels}, canvas;
    mm_error error = {0};
    for (size_t i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)i;
    assert_int_equal(mm_canvas_create(&canvas, 4, 2, &error), MM_OK);
    mm_canvas_paste(&canvas, 2, 1, &frames, 1);
    assert_memory_equal(at(&canvas, 2, 1), pixels + 18, 6);
    assert_int_equal(at(&canvas, 1, 1)[0], 255);
    assert_int_equal(at(&canvas, 2, 0)[0], 255);
    mm_canvas_paste(&canvas, 4, 0, &frames, 0);
    mm_frames_free(&canvas);
    assert_int_equal(mm_canvas_create(&canvas, 0, 2, &error), MM_ERR_USAGE);
    assert_int_equal(mm_canvas_create(&canvas, 70000, 2, &error), MM_ERR_USAGE);
}

/* Fills a picture of one letter's size. */
static void draw_letter(const char *text, mm_frames *canvas)
{
    mm_error error = {0};
    assert_int_equal(mm_canvas_create(canvas, MM_LETTER_PITCH, MM_LETTER_HEIGHT + 1, &error),
                     MM_OK);
    mm_canvas_write(canvas, 0, 0, 1, text);
}

static void test_letters(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.,!?-_'\":;/&() *";
    mm_frames drawn[sizeof(letters) - 1], other;
    for (size_t i = 0; i < sizeof(letters) - 1; i++) {
        const char text[] = {letters[i], '\0'};
        draw_letter(text, &drawn[i]);
        for (int k = 0; k < MM_LETTER_PITCH; k++) /* what keeps lines apart */
            assert_int_equal(at(&drawn[i], k, MM_LETTER_HEIGHT)[0], 255);
        for (int k = 0; k < MM_LETTER_HEIGHT; k++) /* and letters */
            assert_int_equal(at(&drawn[i], MM_LETTER_PITCH - 1, k)[0], 255);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(drawn[i].data, drawn[j].data, MM_LETTER_PITCH * 8 * 3);
    }
    draw_letter("A", &other);
    assert_memory_equal(other.data, drawn[0].data, MM_LETTER_PITCH * 8 * 3);
    mm_frames_free(&other);
    draw_letter("\xc3\xa9", &other); /* a box, as for '*' */
    assert_memory_equal(other.data, drawn[sizeof(letters) - 2].data, MM_LETTER_PITCH * 8 * 3);
    mm_frames_free(&other);
    assert_int_equal(mm_lettering_width("a\xc3\xa9"), 2 * MM_LETTER_PITCH);
    for (size_t i = 0; i < sizeof(letters) - 1; i++)
        mm_frames_free(&drawn[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_heat_maps),
        cmocka_unit_test(test_pasting),
        cmocka_unit_test(test_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

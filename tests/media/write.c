/* SPDX-License-Identifier: BSD-2-Clause */
/* What is written can be read again, is the same each time, and appears whole or not at all. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

static void write_frames(const char *path, const mm_frames *frames)
{
    mm_error error = {0};
    if (mm_media_write(path, frames, NULL, &error) != MM_OK)
        fail_msg("%s", error.text);
}

static void expect_round_trip(const char *name, const mm_frames *frames, double tolerance)
{
    char *directory = scratch_directory(), *path = mm_path_join(directory, name);
    write_frames(path, frames);
    mm_frames again = decode_file(
        path,
        (mm_decode_request){.frame_step = 1, .width = frames->width, .height = frames->height});
    assert_int_equal(again.count, frames->count);
    double rate = frames->fps > 0 ? frames->fps : 8;
    if (again.fps < rate * 0.999 || again.fps > rate * 1.001)
        fail_msg("%s: %g frames per second instead of %g", name, again.fps, rate);
    double difference = mean_difference(&again, frames, frames->count);
    if (difference > tolerance)
        fail_msg("%s: mean difference %g", name, difference);
    mm_frames_free(&again);
    assert_int_equal(count_files(directory), 1);
    mm_free(path);
    remove_scratch(directory);
}

static void test_round_trips(void **state)
{
    (void)state;
    mm_frames frames = make_frames(5, 64, 48, 8), slow = make_frames(5, 64, 48, 24000.0 / 1001);
    frames.fps = 0; /* the default */
    static const char *const names[] = {"a.mp4", "a.mkv", "a.mov", "a.webm", "a.avi", "A.MP4"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        expect_round_trip(names[i], &frames, 4);
        expect_round_trip(names[i], &slow, 4);
    }
    frames.fps = 10;
    expect_round_trip("a.gif", &frames, 8);
    frames.count = 1;
    expect_round_trip("one.mp4", &frames, 4);
    mm_frames_free(&frames);
    mm_frames_free(&slow);
}

static void test_odd_sides_are_padded(void **state)
{
    (void)state;
    mm_frames frames = make_frames(3, 35, 21, 8);
    char *directory = scratch_directory(), *path = mm_path_join(directory, "odd.mp4");
    write_frames(path, &frames);
    mm_frames again = decode_file(path, (mm_decode_request){.frame_step = 1});
    assert_int_equal(again.width, 36);
    assert_int_equal(again.height, 22);
    for (int y = 0; y < 21; y++) /* the added column repeats the one before it */
        assert_true(abs(again.data[(y * 36 + 35) * 3] - frames.data[(y * 35 + 34) * 3]) < 12);
    mm_frames_free(&again);
    mm_frames_free(&frames);
    mm_free(path);
    remove_scratch(directory);
}

static void test_equal_frames_give_equal_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"a.mp4", "a.mkv", "a.webm", "a.gif", "a.png"};
    mm_frames frames = make_frames(4, 48, 32, 8);
    char *directory = scratch_directory();
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char *path = mm_path_join(directory, names[i]), *first, *second;
        size_t first_bytes, second_bytes;
        mm_error error = {0};
        write_frames(path, &frames);
        assert_int_equal(mm_file_read_all(path, 1 << 20, &first, &first_bytes, &error), MM_OK);
        write_frames(path, &frames);
        assert_int_equal(mm_file_read_all(path, 1 << 20, &second, &second_bytes, &error), MM_OK);
        assert_int_equal(first_bytes, second_bytes);
        assert_memory_equal(first, second, first_bytes);
        mm_free(first);
        mm_free(second);
        mm_free(path);
    }
    remove_scratch(directory);
    mm_frames_free(&frames);
}

static void test_numbered_pictures(void **state)
{
    (void)state;
    mm_frames frames = make_frames(11, 9, 7, 8);
    char *directory = scratch_directory();
    char *pattern = mm_path_join(directory, "50 f-%03d.png");
    char *last = mm_path_join(directory, "50 f-010.png");
    write_frames(pattern, &frames);
    assert_int_equal(count_files(directory), 11);
    mm_frames again = decode_file(last, (mm_decode_request){.frame_step = 1});
    assert_int_equal(again.count, 1);
    assert_memory_equal(again.data, frames.data + 10 * 9 * 7 * 3, 9 * 7 * 3);
    mm_frames_free(&again);
    mm_frames_free(&frames);
    mm_free(pattern);
    mm_free(last);
    remove_scratch(directory);
}

static void test_contact_sheet(void **state)
{
    (void)state;
    mm_frames frames = make_frames(5, 9, 7, 8); /* three by two */
    char *directory = scratch_directory(), *path = mm_path_join(directory, "sheet.PNG");
    write_frames(path, &frames);
    mm_frames sheet = decode_file(path, (mm_decode_request){.frame_step = 1});
    assert_int_equal(sheet.width, 27);
    assert_int_equal(sheet.height, 14);
    const uint8_t *fifth = frames.data + 4 * 9 * 7 * 3;
    for (int y = 0; y < 7; y++) {
        assert_memory_equal(sheet.data + ((7 + y) * 27 + 9) * 3, fifth + y * 9 * 3, 27);
        assert_int_equal(sheet.data[((7 + y) * 27 + 18) * 3 + 2], 0); /* the empty place */
    }
    mm_frames_free(&sheet);
    mm_frames_free(&frames);
    mm_free(path);
    remove_scratch(directory);
}

static void test_contact_sheet_as_jpeg(void **state)
{
    (void)state;
    mm_frames frames = make_frames(4, 64, 48, 8);
    char *directory = scratch_directory(), *path = mm_path_join(directory, "sheet.jpg");
    write_frames(path, &frames);
    mm_frames sheet = decode_file(path, (mm_decode_request){.frame_step = 1});
    assert_int_equal(sheet.width, 128);
    assert_int_equal(sheet.height, 96);
    double sum = 0;
    for (size_t y = 0; y < 48; y++) {
        for (size_t i = 0; i < 64 * 3; i++)
            sum += abs(sheet.data[(48 + y) * 128 * 3 + i] - frames.data[(2 * 48 + y) * 64 * 3 + i]);
    }
    if (sum / (48 * 64 * 3) > 6)
        fail_msg("mean difference %g", sum / (48 * 64 * 3));
    mm_frames_free(&sheet);
    mm_frames_free(&frames);
    mm_free(path);
    remove_scratch(directory);
}

static void expect_failure(const char *path, const mm_frames *frames, mm_status expected)
{
    mm_error error = {0};
    mm_status status = mm_media_write(path, frames, NULL, &error);
    if (status != expected || !error.text[0])
        fail_msg("%s: status %d, \"%s\"", path, status, error.text);
}

static void test_what_cannot_be_written(void **state)
{
    (void)state;
    static const char *const bad[] = {"a.txt",   "a",           "mp4",         "%.png",  "%d%d.png",
                                      "%s.png",  "%99999d.png", "%-3d.png",    "%n.png", "%%.png",
                                      "%05.png", "%ld.png",     "frame%d%.png"};
    mm_frames frames = make_frames(2, 16, 16, 8), none = {.width = 16, .height = 16};
    char *directory = scratch_directory();
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char *path = mm_path_join(directory, bad[i]);
        expect_failure(path, &frames, MM_ERR_USAGE);
        mm_error error = {0};
        assert_int_equal(mm_media_check_path(path, &error), MM_ERR_USAGE);
        mm_free(path);
    }
    char *path = mm_path_join(directory, "a.mp4"), *below = mm_path_join(path, "b.mp4");
    expect_failure(below, &frames, MM_ERR_RUNTIME);
    expect_failure(path, &none, MM_ERR_USAGE);
    frames.fps = -1;
    expect_failure(path, &frames, MM_ERR_USAGE);
    assert_int_equal(count_files(directory), 0);
    mm_free(path);
    mm_free(below);
    remove_scratch(directory);
    mm_frames_free(&frames);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    static const char *const names[] = {"a.mp4", "a.gif", "a.png", "%d.png"};
    mm_frames frames = make_frames(2, 16, 16, 8);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char *directory = scratch_directory(), *path = mm_path_join(directory, names[i]);
        mm_status status = MM_ERR_MEMORY;
        for (uint64_t countdown = 1; status != MM_OK; countdown++) {
            mm_error error = {0};
            assert_true(countdown < 1000);
            mm_memory_fail_after(countdown, true);
            status = mm_media_write(path, &frames, NULL, &error);
            mm_memory_fail_after(0, false);
            assert_true(status == MM_OK || status == MM_ERR_MEMORY);
        }
        mm_free(path);
        remove_scratch(directory);
    }
    mm_frames_free(&frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_odd_sides_are_padded),
        cmocka_unit_test(test_equal_frames_give_equal_bytes),
        cmocka_unit_test(test_numbered_pictures),
        cmocka_unit_test(test_contact_sheet),
        cmocka_unit_test(test_contact_sheet_as_jpeg),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

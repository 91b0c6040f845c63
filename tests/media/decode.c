/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames against those of FFmpeg's own tool (tests/fixtures/make_media.sh), and files that are
 * none. */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

/* The frames that make_media.sh stored. */
static mm_frames stored_frames(const char *name, int32_t width, int32_t height)
{
    char *stem = fixture(name), *path = mm_format("%s.%dx%d.rgb", stem, width, height);
    char *bytes;
    size_t count;
    mm_error error = {0};
    if (mm_file_read_all(path, 1 << 20, &bytes, &count, &error) != MM_OK)
        fail_msg("%s", error.text);
    mm_free(stem);
    mm_free(path);
    return (mm_frames){.count = (int64_t)count / (width * height * 3),
                       .width = width,
                       .height = height,
                       .data = (uint8_t *)bytes};
}

static void expect_stored(const char *name, int32_t width, int32_t height, int tolerance)
{
    mm_frames expected = stored_frames(name, width, height);
    mm_decode_request request = {
        .frame_step = 1, .frame_count = expected.count, .width = width, .height = height};
    mm_frames frames = decode_fixture(name, request);
    assert_true(expected.count > 0);
    int difference = greatest_difference(&frames, &expected, expected.count);
    if (difference > tolerance)
        fail_msg("%s differs by %d", name, difference);
    mm_frames_free(&frames);
    mm_frames_free(&expected);
}

static void test_frames_equal_the_tool(void **state)
{
    (void)state;
    static const char *const names[] = {
        "plain.mp4",   "odd.mkv",    "gray.mkv",      "deep.mkv",      "full.mp4",
        "bt709.mp4",   "wide.mkv",   "animation.gif", "picture.png",   "palette.png",
        "picture.jpg", "uneven.mkv", "turned90.mp4",  "turned180.mp4", "turned270.mp4"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        expect_stored(names[i], 20, 12, 1);
    expect_stored("turned90.mp4", 32, 48, 1);
}

static void test_transparent_pixels_lie_over_black(void **state)
{
    (void)state;
    expect_stored("alpha.mov", 24, 16, 2);
}

static void test_start_and_step(void **state)
{
    (void)state;
    mm_frames all = decode_fixture("plain.mp4", (mm_decode_request){.frame_step = 1});
    mm_frames some = decode_fixture(
        "plain.mp4", (mm_decode_request){.start_frame = 2, .frame_step = 2, .frame_count = 2});
    assert_int_equal(all.count, 6);
    assert_int_equal(all.width, 48);
    assert_int_equal(all.height, 32);
    assert_float_equal(all.fps, 8, 0);
    assert_float_equal(some.fps, 4, 0);
    size_t bytes = 48 * 32 * 3;
    assert_memory_equal(some.data, all.data + 2 * bytes, bytes);
    assert_memory_equal(some.data + bytes, all.data + 4 * bytes, bytes);
    assert_memory_not_equal(some.data, all.data + bytes, bytes);
    mm_frames_free(&all);
    mm_frames_free(&some);
}

static void test_the_size_may_change_within_a_video(void **state)
{
    (void)state;
    mm_frames scaled = decode_fixture(
        "resized.h264", (mm_decode_request){.frame_step = 1, .width = 20, .height = 12});
    mm_frames plain = decode_fixture("resized.h264", (mm_decode_request){.frame_step = 1});
    assert_int_equal(scaled.count, 4);
    assert_int_equal(plain.count, 4);
    assert_int_equal(plain.width, 32);
    assert_int_equal(plain.height, 16);
    mm_frames_free(&scaled);
    mm_frames_free(&plain);
}

static void expect_failure(const char *path, mm_decode_request request, mm_status expected,
                           const char *words)
{
    mm_frames frames = {.count = 7};
    mm_error error = {0};
    mm_status status = mm_media_decode(&frames, path, &request, NULL, &error);
    if (status != expected || !strstr(error.text, words))
        fail_msg("%s: status %d, \"%s\" does not speak of \"%s\"", path, status, error.text, words);
    assert_null(frames.data);
}

static void expect_fixture_failure(const char *name, mm_decode_request request, mm_status expected,
                                   const char *words)
{
    char *path = fixture(name);
    expect_failure(path, request, expected, words);
    mm_free(path);
}

static void test_too_few_frames(void **state)
{
    (void)state;
    expect_fixture_failure("three.mp4", (mm_decode_request){.frame_step = 1, .frame_count = 4},
                           MM_ERR_INPUT, "3 frames");
    expect_fixture_failure("three.mp4", (mm_decode_request){.frame_step = 2, .frame_count = 3},
                           MM_ERR_INPUT, "3 frames");
    expect_fixture_failure("three.mp4", (mm_decode_request){.start_frame = 3, .frame_step = 1},
                           MM_ERR_INPUT, "3 frames");
    expect_fixture_failure("three.mp4",
                           (mm_decode_request){.frame_step = 1, .frame_count = INT64_MAX},
                           MM_ERR_INPUT, "3 frames");
}

static void test_bad_requests(void **state)
{
    (void)state;
    mm_decode_request bad[] = {{.frame_step = 0},
                               {.frame_step = 1, .start_frame = -1},
                               {.frame_step = 1, .frame_count = -1},
                               {.frame_step = 1, .width = -8, .height = 8},
                               {.frame_step = 1, .width = 65536, .height = 8}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        expect_fixture_failure("plain.mp4", bad[i], MM_ERR_USAGE, "");
}

static void test_files_without_video(void **state)
{
    (void)state;
    mm_decode_request request = {.frame_step = 1};
    expect_fixture_failure("sound.mp4", request, MM_ERR_INPUT, "no video");
    expect_fixture_failure("song.flac", request, MM_ERR_INPUT, "no video");
    expect_fixture_failure("no-index.mp4", request, MM_ERR_INPUT, "no-index.mp4");
    expect_fixture_failure("script.ffconcat", request, MM_ERR_UNSUPPORTED, "script");
    expect_fixture_failure("playlist.m3u8", request, MM_ERR_UNSUPPORTED, "playlist");
    expect_fixture_failure("session.sdp", request, MM_ERR_UNSUPPORTED, "script");
    expect_fixture_failure("plain.mp4.20x12.rgb", request, MM_ERR_INPUT, "not a video");
    expect_fixture_failure("none.mp4", request, MM_ERR_INPUT, "none.mp4");
    expect_fixture_failure("", request, MM_ERR_INPUT, "");
    expect_failure("concat:a.mp4|b.mp4", request, MM_ERR_INPUT, "concat:");
    expect_failure("/dev/zero", request, MM_ERR_INPUT, "/dev/zero");
}

/* The size is refused before pictures of it are decoded. */
static void test_a_small_file_with_huge_pictures(void **state)
{
    (void)state;
    static const unsigned char gif[] = {
        'G',  'I',  'F', '8', '9', 'a',  0x80, 0x3E, 0x80, 0x3E, 0x80, 0,    0, /* 16000x16000 */
        0,    0,    0,   255, 255, 255,  ',',  0,    0,    0,    0,    0x80, 0x3E,
        0x80, 0x3E, 0,   2,   2,   0x44, 1,    0,    ';'};
    char *directory = scratch_directory(), *path = mm_path_join(directory, "huge.gif");
    mm_error error = {0};
    assert_int_equal(mm_output_file_write_all(path, gif, sizeof(gif), &error), MM_OK);
    mm_decode_request request = {.frame_step = 1, .width = 8, .height = 8};
    size_t before = mm_resident_peak_bytes();
    expect_failure(path, request, MM_ERR_INPUT, "huge.gif");
    assert_true(mm_resident_peak_bytes() - before < (size_t)64 << 20);
    mm_free(path);
    remove_scratch(directory);
}

static void test_probe(void **state)
{
    (void)state;
    mm_media_info info;
    mm_error error = {0};
    char *path = fixture("turned90.mp4"), *sound = fixture("sound.mp4");
    assert_int_equal(mm_media_probe(&info, path, &error), MM_OK);
    assert_int_equal(info.width, 32);
    assert_int_equal(info.height, 48);
    assert_int_equal(info.frames, 6);
    assert_float_equal(info.fps, 8, 0);
    assert_string_equal(info.codec, "h264");
    assert_int_equal(mm_media_probe(&info, sound, &error), MM_ERR_INPUT);
    mm_free(path);
    mm_free(sound);
}

static void test_nothing_is_printed(void **state)
{
    (void)state;
    char name[] = "/tmp/mm-stderr-XXXXXX";
    int file = mkstemp(name), saved = dup(STDERR_FILENO);
    assert_true(file >= 0 && saved >= 0);
    dup2(file, STDERR_FILENO);
    mm_frames frames;
    mm_error error = {0};
    char *path = fixture("no-index.mp4");
    mm_decode_request request = {.frame_step = 1};
    mm_status status = mm_media_decode(&frames, path, &request, NULL, &error);
    struct stat printed;
    fstat(file, &printed);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    unlink(name);
    mm_free(path);
    assert_int_equal(status, MM_ERR_INPUT);
    assert_int_equal(printed.st_size, 0);
}

/* Whatever stands in the file, the call comes back with frames or a message. */
static void decode_bytes(const char *path, const char *bytes, size_t count)
{
    mm_frames frames;
    mm_error error = {0};
    mm_decode_request request = {.frame_step = 1, .frame_count = 2, .width = 20, .height = 12};
    assert_int_equal(mm_output_file_write_all(path, bytes, count, &error), MM_OK);
    mm_status status = mm_media_decode(&frames, path, &request, NULL, &error);
    if (status == MM_OK)
        assert_int_equal(frames.count, 2);
    else
        assert_true(error.text[0] != '\0' && !frames.data);
    mm_frames_free(&frames);
}

static void damage(const char *name, const char *path, unsigned *seed)
{
    char *original = fixture(name), *bytes;
    size_t count;
    mm_error error = {0};
    assert_int_equal(mm_file_read_all(original, 1 << 20, &bytes, &count, &error), MM_OK);
    for (size_t part = 1; part < 8; part++)
        decode_bytes(path, bytes, count * part / 8);
    for (int round = 0; round < 12; round++) {
        for (int flips = 0; flips < 4; flips++)
            bytes[(size_t)rand_r(seed) % count] = (char)rand_r(seed);
        decode_bytes(path, bytes, count);
    }
    mm_free(bytes);
    mm_free(original);
}

static void test_damaged_files(void **state)
{
    (void)state;
    static const char *const names[] = {"plain.mp4",     "odd.mkv",     "alpha.mov",
                                        "animation.gif", "picture.png", "resized.h264"};
    char *directory = scratch_directory(), *path = mm_path_join(directory, "damaged");
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        damage(names[i], path, &seed);
    mm_free(path);
    remove_scratch(directory);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    char *path = fixture("plain.mp4");
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t countdown = 1; status != MM_OK; countdown++) {
        mm_frames frames;
        mm_error error = {0};
        mm_decode_request request = {.frame_step = 1};
        assert_true(countdown < 1000);
        mm_memory_fail_after(countdown, true);
        status = mm_media_decode(&frames, path, &request, NULL, &error);
        mm_memory_fail_after(0, false);
        assert_true(status == MM_OK || status == MM_ERR_MEMORY);
        mm_frames_free(&frames);
    }
    mm_free(path);
}

static void test_scaling_frames(void **state)
{
    (void)state;
    mm_frames frames = make_frames(2, 40, 24, 8), same, half;
    mm_error error = {0};
    assert_int_equal(mm_frames_scale(&same, &frames, 40, 24, MM_SCALING_BILINEAR, &error), MM_OK);
    assert_int_equal(greatest_difference(&same, &frames, 2), 0);
    assert_int_equal(mm_frames_scale(&half, &frames, 20, 12, MM_SCALING_BICUBIC, &error), MM_OK);
    assert_int_equal(half.count, 2);
    for (int x = 2; x < 18; x++) /* the red ramp stays a ramp */
        assert_true(abs(half.data[3 * x] - 255 * (2 * x) / 40 - 3) <= 2);
    mm_frames none;
    assert_int_equal(mm_frames_scale(&none, &frames, 0, 12, MM_SCALING_BILINEAR, &error),
                     MM_ERR_USAGE);
    mm_frames_free(&frames);
    mm_frames_free(&same);
    mm_frames_free(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_equal_the_tool),
        cmocka_unit_test(test_transparent_pixels_lie_over_black),
        cmocka_unit_test(test_start_and_step),
        cmocka_unit_test(test_the_size_may_change_within_a_video),
        cmocka_unit_test(test_too_few_frames),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_files_without_video),
        cmocka_unit_test(test_a_small_file_with_huge_pictures),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_nothing_is_printed),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_scaling_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

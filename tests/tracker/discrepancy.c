/* SPDX-License-Identifier: BSD-2-Clause */
/* Motion discrepancy of given tracks against NumPy, and what it must be by definition. */
#include "check.h"

#include "metrics/tracks.h"

static mm_error error;

static mm_tracks read_tracks(const mm_tensor_file *file, const char *name, int number)
{
    char full[32];
    size_t count;
    snprintf(full, sizeof(full), "%s.%d", name, number);
    int64_t index = mm_tensor_file_find(file, full);
    assert_true(index >= 0);
    const mm_shape *shape = &mm_tensor_file_info(file, (size_t)index)->shape;
    return (mm_tracks){.frames = shape->dim[0],
                       .points = shape->dim[1],
                       .width = 384,
                       .height = 320,
                       .place = check_read(file, full, &count)};
}

static double discrepancy(const mm_tracks *a, const mm_tracks *b)
{
    double value;
    if (mm_motion_discrepancy(a, b, 384, 320, &value, &error) != MM_OK)
        fail_msg("%s", error.text);
    return value;
}

static void test_values(void **state)
{
    (void)state;
    mm_tensor_file *file = check_open(FIXTURES "/tracker/discrepancy.safetensors");
    for (int i = 0; i < 4; i++) {
        mm_tracks a = read_tracks(file, "a", i), b = read_tracks(file, "b", i);
        char name[32];
        double want;
        snprintf(name, sizeof(name), "value.%d", i);
        int64_t index = mm_tensor_file_find(file, name);
        assert_int_equal(mm_tensor_file_read_raw(file, (size_t)index, 0, 1, &want, &error), MM_OK);
        assert_true(fabs(discrepancy(&a, &b) / want - 1.0) < 1e-12);
        assert_true(fabs(discrepancy(&b, &a) / want - 1.0) < 1e-12);
        assert_true(discrepancy(&a, &a) == 0.0);
        free(a.place);
        free(b.place);
    }
    mm_tensor_file_close(&file);
}

static void test_refusals(void **state)
{
    (void)state;
    mm_tracks a, b;
    double value;
    assert_int_equal(mm_tracks_allocate(&a, 3, 2, &error), MM_OK);
    assert_int_equal(mm_tracks_allocate(&b, 4, 2, &error), MM_OK);
    assert_int_equal(mm_motion_discrepancy(&a, &b, 8, 8, &value, &error), MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "3 and 4 frames"));
    a.place[5] = NAN;
    assert_int_equal(mm_motion_discrepancy(&a, &a, 8, 8, &value, &error), MM_ERR_NONFINITE);
    mm_tracks_free(&a);
    mm_tracks_free(&b);
}

/* The grid of a video that does not move lies at the same places whatever the video's size. */
static void test_rescaling(void **state)
{
    (void)state;
    mm_tracks a, b;
    assert_int_equal(mm_tracks_allocate(&a, 1, 1, &error), MM_OK);
    assert_int_equal(mm_tracks_allocate(&b, 1, 1, &error), MM_OK);
    a.width = 480;
    a.height = 320;
    a.place[0] = 479.0f;
    a.place[1] = 159.5f;
    b.width = b.height = 384;
    b.place[0] = 383.0f;
    b.place[1] = 191.5f;
    assert_true(discrepancy(&a, &b) > 1e-3);
    mm_tracks_rescale(&a, 384, 384);
    assert_true(discrepancy(&a, &b) < 1e-12);
    mm_tracks_free(&a);
    mm_tracks_free(&b);
}

/* A path of two points: drawn in the second frame, and only marked in the first; one that is hidden
   is hollow, and one far outside the picture does no harm. */
static void test_drawing(void **state)
{
    (void)state;
    enum { width = 40, height = 24, picture = width * height * 3 };
    uint8_t data[2 * picture] = {0};
    mm_frames frames = {.count = 2, .width = width, .height = height, .data = data}, out;
    mm_tracks tracks;
    assert_int_equal(mm_tracks_allocate(&tracks, 2, 2, &error), MM_OK);
    memcpy(tracks.place, (float[]){5, 5, 1e9f, -1e9f, 30, 15, -1e9f, 1e9f}, 8 * sizeof(float));
    tracks.visible[0] = 1;
    assert_int_equal(mm_tracks_draw(&out, &frames, &tracks, &error), MM_OK);
    const uint8_t *first = out.data, *second = out.data + picture;
#define SUM(frame, x, y)                                                   \
    ((frame)[((y)*width + (x)) * 3] + (frame)[((y)*width + (x)) * 3 + 1] + \
     (frame)[((y)*width + (x)) * 3 + 2])
    assert_true(SUM(first, 5, 5) > 0 && SUM(first, 10, 7) == 0 && SUM(first, 30, 15) == 0);
    assert_true(SUM(second, 10, 7) > 0 && SUM(second, 31, 14) > 0 && SUM(second, 30, 15) == 0);
    assert_int_equal(data[0], 0);
    mm_frames_free(&out);
    mm_tracks_free(&tracks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_rescaling),
        cmocka_unit_test(test_drawing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptions beside videos. */
#include "check.h"
#include "motionmatcher/video.h"

static void write_text(const char *directory, const char *name, const char *text)
{
    char *path = mm_format("%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    mm_free(path);
}

static void test_the_prompt_beside_a_video(void **state)
{
    (void)state;
    char *directory = check_directory(), *prompt = NULL;
    char *video = mm_format("%s/a.b.mp4", directory);
    OK(mm_video_read_prompt(video, &prompt));
    assert_null(prompt);

    write_text(directory, "a.b.json", "{\"prompt\": \"a \\u00e9\", \"track\": [[1, 2]]}");
    OK(mm_video_read_prompt(video, &prompt));
    assert_string_equal(prompt, "a \xc3\xa9");
    mm_string_free(prompt);
    write_text(directory, "a.b.json", "{\"caption\": \"x\"}");
    OK(mm_video_read_prompt(video, &prompt));
    assert_null(prompt);

    write_text(directory, "a.b.json", "{\"prompt\": 3}");
    FAILS(mm_video_read_prompt(video, &prompt), MM_ERR_INPUT, "a.b.json");
    write_text(directory, "a.b.json", "{\"prompt\": \"a");
    FAILS(mm_video_read_prompt(video, &prompt), MM_ERR_INPUT, "a.b.json");
    assert_null(prompt);
    FAILS(mm_video_read_prompt(NULL, &prompt), MM_ERR_USAGE, "path");
    mm_free(video);
    check_remove(directory);
}

static void test_probing(void **state)
{
    (void)state;
    mm_video_info info = {.struct_size = sizeof(info)};
    if (strcmp(mm_video_backend_versions(), "none") == 0)
        return;
    OK(mm_video_probe(FIXTURES "/evaluation/still.png", &info));
    assert_int_equal(info.width, 51);
    assert_int_equal(info.height, 38);
    assert_string_equal(info.codec, "png");
    FAILS(mm_video_probe("/nowhere.mp4", &info), MM_ERR_INPUT, "/nowhere.mp4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_prompt_beside_a_video),
        cmocka_unit_test(test_probing),
    };
    return cmocka_run_group_tests_name("videos", tests, NULL, NULL);
}

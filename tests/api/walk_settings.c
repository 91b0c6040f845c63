/* SPDX-License-Identifier: BSD-2-Clause */
/* Version, status, context, options and video with wrong arguments. */
#include "walk.h"

#include <sys/stat.h>

#include "base/file.h"

/* In a build without FFmpeg every video file is refused as such. */
static mm_status with_ffmpeg(mm_status status)
{
    return strcmp(mm_video_backend_versions(), "none") == 0 ? MM_ERR_UNSUPPORTED : status;
}

void walk_mm_version(void)
{
    assert_string_equal(mm_version(), MM_VERSION);
}

void walk_mm_abi_version(void)
{
    assert_int_equal(mm_abi_version(), MM_ABI_VERSION);
}

void walk_mm_status_name(void)
{
    assert_string_equal(mm_status_name(MM_OK), "MM_OK");
    assert_string_equal(mm_status_name(1), "MM_ERR_UNKNOWN");
    assert_string_equal(mm_status_name(INT32_MIN), "MM_ERR_UNKNOWN");
}

void walk_mm_last_error(void)
{
    char *out = NULL;
    walk_poison();
    OK(mm_video_read_prompt(walk_missing, &out));
    assert_non_null(strstr(mm_last_error(), "mm_option_describe"));
}

void walk_mm_context_create(void)
{
    mm_context *out;
    mm_options *train = walk_options("train");
    REFUSED(mm_context_create(NULL, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_context_create(&out, train), MM_ERR_USAGE);
    mm_options_free(&train);
}

void walk_mm_context_free(void)
{
    mm_context *none = NULL;
    mm_context_free(NULL);
    mm_context_free(&none);
    assert_null(none);
}

void walk_mm_context_set_log(void)
{
    mm_context_set_log(NULL, NULL, NULL);
    mm_context_set_log(walk_context, NULL, NULL);
}

void walk_mm_context_set_events(void)
{
    mm_context_set_events(NULL, NULL, NULL);
    mm_context_set_events(walk_context, NULL, NULL);
}

void walk_mm_context_stop(void)
{
    mm_context_stop(NULL);
}

void walk_mm_context_cancel(void)
{
    mm_context_cancel(NULL);
}

void walk_mm_context_resume(void)
{
    mm_context_resume(NULL);
}

void walk_mm_context_device(void)
{
    assert_string_equal(mm_context_device(NULL), "");
}

void walk_mm_context_precision(void)
{
    assert_string_equal(mm_context_precision(NULL), "");
}

void walk_mm_context_memory_budget(void)
{
    assert_int_equal(mm_context_memory_budget(NULL), 0);
}

void walk_mm_options_create(void)
{
    mm_options *out;
    REFUSED(mm_options_create(NULL, "train"), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_options_create(&out, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_options_create(&out, ""), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_options_create(&out, NOT_UTF8), MM_ERR_USAGE);
}

void walk_mm_options_free(void)
{
    mm_options *none = NULL;
    mm_options_free(NULL);
    mm_options_free(&none);
}

static char *long_text(size_t length)
{
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, '7', length);
    text[length] = '\0';
    return text;
}

void walk_mm_options_set(void)
{
    mm_options *train = walk_options("train");
    char *large = long_text(1 << 20);
    REFUSED(mm_options_set(NULL, "steps", "1", MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, NULL, "1", MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "steps", NULL, MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "steps", "1", -1), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "steps", "1", 4), MM_ERR_USAGE);
    static const char *const values[] = {"",    "0",  "-1",  "1.5", "0x10",     "1e99",
                                         "nan", " 1", "1,5", "one", "10000001", NOT_UTF8};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        REFUSED(mm_options_set(train, "steps", values[i], MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "steps", large, MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, large, "1", MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "", "1", MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, NOT_UTF8, "1", MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "objective", "other", MM_SOURCE_SET), MM_ERR_USAGE);
    REFUSED(mm_options_set(train, "prompt", NOT_UTF8, MM_SOURCE_SET), MM_ERR_USAGE);
    free(large);
    mm_options_free(&train);
}

void walk_mm_options_get(void)
{
    mm_options *train = walk_options("train");
    const char *out;
    REFUSED(mm_options_get(NULL, "steps", 0, &out), MM_ERR_USAGE);
    REFUSED(mm_options_get(train, NULL, 0, &out), MM_ERR_USAGE);
    REFUSED(mm_options_get(train, "steps", 0, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_options_get(train, "nothing-near-it", 0, &out), MM_ERR_USAGE);
    OK(mm_options_get(train, "steps", 1, &out));
    assert_null(out);
    mm_options_free(&train);
}

void walk_mm_options_source(void)
{
    mm_options *train = walk_options("train");
    assert_int_equal(mm_options_source(NULL, "steps"), -1);
    assert_int_equal(mm_options_source(train, NULL), -1);
    assert_int_equal(mm_options_source(train, "no such"), -1);
    mm_options_free(&train);
}

void walk_mm_options_load(void)
{
    mm_options *train = walk_options("train");
    REFUSED(mm_options_load(NULL, NULL, walk_file), MM_ERR_USAGE);
    REFUSED(mm_options_load(train, NULL, NULL), MM_ERR_USAGE);
    REFUSED(mm_options_load(train, NULL, walk_missing), MM_ERR_INPUT);
    REFUSED(mm_options_load(train, NULL, walk_scratch), MM_ERR_INPUT);
    REFUSED(mm_options_load(train, NULL, ""), MM_ERR_INPUT);
    assert_int_not_equal(mm_options_load(train, NULL, walk_garbage), MM_OK);
    mm_options_free(&train);
}

void walk_mm_options_notices(void)
{
    assert_string_equal(mm_options_notices(NULL), "");
}

void walk_mm_options_to_json(void)
{
    mm_options *train = walk_options("train");
    char *out;
    REFUSED_OUT(out, mm_options_to_json(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_options_to_json(train, NULL), MM_ERR_USAGE);
    mm_options_free(&train);
}

void walk_mm_string_free(void)
{
    mm_string_free(NULL);
}

void walk_mm_option_count(void)
{
    assert_int_equal(mm_option_count(NULL), 0);
    assert_int_equal(mm_option_count("no such"), 0);
}

void walk_mm_option_describe(void)
{
    mm_option_info info = {.struct_size = sizeof(info)}, small = {.struct_size = 8};
    assert_int_equal(mm_option_describe(NULL, 0, &info), MM_ERR_USAGE);
    assert_int_equal(mm_option_describe("no such", 0, &info), MM_ERR_USAGE);
    assert_int_equal(mm_option_describe("train", 0, NULL), MM_ERR_USAGE);
    assert_int_equal(mm_option_describe("train", 100000, &info), MM_ERR_USAGE);
    REFUSED(mm_option_describe("train", 0, &small), MM_ERR_USAGE);
    assert_int_equal(small.struct_size, 8);
}

void walk_mm_video_decode(void)
{
    mm_video *out;
    mm_options *train = walk_options("train"), *sample = walk_options("sample");
    REFUSED(mm_video_decode(NULL, walk_context, walk_file, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_decode(&out, NULL, walk_file, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, NULL, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, walk_file, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, walk_file, sample), MM_ERR_USAGE);
    mm_status input = with_ffmpeg(MM_ERR_INPUT);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, walk_missing, train), input);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, walk_scratch, train), input);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, walk_file, train), input);
    REFUSED_OUT(out, mm_video_decode(&out, walk_context, "", train), input);
    mm_options_free(&sample);
    mm_options_free(&train);
}

static void refuse_frames(const char *dtype, int32_t rank, const int64_t *shape)
{
    static const uint8_t data[6];
    mm_tensor *wrong = NULL;
    mm_video *out;
    OK(mm_tensor_wrap(&wrong, data, dtype, rank, shape, NULL, NULL, NULL));
    REFUSED_OUT(out, mm_video_from_tensor(&out, wrong, 8.0), MM_ERR_USAGE);
    mm_tensor_free(&wrong);
}

void walk_mm_video_from_tensor(void)
{
    static const int64_t shapes[][4] = {{0, 1, 1, 3}, {1, 0, 1, 3}, {1, 1, 0, 3}, {1, 1, 1, 4}};
    static const int64_t one[] = {1, 1, 1, 3};
    mm_tensor *frames = NULL;
    mm_video *out;
    OK(mm_video_tensor(walk_video, &frames));
    REFUSED(mm_video_from_tensor(NULL, frames, 8.0), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_from_tensor(&out, NULL, 8.0), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_from_tensor(&out, frames, (double)NAN), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_video_from_tensor(&out, frames, -1.0), MM_ERR_USAGE);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        refuse_frames("u8", 4, shapes[i]);
    refuse_frames("f16", 4, one);
    refuse_frames("u8", 3, one);
    refuse_frames("u8", 0, NULL);
    mm_tensor_free(&frames);
}

void walk_mm_video_free(void)
{
    mm_video *none = NULL;
    mm_video_free(NULL);
    mm_video_free(&none);
}

void walk_mm_video_frames(void)
{
    assert_int_equal(mm_video_frames(NULL), 0);
}

void walk_mm_video_width(void)
{
    assert_int_equal(mm_video_width(NULL), 0);
}

void walk_mm_video_height(void)
{
    assert_int_equal(mm_video_height(NULL), 0);
}

void walk_mm_video_fps(void)
{
    assert_float_equal(mm_video_fps(NULL), 0.0, 0.0);
}

void walk_mm_video_tensor(void)
{
    mm_tensor *out;
    REFUSED_OUT(out, mm_video_tensor(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_video_tensor(walk_video, NULL), MM_ERR_USAGE);
}

void walk_mm_video_write(void)
{
    char *below_a_file = mm_path_join(walk_file, "clip.gif");
    char *nowhere = mm_path_join(walk_missing, "clip.gif");
    char *directory = mm_path_join(walk_scratch, "clip.gif");
    assert_int_equal(mkdir(directory, 0777), 0);
    REFUSED(mm_video_write(NULL, walk_context, "clip.gif"), MM_ERR_USAGE);
    REFUSED(mm_video_write(walk_video, NULL, "clip.gif"), MM_ERR_USAGE);
    REFUSED(mm_video_write(walk_video, walk_context, NULL), MM_ERR_USAGE);
    REFUSED(mm_video_write(walk_video, walk_context, walk_file), with_ffmpeg(MM_ERR_USAGE));
    REFUSED(mm_video_write(walk_video, walk_context, ""), with_ffmpeg(MM_ERR_USAGE));
    mm_status runtime = with_ffmpeg(MM_ERR_RUNTIME);
    REFUSED(mm_video_write(walk_video, walk_context, below_a_file), runtime);
    REFUSED(mm_video_write(walk_video, walk_context, nowhere), runtime);
    REFUSED(mm_video_write(walk_video, walk_context, directory), runtime);
    mm_free(directory);
    mm_free(nowhere);
    mm_free(below_a_file);
}

void walk_mm_video_probe(void)
{
    mm_video_info info = {.struct_size = sizeof(info)}, small = {.struct_size = 4};
    REFUSED(mm_video_probe(NULL, &info), MM_ERR_USAGE);
    REFUSED(mm_video_probe(walk_file, NULL), MM_ERR_USAGE);
    REFUSED(mm_video_probe(walk_file, &small), MM_ERR_USAGE);
    assert_int_not_equal(mm_video_probe(walk_missing, &info), MM_OK);
}

void walk_mm_video_read_prompt(void)
{
    char *out, *clip = mm_path_join(walk_scratch, "told.gif");
    char *description = mm_path_join(walk_scratch, "told.json");
    mm_error error = {0};
    REFUSED_OUT(out, mm_video_read_prompt(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_video_read_prompt(walk_file, NULL), MM_ERR_USAGE);
    OK(mm_video_read_prompt(walk_missing, &out));
    assert_null(out);
    assert_int_equal(mm_output_file_write_all(description, "{\"prompt\": 7}", 13, &error), MM_OK);
    REFUSED_OUT(out, mm_video_read_prompt(clip, &out), MM_ERR_INPUT);
    assert_int_equal(mm_output_file_write_all(description, "{", 1, &error), MM_OK);
    REFUSED_OUT(out, mm_video_read_prompt(clip, &out), MM_ERR_INPUT);
    mm_free(description);
    mm_free(clip);
}

void walk_mm_video_backend_versions(void)
{
    assert_true(strlen(mm_video_backend_versions()) >= 4);
}

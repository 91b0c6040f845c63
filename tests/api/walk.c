/* SPDX-License-Identifier: BSD-2-Clause */
/* Every exported function with wrong arguments: NULL, wrong sizes, wrong order, a file where a
   directory should be. A status and a message, and out-parameters that are NULL; functions without
   a status give their neutral value. A function that is exported and not walked here fails. */
#include "walk.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"

mm_context *walk_context;
mm_model *walk_model;
mm_video *walk_video;
char *walk_scratch, *walk_file, *walk_missing, *walk_garbage, *walk_noise_i64;

#define POISON "mm_option_describe: no such table or option"

void walk_poison(void)
{
    assert_int_equal(mm_option_describe(NULL, 0, NULL), MM_ERR_USAGE);
    assert_string_equal(mm_last_error(), POISON);
}

/* One line of UTF-8 that says something, and that this call said. */
void walk_check(const char *call, mm_status have, mm_status want)
{
    const char *message = mm_last_error();
    if (have != want)
        fail_msg("%s: %s instead of %s: %s", call, mm_status_name(have), mm_status_name(want),
                 message);
    if (strcmp(message, POISON) == 0)
        fail_msg("%s: no message", call);
    if (strlen(message) < 5 || strchr(message, '\n') || !mm_utf8_valid(message, strlen(message)))
        fail_msg("%s: the message is \"%s\"", call, message);
}

static void write_text(const char *path, const void *text, size_t bytes)
{
    mm_error error = {0};
    assert_int_equal(mm_output_file_write_all(path, text, bytes, &error), MM_OK);
}

/* The tensor "noise" in the right shape for 2 frames of 32x32, as whole numbers. */
static void write_noise_i64(const char *path)
{
    static const char header[] =
        "{\"noise\":{\"dtype\":\"I64\",\"shape\":[1,4,2,16,16],\"data_offsets\":[0,16384]}}  ";
    static char data[8 + sizeof(header) - 1 + 16384];
    uint64_t bytes = sizeof(header) - 1;
    memcpy(data, &bytes, 8);
    memcpy(data + 8, header, bytes);
    write_text(path, data, sizeof(data));
}

static int begin(void **state)
{
    static const uint8_t frames[WALK_FRAMES * WALK_SIDE * WALK_SIDE * 3];
    (void)state;
    walk_scratch = check_directory();
    walk_file = mm_path_join(walk_scratch, "file");
    walk_missing = mm_path_join(walk_scratch, "missing");
    walk_garbage = mm_path_join(walk_scratch, "garbage.safetensors");
    walk_noise_i64 = mm_path_join(walk_scratch, "noise.safetensors");
    write_text(walk_file, "a text", 6);
    write_text(walk_garbage, "\xff\xff\xff\xff garbage", 12);
    write_noise_i64(walk_noise_i64);
    OK(mm_context_create(&walk_context, NULL));
    OK(mm_model_open(&walk_model, walk_context, WALK_MODEL));
    OK(check_video(&walk_video, frames, WALK_FRAMES, WALK_SIDE, WALK_SIDE));
    return 0;
}

static int end(void **state)
{
    (void)state;
    mm_video_free(&walk_video);
    mm_model_free(&walk_model);
    mm_context_free(&walk_context);
    mm_free(walk_file);
    mm_free(walk_missing);
    mm_free(walk_garbage);
    mm_free(walk_noise_i64);
    check_remove(walk_scratch);
    return 0;
}

mm_options *walk_options(const char *table)
{
    return check_options(table, "width", "32", "height", "32", "num_frames", "2", NULL);
}

static const struct {
    const char *function;
    void (*walk)(void);
} walks[] = {
#define WALK(function) {#function, walk_##function},
#include "walk.def"
#undef WALK
};

#define WALKS (sizeof(walks) / sizeof(walks[0]))

static bool is_walked(const char *name)
{
    for (size_t i = 0; i < WALKS; i++) {
        if (strcmp(walks[i].function, name) == 0)
            return true;
    }
    return false;
}

static void test_every_exported_function_is_walked(void **state)
{
    (void)state;
    char name[128];
    size_t count = 0;
    FILE *list = fopen(SYMBOLS, "re");
    assert_non_null(list);
    while (fgets(name, sizeof(name), list)) {
        name[strcspn(name, "\n")] = '\0';
        if (!*name || *name == '#')
            continue;
        count++;
        if (!is_walked(name))
            fail_msg("%s is exported, but no call of it with wrong arguments is tested: add it to "
                     "tests/api/walk.def",
                     name);
    }
    fclose(list);
    assert_int_equal(count, WALKS);
}

static void test_walk(void **state)
{
    void (*walk)(void) = walks[(uintptr_t)*state].walk;
    walk();
}

int main(void)
{
    struct CMUnitTest tests[WALKS + 1] = {cmocka_unit_test(test_every_exported_function_is_walked)};
    for (size_t i = 0; i < WALKS; i++)
        tests[i + 1] = (struct CMUnitTest){.name = walks[i].function,
                                           .test_func = test_walk,
                                           .initial_state = (void *)(uintptr_t)i};
    return cmocka_run_group_tests(tests, begin, end);
}

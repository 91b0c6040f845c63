/* SPDX-License-Identifier: BSD-2-Clause */
/* Files, with the system calls below them failing, interrupted and short: see
   tests/base/meson.build for how the calls of the library end up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static char directory[] = "/tmp/mm-file-XXXXXX";

/* The call number `left` (from 1) of the chosen kind fails with `reason`; 0: none does. */
static struct fault {
    int left, reason;
} read_fault, write_fault, sync_fault, rename_fault;
static size_t most_at_once = SIZE_MAX;

static bool fails(struct fault *fault)
{
    if (fault->left == 0 || --fault->left > 0)
        return false;
    errno = fault->reason;
    return true;
}

ssize_t __real_pread64(int descriptor, void *out, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int descriptor, void *out, size_t bytes, off_t offset);
ssize_t __wrap_pread64(int descriptor, void *out, size_t bytes, off_t offset)
{
    if (fails(&read_fault))
        return -1;
    return __real_pread64(descriptor, out, bytes < most_at_once ? bytes : most_at_once, offset);
}

ssize_t __real_write(int descriptor, const void *data, size_t bytes);
ssize_t __wrap_write(int descriptor, const void *data, size_t bytes);
ssize_t __wrap_write(int descriptor, const void *data, size_t bytes)
{
    if (fails(&write_fault))
        return -1;
    return __real_write(descriptor, data, bytes < most_at_once ? bytes : most_at_once);
}

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    return fails(&sync_fault) ? -1 : __real_fsync(descriptor);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return fails(&rename_fault) ? -1 : __real_rename(from, to);
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static int count_files(void)
{
    int count = 0;
    DIR *open_directory = opendir(directory);
    while (readdir(open_directory))
        count++;
    closedir(open_directory);
    return count - 2;
}

static void expect_content(const char *path, const char *expected)
{
    char *text;
    size_t bytes;
    mm_error error = {0};
    if (mm_file_read_all(path, 1000, &text, &bytes, &error) != MM_OK)
        fail_msg("%s", error.text);
    assert_int_equal(bytes, strlen(expected));
    assert_string_equal(text, expected);
    mm_free(text);
}

static void test_writing_and_reading(void **state)
{
    (void)state;
    mm_error error;
    char part[4] = "";
    const char *path = path_of("a");
    assert_int_equal(mm_output_file_write_all(path, "old", 3, &error), MM_OK);
    assert_int_equal(mm_output_file_write_all(path, "content", 7, &error), MM_OK);
    expect_content(path, "content");
    assert_int_equal(count_files(), 1);
    mm_file file;
    assert_int_equal(mm_file_open(&file, path, &error), MM_OK);
    assert_int_equal(file.size, 7);
    assert_int_equal(mm_file_read(&file, 3, part, 3, &error), MM_OK);
    assert_string_equal(part, "ten");
    assert_int_equal(mm_file_read(&file, 5, part, 3, &error), MM_ERR_INPUT);
    assert_int_equal(mm_file_read(&file, UINT64_MAX, part, 3, &error), MM_ERR_INPUT);
    mm_file_close(&file);
    mm_file_close(&file);
    char *text;
    assert_int_equal(mm_file_read_all(path, 6, &text, NULL, &error), MM_ERR_INPUT);
    assert_null(text);
    unlink(path);
}

static void test_mode_follows_umask(void **state)
{
    (void)state;
    mm_error error;
    struct stat facts;
    const char *path = path_of("mode");
    mode_t before = umask(027);
    assert_int_equal(mm_output_file_write_all(path, "x", 1, &error), MM_OK);
    umask(before);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0640);
    unlink(path);
}

/* Interrupted and short calls are carried on with. */
static void test_interruptions(void **state)
{
    (void)state;
    mm_error error;
    const char *path = path_of("short");
    most_at_once = 2;
    for (int i = 1; i <= 3; i++) {
        write_fault = read_fault = sync_fault = (struct fault){i, EINTR};
        assert_int_equal(mm_output_file_write_all(path, "content", 7, &error), MM_OK);
        expect_content(path, "content");
    }
    most_at_once = SIZE_MAX;
    write_fault = read_fault = sync_fault = (struct fault){0};
    unlink(path);
}

/* Whatever fails, the old file stays and no other is left. */
static void test_failing_calls(void **state)
{
    (void)state;
    static const struct {
        struct fault *fault;
        int reason;
    } cases[] = {{&write_fault, ENOSPC}, {&write_fault, EIO},     {&sync_fault, EIO},
                 {&rename_fault, EXDEV}, {&rename_fault, EACCES}, {&write_fault, EFBIG}};
    mm_error error;
    const char *path = path_of("kept");
    assert_int_equal(mm_output_file_write_all(path, "old", 3, &error), MM_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        *cases[i].fault = (struct fault){1, cases[i].reason};
        error.text[0] = '\0';
        assert_int_equal(mm_output_file_write_all(path, "new", 3, &error), MM_ERR_RUNTIME);
        assert_non_null(strstr(error.text, path));
        assert_non_null(strstr(error.text, strerror(cases[i].reason)));
        expect_content(path, "old");
        assert_int_equal(count_files(), 1);
    }
    read_fault = (struct fault){1, EIO};
    char *text;
    assert_int_equal(mm_file_read_all(path, 100, &text, NULL, &error), MM_ERR_INPUT);
    unlink(path);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    const char *path = path_of("memory");
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK; n++) {
        mm_error error = {0};
        mm_memory_fail_after(n, false);
        status = mm_output_file_write_all(path, "new", 3, &error);
        mm_memory_fail_after(0, false);
        assert_true(status == MM_OK || (status == MM_ERR_MEMORY && error.text[0]));
        assert_int_equal(count_files(), mm_path_is_file(path) ? 1 : 0);
        assert_true(n < 100);
    }
    unlink(path);
}

static void test_impossible_targets(void **state)
{
    (void)state;
    static const char *const bad[] = {"/dev/null", "/tmp", "/missing/x", "/proc/x", "", "x/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mm_output_file file;
        mm_error error = {0};
        assert_int_equal(mm_output_file_open(&file, bad[i], &error), MM_ERR_RUNTIME);
        assert_true(error.text[0] != '\0');
        mm_output_file_abort(&file);
    }
    mm_output_file zeroed = {0};
    mm_output_file_abort(&zeroed);
    assert_true(fcntl(0, F_GETFD) != -1 || errno == EBADF);
}

static void test_directories(void **state)
{
    (void)state;
    mm_error error = {0};
    char path[512];
    snprintf(path, sizeof(path), "%s", path_of("x/y//z/"));
    assert_int_equal(mm_directory_create(path, &error), MM_OK);
    assert_int_equal(mm_directory_create(path, &error), MM_OK);
    assert_true(mm_path_is_directory(path));
    assert_false(mm_path_is_file(path));
    assert_int_equal(mm_directory_check_writable(path, &error), MM_OK);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(path_of("x/y")), 0);
    assert_int_equal(rmdir(path_of("x")), 0);
    assert_int_equal(mm_output_file_write_all(path_of("file"), "", 0, &error), MM_OK);
    assert_int_equal(mm_directory_create(path_of("file/x"), &error), MM_ERR_RUNTIME);
    assert_int_equal(mm_directory_create(path_of("file"), &error), MM_ERR_RUNTIME);
    assert_int_equal(mm_directory_check_writable(path_of("missing"), &error), MM_ERR_RUNTIME);
    unlink(path_of("file"));
    char *joined = mm_path_join("a/", "b"), *other = mm_path_join("a", "b");
    assert_string_equal(joined, "a/b");
    assert_string_equal(other, "a/b");
    mm_free(joined);
    mm_free(other);
}

/* Two processes that save to one path: the file is always one of theirs, whole. */
static void test_two_writers(void **state)
{
    (void)state;
    enum { ROUNDS = 30, BYTES = 20000 };
    const char *path = path_of("both");
    char content[BYTES];
    pid_t child = fork();
    memset(content, child == 0 ? 'c' : 'p', BYTES);
    int failures = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char *text = NULL;
        size_t bytes;
        mm_error error;
        failures += mm_output_file_write_all(path, content, BYTES, &error) != MM_OK;
        failures += mm_file_read_all(path, BYTES, &text, &bytes, &error) != MM_OK ||
                    bytes != BYTES || text[0] != text[BYTES - 1];
        mm_free(text);
    }
    if (child == 0)
        _exit(failures != 0);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_int_equal(failures, 0);
    assert_int_equal(count_files(), 1);
    unlink(path);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writing_and_reading), cmocka_unit_test(test_mode_follows_umask),
        cmocka_unit_test(test_interruptions),       cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_failing_allocations), cmocka_unit_test(test_impossible_targets),
        cmocka_unit_test(test_directories),         cmocka_unit_test(test_two_writers),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

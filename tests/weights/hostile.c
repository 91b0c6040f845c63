/* SPDX-License-Identifier: BSD-2-Clause */
#include "hostile.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

static char directory[] = "/tmp/mm-test-XXXXXX";
static size_t peak_at_start;

void put(bytes *b, const void *data, size_t count)
{
    if (b->count + count > b->capacity) {
        b->capacity = 2 * (b->count + count);
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    if (count > 0)
        memcpy(b->data + b->count, data, count);
    b->count += count;
}

void put_text(bytes *b, const char *text)
{
    put(b, text, strlen(text));
}

void put_number(bytes *b, uint64_t number, size_t count)
{
    put(b, &number, count);
}

void put_filler(bytes *b, char c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(b, &c, 1);
}

void free_bytes(bytes *b)
{
    free(b->data);
    *b = (bytes){0};
}

const char *scratch_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

void write_scratch(const char *path, const bytes *content)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (content->count > 0)
        assert_int_equal(fwrite(content->data, 1, content->count, file), content->count);
    assert_int_equal(fclose(file), 0);
}

const char *in_memory(const bytes *content)
{
    static int descriptor = -1;
    static char path[64];
    if (descriptor < 0)
        descriptor = memfd_create("case", 0);
    assert_true(descriptor >= 0);
    assert_int_equal(ftruncate(descriptor, 0), 0);
    assert_int_equal(pwrite(descriptor, content->data, content->count, 0), content->count);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    return path;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void expect_path_status(const char *label, const char *path, mm_status expected)
{
    mm_tensor_file *file = NULL;
    mm_error error = {0};
    double start = seconds_now();
    mm_status status = mm_tensor_file_open(&file, path, &error);
    double seconds = seconds_now() - start;
    if (expected == ANY_ERROR && (status == MM_ERR_INPUT || status == MM_ERR_UNSUPPORTED))
        expected = status;
    if (status != expected)
        fail_msg("%s: status %d (%s), expected %d", label, status, error.text, expected);
    if (status != MM_OK && (!strstr(error.text, path) || file || error.status != status))
        fail_msg("%s: no message that names the file, or a handle: '%s'", label, error.text);
#ifndef __SANITIZE_ADDRESS__
    if (seconds > 1)
        fail_msg("%s: took %g s", label, seconds);
#else
    (void)seconds;
#endif
    mm_tensor_file_close(&file);
}

void expect_status(const char *label, const bytes *content, mm_status expected)
{
    expect_path_status(label, in_memory(content), expected);
}

void expect_peak_below(size_t bytes_more)
{
#ifndef __SANITIZE_ADDRESS__
    size_t peak = mm_resident_peak_bytes();
    if (peak > peak_at_start + bytes_more)
        fail_msg("resident memory grew by %zu bytes", peak - peak_at_start);
#else
    (void)bytes_more;
#endif
}

static void put_local(bytes *b, bytes *central, const char *name, const void *data, size_t count)
{
    const size_t length = strlen(name), header = b->count;
    const uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), data, (uInt)count);
    put(b, "PK\3\4\0\0\0\0\0\0\0\0\0\0", 14);
    put_number(b, crc, 4);
    put_number(b, count, 4);
    put_number(b, count, 4);
    put_number(b, length, 2);
    put_number(b, 0, 2);
    put_text(b, name);
    put(b, data, count);
    put(central, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    put_number(central, crc, 4);
    put_number(central, count, 4);
    put_number(central, count, 4);
    put_number(central, length, 2);
    put_number(central, 0, 8);
    put_number(central, 0, 4);
    put_number(central, header, 4);
    put_text(central, name);
}

void put_archive(bytes *b, const void *pickle, size_t pickle_bytes, size_t storage_bytes)
{
    bytes central = {0}, storage = {0};
    put_filler(&storage, 0, storage_bytes);
    put_local(b, &central, "a/data.pkl", pickle, pickle_bytes);
    put_local(b, &central, "a/data/0", storage.data, storage_bytes);
    put_local(b, &central, "a/version", "3\n", 2);
    const size_t at = b->count;
    put(b, central.data, central.count);
    put(b, "PK\5\6\0\0\0\0\3\0\3\0", 12);
    put_number(b, central.count, 4);
    put_number(b, at, 4);
    put_number(b, 0, 2);
    free_bytes(&central);
    free_bytes(&storage);
}

int setup_scratch(void **state)
{
    (void)state;
    peak_at_start = mm_resident_peak_bytes();
    return mkdtemp(directory) ? 0 : -1;
}

int remove_scratch(void **state)
{
    (void)state;
    DIR *open_directory = opendir(directory);
    if (!open_directory)
        return -1;
    for (struct dirent *entry; (entry = readdir(open_directory));) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    closedir(open_directory);
    return rmdir(directory);
}

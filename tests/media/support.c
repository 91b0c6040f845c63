/* SPDX-License-Identifier: BSD-2-Clause */
#include "support.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

char *fixture(const char *name)
{
    char *path = mm_format("%s/media/%s", FIXTURES, name);
    assert_non_null(path);
    return path;
}

mm_frames decode_file(const char *path, mm_decode_request request)
{
    mm_frames frames;
    mm_error error = {0};
    if (mm_media_decode(&frames, path, &request, NULL, &error) != MM_OK)
        fail_msg("%s", error.text);
    return frames;
}

mm_frames decode_fixture(const char *name, mm_decode_request request)
{
    char *path = fixture(name);
    mm_frames frames = decode_file(path, request);
    mm_free(path);
    return frames;
}

mm_frames make_frames(int64_t count, int32_t width, int32_t height, double fps)
{
    mm_frames frames = {.count = count, .width = width, .height = height, .fps = fps};
    frames.data = mm_malloc((size_t)count * (size_t)width * (size_t)height * 3);
    assert_non_null(frames.data);
    uint8_t *out = frames.data;
    for (int64_t i = 0; i < count; i++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                *out++ = (uint8_t)(255 * x / width);
                *out++ = (uint8_t)(255 * y / height);
                *out++ = x < width / 2 && y < height / 2 ? 40 : (uint8_t)(90 + 8 * i);
            }
    return frames;
}

static size_t byte_count(const mm_frames *a, const mm_frames *b, int64_t count)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_true(a->count >= count && b->count >= count);
    return (size_t)count * (size_t)a->width * (size_t)a->height * 3;
}

int greatest_difference(const mm_frames *a, const mm_frames *b, int64_t count)
{
    int greatest = 0;
    for (size_t i = byte_count(a, b, count); i-- > 0;)
        if (abs(a->data[i] - b->data[i]) > greatest)
            greatest = abs(a->data[i] - b->data[i]);
    return greatest;
}

double mean_difference(const mm_frames *a, const mm_frames *b, int64_t count)
{
    size_t bytes = byte_count(a, b, count);
    double sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum += abs(a->data[i] - b->data[i]);
    return sum / (double)bytes;
}

char *scratch_directory(void)
{
    char *directory = mm_strdup("/tmp/mm-media-XXXXXX");
    assert_non_null(directory);
    assert_non_null(mkdtemp(directory));
    return directory;
}

static int visit_files(const char *directory, int delete)
{
    DIR *listing = opendir(directory);
    assert_non_null(listing);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *path = mm_path_join(directory, entry->d_name);
        count++;
        if (delete)
            unlink(path);
        mm_free(path);
    }
    closedir(listing);
    return count;
}

int count_files(const char *directory)
{
    return visit_files(directory, 0);
}

void remove_scratch(char *directory)
{
    visit_files(directory, 1);
    rmdir(directory);
    mm_free(directory);
}

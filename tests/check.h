/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of the handles share: cmocka with its headers, checks that show the message, a scratch
   directory, and comparison with stored tensors. */
#ifndef MM_TESTS_CHECK_H
#define MM_TESTS_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "motionmatcher/context.h"
#include "motionmatcher/video.h"
#include "weights/tensor_file.h"

/* A public call that must succeed. */
#define OK(call)                             \
    do {                                     \
        if ((call) != MM_OK)                 \
            fail_msg("%s", mm_last_error()); \
    } while (0)

/* A public call that must fail with this status and a message that holds this text. */
#define FAILS(call, status, text)                                           \
    do {                                                                    \
        mm_status check_status_ = (call);                                   \
        if (check_status_ != (status) || !strstr(mm_last_error(), (text)))  \
            fail_msg("%s: status %d, message \"%s\"", #call, check_status_, \
                     check_status_ == MM_OK ? "" : mm_last_error());        \
    } while (0)

/* Options of a table from name, value, ..., NULL. */
static inline mm_options *check_options(const char *table, ...)
{
    mm_options *options = NULL;
    OK(mm_options_create(&options, table));
    va_list args;
    va_start(args, table);
    for (const char *key; (key = va_arg(args, const char *));)
        OK(mm_options_set(options, key, va_arg(args, const char *), MM_SOURCE_SET));
    va_end(args);
    return options;
}

/* A video of frames that outlive it. */
static inline mm_status check_video(mm_video **out, const uint8_t *frames, int64_t count,
                                    int64_t height, int64_t width)
{
    const int64_t shape[] = {count, height, width, 3};
    mm_tensor *tensor = NULL;
    mm_status status = mm_tensor_wrap(&tensor, frames, "u8", 4, shape, NULL, NULL, NULL);
    if (status == MM_OK)
        status = mm_video_from_tensor(out, tensor, 8.0);
    mm_tensor_free(&tensor);
    return status;
}

/* A fresh directory; free the name with free(). Removed by check_remove. */
static inline char *check_directory(void)
{
    char *path = strdup("/tmp/mm-test-XXXXXX");
    assert_non_null(path && mkdtemp(path));
    return path;
}

static inline void check_remove(char *path)
{
    char *command = mm_format("rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
    mm_free(command);
    free(path);
}

static inline float *check_read(const mm_tensor_file *file, const char *name, size_t *count)
{
    mm_error error = {0};
    int64_t index = mm_tensor_file_find(file, name);
    if (index < 0)
        fail_msg("%s: no tensor %s", mm_tensor_file_path(file), name);
    *count = (size_t)mm_shape_elements(&mm_tensor_file_info(file, (size_t)index)->shape);
    float *values = malloc(*count * sizeof(float) + 1);
    if (mm_tensor_file_read_f32(file, (size_t)index, 0, (int64_t)*count, values, &error) != MM_OK)
        fail_msg("%s", error.text);
    return values;
}

static inline mm_tensor_file *check_open(const char *path)
{
    mm_error error = {0};
    mm_tensor_file *file = NULL;
    if (mm_tensor_file_open(&file, path, &error) != MM_OK)
        fail_msg("%s", error.text);
    return file;
}

/* Largest difference over the largest expected value. */
static inline double check_difference(const float *have, const float *want, size_t count)
{
    double worst = 0.0, largest = 1e-30;
    for (size_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)have[i] - want[i]));
        largest = fmax(largest, fabs((double)want[i]));
        if (!isfinite(have[i]))
            return INFINITY;
    }
    return worst / largest;
}

/* The same for one tensor of two files, which must have one shape. */
static inline double check_tensor(const mm_tensor_file *have, const mm_tensor_file *want,
                                  const char *name)
{
    size_t n, m;
    float *a = check_read(have, name, &n), *b = check_read(want, name, &m);
    assert_int_equal(n, m);
    double difference = check_difference(a, b, n);
    free(a);
    free(b);
    return difference;
}

#endif

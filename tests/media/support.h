/* SPDX-License-Identifier: BSD-2-Clause */
/* Clips of tests/fixtures/media and scratch directories, for the tests of this folder. */
#ifndef MM_TESTS_MEDIA_SUPPORT_H
#define MM_TESTS_MEDIA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "media/media.h"

/* Free with mm_free. */
char *fixture(const char *name);

/* Decodes a fixture or fails the test. */
mm_frames decode_fixture(const char *name, mm_decode_request request);
mm_frames decode_file(const char *path, mm_decode_request request);

/* Frames of a moving gradient with a sharp corner. */
mm_frames make_frames(int64_t count, int32_t width, int32_t height, double fps);

/* Greatest and mean difference of the first `count` frames, sizes being equal. */
int greatest_difference(const mm_frames *a, const mm_frames *b, int64_t count);
double mean_difference(const mm_frames *a, const mm_frames *b, int64_t count);

/* A fresh directory; the file names in it; removal with all that is in it. */
char *scratch_directory(void);
int count_files(const char *directory);
void remove_scratch(char *directory);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Building damaged and hostile tensor files in memory, and asking the reader about them. */
#ifndef MM_TESTS_HOSTILE_H
#define MM_TESTS_HOSTILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "weights/tensor_file.h"

typedef struct bytes {
    unsigned char *data;
    size_t count, capacity;
} bytes;

void put(bytes *b, const void *data, size_t count);
void put_text(bytes *b, const char *text);
void put_number(bytes *b, uint64_t number, size_t count); /* little-endian */
void put_filler(bytes *b, char c, size_t count);
void free_bytes(bytes *b);

/* A path in the test's own directory; the same buffer each time. */
const char *scratch_path(const char *name);
void write_scratch(const char *path, const bytes *content);
/* A path to the content without a file on disk; the content of the last call only. */
const char *in_memory(const bytes *content);

/* Opens the content as a file and fails the test unless the status is the expected one; bad files
   must also leave a message, take at most a second, and give no handle. `expected` ANY_ERROR takes
   MM_ERR_INPUT or MM_ERR_UNSUPPORTED. */
#define ANY_ERROR 1
void expect_status(const char *label, const bytes *content, mm_status expected);
/* The same for a path. */
void expect_path_status(const char *label, const char *path, mm_status expected);
/* Resident memory must not have grown by more than this since the program began. */
void expect_peak_below(size_t bytes_more);

/* A PyTorch archive with this pickle and one storage data/0 of `storage_bytes`. */
void put_archive(bytes *b, const void *pickle, size_t pickle_bytes, size_t storage_bytes);

int setup_scratch(void **state);
int remove_scratch(void **state);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Files: read in slices with pread, written whole or not at all. */
#ifndef MM_BASE_FILE_H
#define MM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* An open regular file. Reading never moves a position, so any number of threads may read. */
typedef struct mm_file {
    int descriptor;
    uint64_t size;
    char *path; /* as given, for messages */
} mm_file;

/* MM_ERR_INPUT: no such file, no permission, not a regular file (a directory, FIFO, device). A
   Git-LFS pointer is recognised and named as such. */
mm_status mm_file_open(mm_file *file, const char *path, mm_error *error);
void mm_file_close(mm_file *file);
/* Reads exactly `bytes` at `offset`; MM_ERR_INPUT when the file ends before or cannot be read. */
mm_status mm_file_read(const mm_file *file, uint64_t offset, void *out, size_t bytes,
                       mm_error *error);
/* The whole file with a final NUL; MM_ERR_INPUT above `limit` bytes. Free with mm_free. */
mm_status mm_file_read_all(const char *path, size_t limit, char **out, size_t *out_bytes,
                           mm_error *error);

/* A file that appears under its name only when it is complete: a temporary file in the same
   directory, fsync, rename, fsync of the directory. Errors are MM_ERR_RUNTIME. */
typedef struct mm_output_file {
    int descriptor;
    uint64_t position;
    char *path, *temporary;
} mm_output_file;

mm_status mm_output_file_open(mm_output_file *file, const char *path, mm_error *error);
mm_status mm_output_file_write(mm_output_file *file, const void *data, size_t bytes,
                               mm_error *error);
mm_status mm_output_file_commit(mm_output_file *file, mm_error *error);
/* Removes the temporary file; does nothing after a commit or on a zeroed struct. */
void mm_output_file_abort(mm_output_file *file);
/* A small text or binary file in one call. */
mm_status mm_output_file_write_all(const char *path, const void *data, size_t bytes,
                                   mm_error *error);

bool mm_path_is_directory(const char *path);
bool mm_path_is_file(const char *path);
bool mm_path_ends_with(const char *path, const char *ending);
/* "<directory>/<name>", fresh; NULL without memory. */
char *mm_path_join(const char *directory, const char *name);
/* Creates the directory and its parents; an existing directory is fine. MM_ERR_RUNTIME. */
mm_status mm_directory_create(const char *path, mm_error *error);
/* Tests that the directory can be written, or, where it does not exist, that it could be created:
   nothing is left behind. MM_ERR_RUNTIME, also when a file is in the way. */
mm_status mm_directory_check_creatable(const char *path, mm_error *error);
/* MM_ERR_RUNTIME: the directory's file system has less free than `bytes`. */
mm_status mm_directory_check_space(const char *path, uint64_t bytes, mm_error *error);
/* Tests that a file could be created or replaced under this name. MM_ERR_RUNTIME. */
mm_status mm_output_file_check(const char *path, mm_error *error);
/* Tests that a file can be created and written in the directory (creates and removes one).
   MM_ERR_RUNTIME. */
mm_status mm_directory_check_writable(const char *path, mm_error *error);

#endif

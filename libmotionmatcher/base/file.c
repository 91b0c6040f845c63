/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/rng.h"

#define LFS_POINTER "version https://git-lfs"
#define LFS_POINTER_MOST 1024 /* a pointer is a few lines of text */
#define MOST_PER_CALL ((size_t)1 << 30)
#define TEMPORARY_TRIES 100

static mm_status check_lfs_pointer(const mm_file *file, mm_error *error)
{
    char start[sizeof(LFS_POINTER) - 1];
    if (file->size < sizeof(start) || file->size > LFS_POINTER_MOST)
        return MM_OK;
    MM_TRY(mm_file_read(file, 0, start, sizeof(start), error));
    if (memcmp(start, LFS_POINTER, sizeof(start)) != 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: a Git-LFS pointer, not the file itself; fetch the file with 'git lfs pull'",
                   file->path);
}

static mm_status check_opened(mm_file *file, mm_error *error)
{
    struct stat facts;
    if (fstat(file->descriptor, &facts) != 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: cannot be examined: %m", file->path);
    if (S_ISDIR(facts.st_mode))
        return mm_fail(error, MM_ERR_INPUT, "%s: a directory, not a file", file->path);
    if (!S_ISREG(facts.st_mode))
        return mm_fail(error, MM_ERR_INPUT, "%s: not a regular file", file->path);
    file->size = (uint64_t)facts.st_size;
    return check_lfs_pointer(file, error);
}

mm_status mm_file_open(mm_file *file, const char *path, mm_error *error)
{
    *file = (mm_file){.descriptor = -1, .path = mm_strdup(path)};
    if (!file->path)
        return mm_fail_memory(error, "a file's name", strlen(path) + 1);
    do /* O_NONBLOCK: opening a FIFO must not wait for a writer */
        file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (file->descriptor < 0 && errno == EINTR);
    mm_status status = file->descriptor < 0
                           ? mm_fail(error, MM_ERR_INPUT, "%s: cannot be opened: %m", path)
                           : check_opened(file, error);
    if (status != MM_OK)
        mm_file_close(file);
    return status;
}

void mm_file_close(mm_file *file)
{
    if (!file->path)
        return; /* never opened, or closed before */
    if (file->descriptor >= 0)
        close(file->descriptor);
    mm_free(file->path);
    *file = (mm_file){.descriptor = -1};
}

mm_status mm_file_read(const mm_file *file, uint64_t offset, void *out, size_t bytes,
                       mm_error *error)
{
    char *next = out;
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return mm_fail(error, MM_ERR_INPUT, "%s: no offset %llu in a file", file->path,
                       (unsigned long long)offset);
    while (bytes > 0) {
        size_t part = bytes < MOST_PER_CALL ? bytes : MOST_PER_CALL;
        ssize_t got = pread(file->descriptor, next, part, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mm_fail(error, MM_ERR_INPUT, "%s: cannot be read at byte %llu: %m", file->path,
                           (unsigned long long)offset);
        if (got == 0)
            return mm_fail(error, MM_ERR_INPUT, "%s: ends at byte %llu, %zu bytes too early",
                           file->path, (unsigned long long)offset, bytes);
        next += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return MM_OK;
}

static mm_status read_whole(const mm_file *file, size_t limit, char **out, mm_error *error)
{
    if (file->size > limit)
        return mm_fail(error, MM_ERR_INPUT, "%s: %llu bytes, at most %zu are read", file->path,
                       (unsigned long long)file->size, limit);
    size_t bytes = (size_t)file->size;
    char *text = mm_malloc(bytes + 1);
    if (!text)
        return mm_fail_memory(error, file->path, bytes + 1);
    mm_status status = mm_file_read(file, 0, text, bytes, error);
    if (status != MM_OK) {
        mm_free(text);
        return status;
    }
    text[bytes] = '\0';
    *out = text;
    return MM_OK;
}

mm_status mm_file_read_all(const char *path, size_t limit, char **out, size_t *out_bytes,
                           mm_error *error)
{
    mm_file file;
    *out = NULL;
    MM_TRY(mm_file_open(&file, path, error));
    mm_status status = read_whole(&file, limit, out, error);
    if (status == MM_OK && out_bytes)
        *out_bytes = (size_t)file.size;
    mm_file_close(&file);
    return status;
}

/* The directory part of a path: "." for a plain name. Fresh; NULL without memory. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mm_strdup(".");
    return mm_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Creates a file under a name that nobody has in `directory`. */
static mm_status create_temporary(const char *directory, int *descriptor, char **name,
                                  mm_error *error)
{
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        *name = mm_format("%s/.mm-%ld-%08llx.tmp", directory, (long)getpid(),
                          (unsigned long long)mm_random_seed());
        if (!*name)
            return mm_fail_memory(error, "a temporary file's name", strlen(directory) + 40);
        do
            *descriptor = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        while (*descriptor < 0 && errno == EINTR);
        if (*descriptor >= 0)
            return MM_OK;
        int reason = errno;
        mm_free(*name);
        *name = NULL;
        errno = reason;
        if (reason != EEXIST)
            break;
    }
    return mm_fail(error, MM_ERR_RUNTIME, "%s: no file can be created there: %m", directory);
}

/* Renaming would silently replace a device or a FIFO, and writes what the mode forbids. */
static mm_status check_target(const char *path, mm_error *error)
{
    struct stat facts;
    if (!*path || path[strlen(path) - 1] == '/')
        return mm_fail(error, MM_ERR_RUNTIME, "'%s' is no name for a file to write", path);
    if (stat(path, &facts) != 0)
        return MM_OK;
    if (S_ISDIR(facts.st_mode))
        return mm_fail(error, MM_ERR_RUNTIME, "%s: a directory is in the way", path);
    if (!S_ISREG(facts.st_mode))
        return mm_fail(error, MM_ERR_RUNTIME, "%s: not a regular file, cannot be replaced", path);
    if (access(path, W_OK) != 0)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be written: %m", path);
    return MM_OK;
}

mm_status mm_output_file_open(mm_output_file *file, const char *path, mm_error *error)
{
    *file = (mm_output_file){.descriptor = -1};
    MM_TRY(check_target(path, error));
    char *directory = directory_of(path);
    file->path = mm_strdup(path);
    mm_status status = directory && file->path
                           ? create_temporary(directory, &file->descriptor, &file->temporary, error)
                           : mm_fail_memory(error, "a file's name", strlen(path) + 1);
    mm_free(directory);
    if (status != MM_OK) {
        mm_error_prefix(error, "%s", path);
        mm_output_file_abort(file);
    }
    return status;
}

mm_status mm_output_file_write(mm_output_file *file, const void *data, size_t bytes,
                               mm_error *error)
{
    const char *next = data;
    while (bytes > 0) {
        size_t part = bytes < MOST_PER_CALL ? bytes : MOST_PER_CALL;
        ssize_t put = write(file->descriptor, next, part);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be written: %m", file->path);
        next += put;
        file->position += (uint64_t)put;
        bytes -= (size_t)put;
    }
    return MM_OK;
}

static int sync_descriptor(int descriptor)
{
    int result;
    do
        result = fsync(descriptor);
    while (result != 0 && errno == EINTR);
    return result;
}

/* Some file systems cannot sync a directory and say so with EINVAL. */
static mm_status sync_directory_of(const char *path, mm_error *error)
{
    char *directory = directory_of(path);
    if (!directory)
        return mm_fail_memory(error, "a directory's name", strlen(path) + 1);
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mm_status status = MM_OK;
    if (descriptor >= 0 && sync_descriptor(descriptor) != 0 && errno != EINVAL)
        status = mm_fail(error, MM_ERR_RUNTIME, "%s: the directory cannot be synced: %m", path);
    if (descriptor >= 0)
        close(descriptor);
    mm_free(directory);
    return status;
}

static mm_status finish_output(mm_output_file *file, mm_error *error)
{
    if (sync_descriptor(file->descriptor) != 0)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be written: %m", file->path);
    int descriptor = file->descriptor;
    file->descriptor = -1;
    if (close(descriptor) != 0 && errno != EINTR)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be written: %m", file->path);
    if (rename(file->temporary, file->path) != 0)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be put in place: %m", file->path);
    mm_free(file->temporary);
    file->temporary = NULL;
    return sync_directory_of(file->path, error);
}

mm_status mm_output_file_commit(mm_output_file *file, mm_error *error)
{
    mm_status status = finish_output(file, error);
    mm_output_file_abort(file);
    return status;
}

void mm_output_file_abort(mm_output_file *file)
{
    if (!file->path && !file->temporary)
        return; /* zeroed: its descriptor 0 is not ours */
    if (file->descriptor >= 0)
        close(file->descriptor);
    if (file->temporary)
        unlink(file->temporary);
    mm_free(file->temporary);
    mm_free(file->path);
    *file = (mm_output_file){.descriptor = -1};
}

mm_status mm_output_file_write_all(const char *path, const void *data, size_t bytes,
                                   mm_error *error)
{
    mm_output_file file;
    MM_TRY(mm_output_file_open(&file, path, error));
    mm_status status = mm_output_file_write(&file, data, bytes, error);
    if (status == MM_OK)
        return mm_output_file_commit(&file, error);
    mm_output_file_abort(&file);
    return status;
}

bool mm_path_is_directory(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

bool mm_path_is_file(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISREG(facts.st_mode);
}

bool mm_path_ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), size = strlen(ending);
    return length >= size && strcmp(path + length - size, ending) == 0;
}

char *mm_path_join(const char *directory, const char *name)
{
    size_t length = strlen(directory);
    bool separated = length > 0 && directory[length - 1] == '/';
    return mm_format(separated ? "%s%s" : "%s/%s", directory, name);
}

static mm_status create_one_directory(const char *path, mm_error *error)
{
    if (mkdir(path, 0777) == 0 || mm_path_is_directory(path))
        return MM_OK;
    if (errno == EEXIST)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: a file is where a directory should be", path);
    return mm_fail(error, MM_ERR_RUNTIME, "%s: the directory cannot be created: %m", path);
}

mm_status mm_directory_create(const char *path, mm_error *error)
{
    char *copy = mm_strdup(path);
    if (!copy)
        return mm_fail_memory(error, "a directory's name", strlen(path) + 1);
    mm_status status = MM_OK;
    for (char *slash = strchr(copy + (*copy == '/'), '/'); slash && status == MM_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        status = create_one_directory(copy, error);
        *slash = '/';
    }
    if (status == MM_OK)
        status = create_one_directory(copy, error);
    mm_free(copy);
    return status;
}

/* A full disk takes an empty file, but no data. */
static bool takes_data(int descriptor)
{
    static const char zeros[1 << 16];
    for (size_t done = 0; done < sizeof(zeros);) {
        ssize_t put = write(descriptor, zeros, sizeof(zeros) - done);
        if (put <= 0 && errno != EINTR)
            return false;
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

mm_status mm_directory_check_writable(const char *path, mm_error *error)
{
    int descriptor;
    char *name;
    MM_TRY(create_temporary(path, &descriptor, &name, error));
    mm_status status = MM_OK;
    if (!takes_data(descriptor))
        status = mm_fail(error, MM_ERR_RUNTIME, "%s: nothing can be written there: %m", path);
    close(descriptor);
    unlink(name);
    mm_free(name);
    return status;
}

mm_status mm_directory_check_space(const char *path, uint64_t bytes, mm_error *error)
{
    struct statvfs facts;
    if (statvfs(path, &facts) != 0 || facts.f_blocks == 0)
        return MM_OK; /* nobody knows */
    uint64_t available = (uint64_t)facts.f_bavail * facts.f_frsize;
    if (available >= bytes)
        return MM_OK;
    return mm_fail(error, MM_ERR_RUNTIME, "%s: %.1f MiB are free there, at least %.1f are needed",
                   path, (double)available * 0x1p-20, (double)bytes * 0x1p-20);
}

/* Cuts the last part off a path; "." is above a plain name. */
static void go_up(char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        memcpy(path, ".", 2);
    else
        slash[slash == path ? 1 : 0] = '\0';
}

mm_status mm_directory_check_creatable(const char *path, mm_error *error)
{
    struct stat facts;
    if (!*path)
        return mm_fail(error, MM_ERR_RUNTIME, "'' is no name for a directory");
    char *above = mm_strdup(path);
    if (!above)
        return mm_fail_memory(error, "a directory's name", strlen(path) + 1);
    while (stat(above, &facts) != 0 && errno == ENOENT && strcmp(above, "/") != 0 &&
           strcmp(above, ".") != 0)
        go_up(above);
    mm_status status;
    if (stat(above, &facts) == 0 && !S_ISDIR(facts.st_mode))
        status = mm_fail(error, MM_ERR_RUNTIME, "%s: a file is in the way", above);
    else
        status = mm_directory_check_writable(above, error);
    mm_free(above);
    return status;
}

mm_status mm_output_file_check(const char *path, mm_error *error)
{
    MM_TRY(check_target(path, error));
    char *directory = directory_of(path);
    if (!directory)
        return mm_fail_memory(error, "a directory's name", strlen(path) + 1);
    mm_status status = mm_directory_check_writable(directory, error);
    mm_free(directory);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/control_group.h"
#include "base/number.h"

static _Atomic uint64_t fail_countdown;
static _Atomic bool fail_forever;

uint64_t mm_memory_fail_after(uint64_t countdown, bool forever)
{
    atomic_store(&fail_forever, forever);
    return atomic_exchange(&fail_countdown, countdown);
}

static bool must_fail(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) == 0)
        return false;
    uint64_t left = atomic_fetch_sub(&fail_countdown, 1);
    if (left != 1)
        return false;
    if (atomic_load(&fail_forever))
        atomic_store(&fail_countdown, 1);
    return true;
}

void *mm_malloc(size_t bytes)
{
    return must_fail() ? NULL : malloc(bytes ? bytes : 1);
}

void *mm_calloc(size_t count, size_t bytes)
{
    return must_fail() ? NULL : calloc(count ? count : 1, bytes ? bytes : 1);
}

void *mm_realloc(void *block, size_t bytes)
{
    return must_fail() ? NULL : realloc(block, bytes ? bytes : 1);
}

void mm_free(void *block)
{
    free(block);
}

char *mm_strndup(const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : mm_malloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *mm_strdup(const char *text)
{
    return mm_strndup(text, strlen(text));
}

char *mm_format(const char *format, ...)
{
    va_list args, again;
    locale_t before = mm_locale_enter();
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : mm_malloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    mm_locale_leave(before);
    return text;
}

void *mm_pages_alloc(size_t bytes)
{
    if (must_fail())
        return NULL;
    void *block = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    madvise(block, bytes, MADV_HUGEPAGE);
    return block;
}

void mm_pages_free(void *block, size_t bytes)
{
    if (block)
        munmap(block, bytes ? bytes : 1);
}

static size_t status_field(const char *key)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        return 0;
    char line[256];
    unsigned long long kib = 0;
    size_t length = strlen(key);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, length) == 0) {
            kib = strtoull(line + length, NULL, 10);
            break;
        }
    }
    fclose(file);
    return (size_t)kib * 1024;
}

size_t mm_resident_bytes(void)
{
    return status_field("VmRSS:");
}

/* The kernel counts approximately: its mark can go down by some pages. Ours does not. */
size_t mm_resident_peak_bytes(void)
{
    static _Atomic size_t highest;
    size_t now = status_field("VmHWM:"), before = atomic_load(&highest);
    while (now > before && !atomic_compare_exchange_weak(&highest, &before, now)) {
    }
    return now > before ? now : before;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* "max" is no limit. */
static void take_limit(void *user, const char *line)
{
    size_t *least = user;
    if (*line >= '0' && *line <= '9')
        *least = smaller(*least, (size_t)strtoull(line, NULL, 10));
}

size_t mm_available_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    size_t least = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : SIZE_MAX;
    mm_group_lines("memory.max", take_limit, &least);
    mm_first_line("/sys/fs/cgroup/memory/memory.limit_in_bytes", take_limit, &least);
    return least;
}

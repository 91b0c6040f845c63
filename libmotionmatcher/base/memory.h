/* SPDX-License-Identifier: BSD-2-Clause */
/* The one place where the library takes host memory, so that tests can make any allocation fail. */
#ifndef MM_BASE_MEMORY_H
#define MM_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mm_malloc(size_t bytes);
void *mm_calloc(size_t count, size_t bytes);
/* Grows or shrinks; the old block stays valid when NULL is returned. */
void *mm_realloc(void *block, size_t bytes);
void mm_free(void *block);
char *mm_strdup(const char *text);
char *mm_strndup(const char *text, size_t length);
/* printf into a fresh string; NULL without memory. */
char *mm_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Large buffers: page-aligned, zero, given back to the system when freed. */
void *mm_pages_alloc(size_t bytes);
void mm_pages_free(void *block, size_t bytes);

/* For tests: the allocation number `countdown` (from 1) and, if `forever`, all after it fail.
   0 switches this off. Returns what was left of the countdown before. */
uint64_t mm_memory_fail_after(uint64_t countdown, bool forever);

/* Checked arithmetic: false when the result does not fit. */
static inline bool mm_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool mm_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool mm_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Resident memory of this process in bytes: now, and its high-water mark. 0 where unknown. */
size_t mm_resident_bytes(void);
size_t mm_resident_peak_bytes(void);
/* What this process may use: physical memory or its control group's limit, the smaller. */
size_t mm_available_bytes(void);

#endif

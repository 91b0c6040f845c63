/* SPDX-License-Identifier: BSD-2-Clause */
/* Offsets in one arena: the largest block first, each into the tightest gap among those placed. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/plan.h"

static int larger_first(const void *left, const void *right)
{
    const mm_block *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

typedef struct placed {
    int32_t begin, end;
    size_t low, high;
} placed;

/* The start of the tightest gap for `block` among those placed, which are in the order of their
   offsets; behind everything when none is wide enough. */
static size_t find_gap(const placed *p, int32_t count, const mm_block *block)
{
    size_t cursor = 0, best = 0, best_bytes = SIZE_MAX;
    for (int32_t i = 0; i < count; i++) {
        if (p[i].begin > block->end || p[i].end < block->begin)
            continue;
        size_t gap = p[i].low > cursor ? p[i].low - cursor : 0;
        if (gap >= block->bytes && gap < best_bytes) {
            best = cursor;
            best_bytes = gap;
        }
        if (p[i].high > cursor)
            cursor = p[i].high;
    }
    return best_bytes == SIZE_MAX ? cursor : best;
}

static void insert(placed *p, int32_t count, const mm_block *block, size_t offset)
{
    int32_t low = 0, high = count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (p[middle].low > offset)
            high = middle;
        else
            low = middle + 1;
    }
    memmove(&p[low + 1], &p[low], (size_t)(count - low) * sizeof(*p));
    p[low] = (placed){block->begin, block->end, offset, offset + block->bytes};
}

static bool round_up(mm_block *block, int32_t count, size_t alignment)
{
    size_t total = 0;
    for (int32_t i = 0; i < count; i++) {
        size_t padded;
        if (!mm_add_size(block[i].bytes, alignment - 1, &padded))
            return false;
        block[i].bytes = padded / alignment * alignment;
        if (!mm_add_size(total, block[i].bytes, &total))
            return false;
    }
    return true;
}

mm_status mm_layout(mm_block *block, int32_t count, size_t alignment, size_t *out, mm_error *error)
{
    *out = 0;
    if (!round_up(block, count, alignment))
        return mm_fail(error, MM_ERR_MEMORY, "a plan's buffers exceed the address space");
    placed *p = mm_malloc((size_t)count * sizeof(*p));
    if (!p)
        return mm_fail_memory(error, "a memory plan", (size_t)count * sizeof(*p));
    qsort(block, (size_t)count, sizeof(*block), larger_first);
    for (int32_t i = 0; i < count; i++) {
        size_t offset = find_gap(p, i, &block[i]);
        insert(p, i, &block[i], offset);
        *block[i].offset = offset;
        if (offset + block[i].bytes > *out)
            *out = offset + block[i].bytes;
    }
    mm_free(p);
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Offsets in one arena: the largest block first, each into the tightest gap among those placed. */
#include <stdlib.h>

#include "base/memory.h"
#include "graph/plan.h"

static int larger_first(const void *left, const void *right)
{
    const mm_block *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

/* Placed blocks in the order of their offsets, as arrays for a fast scan. */
typedef struct placed {
    int32_t *begin, *end;
    size_t *low, *high;
    int32_t count;
} placed;

/* The start of the tightest gap for `block`; behind everything when none is wide enough. */
static size_t find_gap(const placed *p, const mm_block *block)
{
    size_t cursor = 0, best = 0, best_bytes = SIZE_MAX;
    for (int32_t i = 0; i < p->count; i++) {
        if (p->begin[i] > block->end || p->end[i] < block->begin)
            continue;
        if (p->low[i] > cursor) {
            size_t gap = p->low[i] - cursor;
            if (gap >= block->bytes && gap < best_bytes) {
                best = cursor;
                best_bytes = gap;
            }
        }
        if (p->high[i] > cursor)
            cursor = p->high[i];
    }
    return best_bytes == SIZE_MAX ? cursor : best;
}

static void insert(placed *p, const mm_block *block, size_t offset)
{
    int32_t at = p->count++;
    for (; at > 0 && p->low[at - 1] > offset; at--) {
        p->begin[at] = p->begin[at - 1];
        p->end[at] = p->end[at - 1];
        p->low[at] = p->low[at - 1];
        p->high[at] = p->high[at - 1];
    }
    p->begin[at] = block->begin;
    p->end[at] = block->end;
    p->low[at] = offset;
    p->high[at] = offset + block->bytes;
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
    mm_arena memory = {0};
    size_t n = (size_t)count;
    placed p = {mm_arena_alloc(&memory, n * sizeof(int32_t)),
                mm_arena_alloc(&memory, n * sizeof(int32_t)),
                mm_arena_alloc(&memory, n * sizeof(size_t)),
                mm_arena_alloc(&memory, n * sizeof(size_t)), 0};
    if (!p.begin || !p.end || !p.low || !p.high) {
        mm_arena_free(&memory);
        return mm_fail_memory(error, "a memory plan", 2 * n * (sizeof(int32_t) + sizeof(size_t)));
    }
    qsort(block, n, sizeof(*block), larger_first);
    for (int32_t i = 0; i < count; i++) {
        size_t offset = find_gap(&p, &block[i]);
        insert(&p, &block[i], offset);
        *block[i].offset = offset;
        if (offset + block[i].bytes > *out)
            *out = offset + block[i].bytes;
    }
    mm_arena_free(&memory);
    return MM_OK;
}

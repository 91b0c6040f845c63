/* SPDX-License-Identifier: BSD-2-Clause */
#include "graph/weight.h"

#include <string.h>

#include "base/memory.h"

void mm_weight_set_init(mm_weight_set *set, mm_dtype dtype)
{
    *set = (mm_weight_set){.dtype = dtype};
}

void mm_weight_set_free(mm_weight_set *set)
{
    mm_arena_free(&set->arena);
    mm_free(set->weight);
    mm_free(set->bucket);
    *set = (mm_weight_set){.dtype = set->dtype};
}

static uint64_t hash_of(const char *name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return hash;
}

/* The bucket that holds the name, or the empty one where it belongs. */
static int32_t *bucket_of(const mm_weight_set *set, const char *name)
{
    uint32_t mask = (uint32_t)set->bucket_count - 1;
    for (uint32_t at = (uint32_t)hash_of(name) & mask;; at = (at + 1) & mask) {
        int32_t *bucket = &set->bucket[at];
        if (!*bucket || strcmp(set->weight[*bucket - 1]->name, name) == 0)
            return bucket;
    }
}

mm_weight *mm_weight_find(const mm_weight_set *set, const char *name)
{
    if (!set->bucket)
        return NULL;
    int32_t index = *bucket_of(set, name);
    return index ? set->weight[index - 1] : NULL;
}

/* Room for one more: the table stays at most half full. */
static bool reserve(mm_weight_set *set)
{
    if (set->count < set->capacity)
        return true;
    if (set->capacity > INT32_MAX / 8)
        return false;
    int32_t capacity = set->capacity ? 2 * set->capacity : 128;
    mm_weight **weight = mm_realloc(set->weight, (size_t)capacity * sizeof(mm_weight *));
    if (!weight)
        return false;
    set->weight = weight;
    int32_t *bucket = mm_calloc((size_t)capacity * 2, sizeof(int32_t));
    if (!bucket)
        return false;
    mm_free(set->bucket);
    set->bucket = bucket;
    set->bucket_count = 2 * capacity;
    set->capacity = capacity;
    for (int32_t i = 0; i < set->count; i++)
        *bucket_of(set, set->weight[i]->name) = i + 1;
    return true;
}

static bool parts_fill(const mm_weight_part *part, int32_t part_count, const mm_shape *shape)
{
    int64_t whole, sum = 0;
    if (part_count < 1 || !mm_shape_elements_checked(shape, &whole))
        return false;
    for (int32_t i = 0; i < part_count; i++) {
        int64_t elements;
        if (!mm_shape_elements_checked(&part[i].shape, &elements) ||
            __builtin_add_overflow(sum, elements, &sum))
            return false;
    }
    return sum == whole;
}

static const mm_weight_part *copy_parts(mm_arena *arena, const mm_weight_part *part, int32_t count)
{
    mm_weight_part *copy = mm_arena_alloc(arena, (size_t)count * sizeof(*copy));
    for (int32_t i = 0; copy && i < count; i++) {
        copy[i] = part[i];
        copy[i].name = mm_arena_strdup(arena, part[i].name);
        if (!copy[i].name)
            return NULL;
    }
    return copy;
}

mm_weight *mm_weight_declare(mm_weight_set *set, const mm_weight_part *part, int32_t part_count,
                             const mm_shape *shape, mm_dtype dtype, mm_weight_order order)
{
    if (!parts_fill(part, part_count, shape))
        return NULL;
    mm_weight *found = mm_weight_find(set, part[0].name);
    if (found)
        return mm_shape_equal(&found->shape, shape) ? found : NULL;
    if (!reserve(set))
        return NULL;
    mm_weight *weight = mm_arena_alloc(&set->arena, sizeof(*weight));
    const mm_weight_part *parts = weight ? copy_parts(&set->arena, part, part_count) : NULL;
    if (!parts)
        return NULL;
    *weight = (mm_weight){.name = parts[0].name,
                          .shape = *shape,
                          .dtype = dtype,
                          .order = order,
                          .part_count = part_count,
                          .part = parts};
    set->weight[set->count] = weight;
    *bucket_of(set, weight->name) = ++set->count;
    return weight;
}

size_t mm_weight_set_bytes(const mm_weight_set *set)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < set->count; i++) {
        const mm_weight *weight = set->weight[i];
        bytes += (size_t)mm_shape_elements(&weight->shape) * mm_dtype_bytes(weight->dtype);
    }
    return bytes;
}

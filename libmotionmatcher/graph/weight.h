/* SPDX-License-Identifier: BSD-2-Clause */
/* The named weights of one network: declared while its graph is built, then filled from files. */
#ifndef MM_GRAPH_WEIGHT_H
#define MM_GRAPH_WEIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/shape.h"

/* One tensor in the files. Several parts are stacked along the first dimension: to_q, to_k and to_v
   make one weight, so that they share one product. */
typedef struct mm_weight_part {
    const char *name;
    mm_shape shape; /* the shape it must have in the file, e.g. [out, in, 3, 1, 1] */
} mm_weight_part;

typedef enum mm_weight_order {
    MM_WEIGHT_AS_STORED = 0, /* parts one after the other, row-major */
    MM_WEIGHT_TAPS_FIRST     /* [out, in, taps, 1, 1] in the file becomes [taps, out, in] */
} mm_weight_order;

typedef struct mm_weight {
    const char *name; /* of the first part */
    mm_shape shape;   /* as the ops see it */
    mm_dtype dtype;   /* as held in memory */
    mm_weight_order order;
    int32_t part_count;
    const mm_weight_part *part;
    bool trainable;
    /* Filled by the loader or, for trainable ones, by their owner. Device memory of the backend. */
    void *data;
    size_t bytes;
    /* A backend that holds the weight in a layout of its own notes that layout here. */
    void *packed;
} mm_weight;

typedef struct mm_weight_set {
    mm_arena arena;
    mm_weight **weight; /* in order of declaration */
    int32_t count, capacity;
    int32_t *bucket; /* hash of names to index + 1 */
    int32_t bucket_count;
    mm_dtype dtype; /* of matrices and kernels; norms and biases stay f32 */
} mm_weight_set;

void mm_weight_set_init(mm_weight_set *set, mm_dtype dtype);
/* Frees names and tables; data must have been released before by whoever filled it. */
void mm_weight_set_free(mm_weight_set *set);

/*
 * The weight of that name: declared on first use, found again afterwards (a second graph of the
 * same network shares its weights). `shape` is the shape the ops see. NULL without memory, or when
 * it was declared before with another shape.
 */
mm_weight *mm_weight_declare(mm_weight_set *set, const mm_weight_part *part, int32_t part_count,
                             const mm_shape *shape, mm_dtype dtype, mm_weight_order order);
mm_weight *mm_weight_find(const mm_weight_set *set, const char *name);
/* Bytes of all weights as held in memory, before any packing. */
size_t mm_weight_set_bytes(const mm_weight_set *set);

#endif

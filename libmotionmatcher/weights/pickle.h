/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A symbolic reader of the pickles that torch.save writes (protocol 2). It builds a graph of plain
 * values, calls nothing, and knows only the few names that a file of weights needs; everything else
 * is an error. Values are shared by reference and nothing here recurses, so neither depth nor
 * cycles nor repeated references cost more than their bytes.
 */
#ifndef MM_WEIGHTS_PICKLE_H
#define MM_WEIGHTS_PICKLE_H

#include "base/arena.h"
#include "base/error.h"
#include "base/shape.h"

typedef enum mm_pickle_kind {
    MM_PICKLE_NONE,
    MM_PICKLE_BOOL,
    MM_PICKLE_INT,
    MM_PICKLE_FLOAT, /* its value is of no interest */
    MM_PICKLE_TEXT,
    MM_PICKLE_TUPLE,
    MM_PICKLE_LIST,
    MM_PICKLE_DICT, /* items: key, value, key, value, ...; every key is a text */
    MM_PICKLE_GLOBAL,
    MM_PICKLE_STORAGE,
    MM_PICKLE_TENSOR,
    MM_PICKLE_MARK
} mm_pickle_kind;

typedef struct mm_pickle mm_pickle;

typedef struct mm_pickle_storage {
    mm_dtype dtype;
    const char *key; /* names the archive's entry data/<key>; letters and digits */
    int64_t elements;
} mm_pickle_storage;

typedef struct mm_pickle_tensor {
    const mm_pickle_storage *storage;
    int64_t offset;
    mm_shape shape;
    int64_t stride[MM_MAX_RANK];
} mm_pickle_tensor;

struct mm_pickle {
    mm_pickle_kind kind;
    bool ordered; /* an OrderedDict */
    union {
        int64_t whole; /* of INT and BOOL; of GLOBAL: which one */
        const char *text;
        const mm_pickle_storage *storage;
        const mm_pickle_tensor *tensor;
        struct {
            mm_pickle **items;
            uint32_t count, capacity;
        };
    };
};

/* `name` is for messages. Values live in the arena. MM_ERR_INPUT, MM_ERR_MEMORY. */
mm_status mm_pickle_read(mm_pickle **root, const char *name, const char *bytes, size_t count,
                         mm_arena *arena, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The steps that the attention ops are made of. Self-attention and cross-attention differ in where
 * their rows lie, nothing else. A tile is up to `lanes` queries of one sequence and head against
 * all its keys; in [keys, lanes] a query is a column.
 */
#ifndef MM_BACKENDS_CPU_SIMD_ATTENTION_TILE_H
#define MM_BACKENDS_CPU_SIMD_ATTENTION_TILE_H

#include "backends/cpu/simd/elements.h"
#include "backends/cpu/simd/workspace.h"

typedef struct mm_attention {
    mm_attention_layout layout;
    mm_elements query, key; /* matrices; a row of the latter holds keys and values */
    float scale;
    bool causal;
    float *workspace;
} mm_attention;

/* Rows of one sequence and head inside a larger matrix. */
typedef struct mm_rows {
    const float *data;
    int64_t stride;
} mm_rows;

typedef struct mm_attention_tile {
    const mm_attention *job;
    float *scratch; /* the thread's own */
    int64_t sequence, head;
    int64_t first, count; /* queries */
    int64_t keys;         /* fewer than the sequence has where causality hides the rest */
    mm_rows key, value;
    int64_t held; /* which sequence and head the gathered keys are of; -1: none */
} mm_attention_tile;

#define mm_attention_begin MM_AT_LEVEL(mm_attention_begin)
#define mm_attention_seek MM_AT_LEVEL(mm_attention_seek)
#define mm_attention_load MM_AT_LEVEL(mm_attention_load)
#define mm_attention_score MM_AT_LEVEL(mm_attention_score)
#define mm_attention_normalise MM_AT_LEVEL(mm_attention_normalise)
#define mm_attention_slopes MM_AT_LEVEL(mm_attention_slopes)
#define mm_attention_write MM_AT_LEVEL(mm_attention_write)
#define mm_attention_job MM_AT_LEVEL(mm_attention_job)

mm_attention mm_attention_job(const mm_kernel_call *call);
/* The calling thread's tile, before its first task. */
mm_attention_tile mm_attention_begin(const mm_attention *job);
/* Moves to the tile that begins at query `first`. */
void mm_attention_seek(mm_attention_tile *tile, int64_t sequence, int64_t head, int64_t first);
/* Copies the tile's rows of `from` (rows like the queries', of row length `row`), times `factor`,
   to transposed[width, lanes], zero beyond the count, and if set to straight[lanes, padded]. */
void mm_attention_load(const mm_attention_tile *tile, mm_elements from, int64_t row, float factor,
                       float *transposed, float *straight);
/* From the transposed queries: score = e^(s - max s), sum = their sum for each query. */
void mm_attention_score(const mm_attention_tile *tile);
/* score becomes probabilities; sum their reciprocal sums. */
void mm_attention_normalise(const mm_attention_tile *tile);
/* With probabilities in `score` and their gradients in `slope`: slope becomes the scores'
 * gradients. */
void mm_attention_slopes(const mm_attention_tile *tile);

/* Divides the tile's output by the sums and writes it where it belongs in y. */
void mm_attention_write(const mm_attention_tile *tile, mm_elements y);

static inline int64_t mm_attention_tiles(const mm_attention_layout *l)
{
    return mm_ceil_div(l->queries, l->lanes);
}

/* The row of a matrix where position p of a sequence of `length` lies. */
static inline int64_t mm_attention_row(const mm_attention_layout *l, int64_t length,
                                       int64_t sequence, int64_t p)
{
    return (sequence / l->inner * length + p) * l->inner + sequence % l->inner;
}

#endif

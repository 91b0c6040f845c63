/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels keep in their workspace: shared by `prepare`, which reports the size, and `run`.
 */
#ifndef MM_BACKENDS_CPU_SIMD_WORKSPACE_H
#define MM_BACKENDS_CPU_SIMD_WORKSPACE_H

#include "graph/graph.h"

#define MM_PAIRS_BLOCK 128  /* keys at a time in products of pairs */
#define MM_LOSS_BLOCK 16384 /* elements of a partial sum */

/* Of group_norm and its gradient. The rows of an instance are cut into blocks; each block leaves
   two numbers for each group, combined afterwards in order. Offsets are in bytes. */
typedef struct mm_group_norm_layout {
    int64_t channels, groups, instances;
    int64_t rows;       /* of an instance */
    int64_t block_rows; /* of a block, the last one may have fewer */
    int64_t blocks;     /* of an instance */
    int64_t padded;     /* channels, rounded up */
    size_t moments;     /* double [instances, blocks, groups, 2] */
    size_t channel;     /* float [instances, MM_NORM_ROWS, padded] */
    size_t scratch;     /* float [threads, MM_NORM_SCRATCH_ROWS + block_rows, padded] */
    size_t bytes;
} mm_group_norm_layout;
#define MM_NORM_ROWS 6
#define MM_NORM_SCRATCH_ROWS 5

#define MM_LAYER_NORM_ROWS 2 /* floats [threads, MM_LAYER_NORM_ROWS, channels] */

mm_group_norm_layout mm_group_norm_plan(const mm_node *node, int threads);

/* Of patch_correlation: each thread's two patches, the origin's as columns. Offsets in floats. */
typedef struct mm_correlation_layout {
    int64_t side, patch, channels;
    int64_t row; /* floats of a sample, and of a row of the transposed patch: multiples of 16 */
    int64_t transposed_row;
    size_t origin, transposed, place;
    size_t thread_floats;
} mm_correlation_layout;

mm_correlation_layout mm_correlation_plan(const mm_node *node);

/*
 * Of the attention ops. A task handles up to `lanes` queries of one sequence and head; score tiles
 * are [keys, lanes], so that a softmax runs down the columns. Offsets are in floats from a thread's
 * own part of the workspace; those not needed by an op are 0.
 */
typedef struct mm_attention_layout {
    int64_t sequences, inner; /* see mm_sequences; position p of a sequence is `inner` rows on */
    int64_t queries, keys;    /* of a sequence */
    int64_t heads, width;
    int64_t lanes;
    int64_t padded;                   /* width rounded up */
    int64_t query_row, key_row;       /* elements of a row of the matrices given */
    int64_t key_column, value_column; /* where keys and values begin in a row */
    bool narrow;                      /* the matrices given are bf16 */
    bool gather;                      /* keys and values are copied, rows of `padded` */
    size_t key, value;                /* [keys, padded], if gathered */
    size_t query, query_transposed;   /* [lanes, padded], [width, lanes] */
    size_t dy, dy_transposed;         /* likewise */
    size_t widened;                   /* [lanes, padded] */
    size_t score, slope;              /* [keys, lanes] */
    size_t output;                    /* [lanes, padded] */
    size_t key_slope, value_slope;    /* [keys, padded] */
    size_t sum;                       /* [lanes] */
    /* In products of bf16 pairs; see attention_pairs.h. Keys, values and transposed rows are then
       [.., half] words, scores without gradient are of one block of keys. */
    bool pairs;
    int64_t half;                  /* words of `padded` numbers */
    size_t key_pairs, value_pairs; /* [keys / 2, padded] */
    size_t query_pairs, dy_pairs;  /* [lanes / 2, padded] */
    size_t packed;                 /* [block / 2, lanes] */
    size_t score_rows, slope_rows; /* [block, lanes / 2] */
    size_t maximum, correction;    /* [lanes] */
    size_t thread_floats;
} mm_attention_layout;

/* has_pairs: whether the level has products of bf16 pairs. */
mm_attention_layout mm_attention_plan(const mm_node *node, bool has_pairs);

#endif

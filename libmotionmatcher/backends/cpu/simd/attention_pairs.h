/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attention on bf16 activations where products of bf16 pairs are to be had. A matrix of numbers is
 * then one of words, each of two numbers: "rows" hold neighbours of a row, "pairs" the numbers of
 * two rows, one above the other.
 */
#ifndef MM_BACKENDS_CPU_SIMD_ATTENTION_PAIRS_H
#define MM_BACKENDS_CPU_SIMD_ATTENTION_PAIRS_H

#include "backends/cpu/simd/attention_tile.h"

#if MM_HAS_PAIRS
#include <immintrin.h>
#include <math.h>

typedef uint32_t mm_word __attribute__((may_alias));
typedef uint16_t mm_half __attribute__((may_alias));
typedef uint32_t mm_words __attribute__((vector_size(MM_VECTOR_BYTES)));

#define mm_attention_pairs MM_AT_LEVEL(mm_attention_pairs)
#define mm_attention_pairs_grad MM_AT_LEVEL(mm_attention_pairs_grad)
#define mm_pairs_seek MM_AT_LEVEL(mm_pairs_seek)
#define mm_pairs_load MM_AT_LEVEL(mm_pairs_load)

/* attention and cross_attention. */
void mm_attention_pairs(const mm_kernel_call *call);
/* Their gradients; dy is source number `dy`. */
void mm_attention_pairs_grad(const mm_kernel_call *call, int dy);

/* As mm_attention_seek(), with the layout's forms of keys and values. */
void mm_pairs_seek(mm_attention_tile *tile, int64_t sequence, int64_t head, int64_t first);
/* The tile's rows of `from`: to transposed[half, lanes] and, if set, pairs[lanes / 2, padded]. */
void mm_pairs_load(const mm_attention_tile *tile, mm_elements from, int64_t row, float *transposed,
                   float *pairs);

/* Keys first .. first + count - 1. */
typedef struct mm_key_block {
    int64_t first, count;
} mm_key_block;

/* output[count, padded] += packed[block, lanes]^T rows[block, padded]; `rows` is their place in the
   scratch. The first block sets the output. */
void mm_pairs_accumulate(const mm_attention_tile *tile, mm_key_block block, size_t rows);

/* A query sees no key after itself: in the block's scores [keys, lanes] those become -infinity. */
static inline void mm_pairs_hide(const mm_attention_tile *tile, mm_key_block block, float *score)
{
    int64_t lanes = tile->job->layout.lanes;
    for (int64_t k = 0; k < block.count; k++, score += lanes)
        for (int64_t q = 0; q < mm_smaller(block.first + k - tile->first, lanes); q++)
            score[q] = -INFINITY;
}

/* The largest of `start` and a column. */
MM_INLINE mm_vec mm_column_maximum(const float *column, int64_t rows, int64_t stride, mm_vec start)
{
    mm_vec even = start, odd = start;
    int64_t k = 0;
    for (; k + 2 <= rows; k += 2, column += 2 * stride) {
        even = mm_max(mm_load(column), even);
        odd = mm_max(mm_load(column + stride), odd);
    }
    return mm_max(k < rows ? mm_max(mm_load(column), even) : even, odd);
}

/* 16 numbers rounded to bf16, each in the low half of its word. */
MM_INLINE mm_words mm_round_words(mm_vec x)
{
    return (mm_words)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}
#endif

#endif

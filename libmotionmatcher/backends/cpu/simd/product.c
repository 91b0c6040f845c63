/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/product.h"

#include <immintrin.h>

#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/vector.h"

/* A tile of c lives in registers: TALL rows of up to 3 vectors fill 24 of 32 registers or 12 of 16.
 */
#if MM_LANES == 16
#define TALL 8
#else
#define TALL 4
#endif
#define WIDE 3
#define DEPTH 128 /* rows of b at a time: they stay in the first-level cache */

MM_INLINE mm_vec add_product(mm_vec sum, const float *a, mm_vec b, bool pairs)
{
#if MM_HAS_PAIRS
    if (pairs) {
        int32_t pair;
        memcpy(&pair, a, sizeof(pair));
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)b);
    }
#else
    (void)pairs;
#endif
    return sum + *a * b;
}

MM_INLINE void multiply_tile(int rows, int vectors, bool pairs, const mm_small_product *p)
{
    mm_vec sum[TALL][WIDE] = {{{0}}};
    const float *a = p->a, *b = p->b;
    for (int64_t k = 0; k < p->depth; k++, a += p->a_column, b += p->b_row) {
        mm_vec row[WIDE];
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            row[j] = mm_load(b + j * MM_LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
#pragma GCC unroll 3
            for (int j = 0; j < vectors; j++)
                sum[i][j] = add_product(sum[i][j], &a[i * p->a_row], row[j], pairs);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++) {
            float *c = p->c + i * p->c_row + j * MM_LANES;
            mm_store(c, p->accumulate ? mm_load(c) + sum[i][j] : sum[i][j]);
        }
    }
}

typedef void tile_function(const mm_small_product *p);

#define TILE(rows, vectors, pairs)                                           \
    static void tile_##rows##_##vectors##_##pairs(const mm_small_product *p) \
    {                                                                        \
        multiply_tile(rows, vectors, pairs, p);                              \
    }
#define TILES(rows, pairs) TILE(rows, 1, pairs) TILE(rows, 2, pairs) TILE(rows, 3, pairs)
#define TILE_ROW(rows, pairs)                                                     \
    {                                                                             \
        tile_##rows##_1_##pairs, tile_##rows##_2_##pairs, tile_##rows##_3_##pairs \
    }
#if TALL == 8
#define ALL_TILES(pairs)                                                                \
    TILES(1, pairs)                                                                     \
    TILES(2, pairs)                                                                     \
    TILES(3, pairs)                                                                     \
    TILES(4, pairs)                                                                     \
    TILES(5, pairs)                                                                     \
    TILES(6, pairs)                                                                     \
    TILES(7, pairs)                                                                     \
    TILES(8, pairs)                                                                     \
    static tile_function *const tile_functions_##pairs[TALL][WIDE] = {                  \
        TILE_ROW(1, pairs), TILE_ROW(2, pairs), TILE_ROW(3, pairs), TILE_ROW(4, pairs), \
        TILE_ROW(5, pairs), TILE_ROW(6, pairs), TILE_ROW(7, pairs), TILE_ROW(8, pairs)};
#else
#define ALL_TILES(pairs)                                               \
    TILES(1, pairs)                                                    \
    TILES(2, pairs)                                                    \
    TILES(3, pairs)                                                    \
    TILES(4, pairs)                                                    \
    static tile_function *const tile_functions_##pairs[TALL][WIDE] = { \
        TILE_ROW(1, pairs), TILE_ROW(2, pairs), TILE_ROW(3, pairs), TILE_ROW(4, pairs)};
#endif
ALL_TILES(0)
#if MM_HAS_PAIRS
ALL_TILES(1)
#else
#define tile_functions_1 tile_functions_0
#endif

/* All rows of c against a few vectors of b. */
static void multiply_panel(mm_small_product p, int64_t vectors)
{
    tile_function *const(*functions)[WIDE] = p.pairs ? tile_functions_1 : tile_functions_0;
    for (int64_t left = p.m; left > 0; left -= TALL) {
        functions[mm_smaller(left, TALL) - 1][vectors - 1](&p);
        p.a += TALL * p.a_row;
        p.c += TALL * p.c_row;
    }
}

static void multiply_block(mm_small_product p)
{
    int64_t left = p.n / MM_LANES;
    while (left > 0) {
        int64_t vectors = left == WIDE + 1 ? 2 : mm_smaller(left, WIDE);
        multiply_panel(p, vectors);
        p.b += vectors * MM_LANES;
        p.c += vectors * MM_LANES;
        left -= vectors;
    }
}

void mm_multiply(const mm_small_product *product)
{
    mm_small_product p = *product;
    for (int64_t first = 0; first < product->depth; first += DEPTH) {
        p.depth = mm_smaller(DEPTH, product->depth - first);
        multiply_block(p);
        p.a += DEPTH * p.a_column;
        p.b += DEPTH * p.b_row;
        p.accumulate = true;
    }
}

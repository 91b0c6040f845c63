/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/product.h"

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

MM_INLINE void multiply_tile(int rows, int vectors, const mm_small_product *p)
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
            float factor = a[i * p->a_row];
#pragma GCC unroll 3
            for (int j = 0; j < vectors; j++)
                sum[i][j] += factor * row[j];
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

#define TILE(rows, vectors)                                        \
    static void tile_##rows##_##vectors(const mm_small_product *p) \
    {                                                              \
        multiply_tile(rows, vectors, p);                           \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
#if TALL == 8
TILES(5)
TILES(6)
TILES(7)
TILES(8)
#endif

#define TILE_ROW(rows)                                    \
    {                                                     \
        tile_##rows##_1, tile_##rows##_2, tile_##rows##_3 \
    }
static tile_function *const tile_functions[TALL][WIDE] = {
    TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4),
#if TALL == 8
    TILE_ROW(5), TILE_ROW(6), TILE_ROW(7), TILE_ROW(8),
#endif
};

/* All rows of c against a few vectors of b. */
static void multiply_panel(mm_small_product p, int64_t vectors)
{
    for (int64_t left = p.m; left > 0; left -= TALL) {
        tile_functions[mm_smaller(left, TALL) - 1][vectors - 1](&p);
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

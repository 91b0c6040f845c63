/* SPDX-License-Identifier: BSD-2-Clause */
/* Element types and shapes, shared by files, graph and public tensors. */
#ifndef MM_BASE_SHAPE_H
#define MM_BASE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_MAX_RANK 6

typedef enum mm_dtype {
    MM_F32 = 0,
    MM_F16,
    MM_BF16,
    MM_F64,
    MM_I32,
    MM_I64,
    MM_U8,
    MM_DTYPE_COUNT
} mm_dtype;

/* Row-major: dim[rank - 1] is the one that moves fastest. Rank 0 is one element. */
typedef struct mm_shape {
    int32_t rank;
    int64_t dim[MM_MAX_RANK];
} mm_shape;

#define MM_SHAPE(...) \
    ((mm_shape){.rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .dim = {__VA_ARGS__}})

size_t mm_dtype_bytes(mm_dtype dtype);
const char *mm_dtype_name(mm_dtype dtype); /* "f32" */
/* False when a dimension is negative or the product does not fit in int64_t. */
bool mm_shape_elements_checked(const mm_shape *shape, int64_t *out);
/* For shapes that were checked when they were made. */
int64_t mm_shape_elements(const mm_shape *shape);
bool mm_shape_equal(const mm_shape *a, const mm_shape *b);
/* "[16, 48, 48, 320]" into `out`, cut to fit; returns out. */
const char *mm_shape_text(const mm_shape *shape, char *out, size_t size);

/* Conversions of one value; round to nearest even. */
float mm_f16_to_f32(uint16_t half);
float mm_bf16_to_f32(uint16_t brain);
uint16_t mm_f32_to_f16(float value);
uint16_t mm_f32_to_bf16(float value);

#endif

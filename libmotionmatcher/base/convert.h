/* SPDX-License-Identifier: BSD-2-Clause */
/* Conversion of runs of floating-point numbers. */
#ifndef MM_BASE_CONVERT_H
#define MM_BASE_CONVERT_H

#include "base/shape.h"

/* Whether mm_convert_numbers knows the type. */
static inline bool mm_dtype_is_float(mm_dtype dtype)
{
    return dtype <= MM_F64;
}

/* `count` numbers of one floating-point type to f32, f16 or bf16, rounded to nearest even. The runs
   may be the same memory where the types are, and need no alignment at `from`. */
void mm_convert_numbers(void *to, mm_dtype to_type, const void *from, mm_dtype from_type,
                        size_t count);

#endif

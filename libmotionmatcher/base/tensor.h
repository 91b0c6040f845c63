/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of mm_tensor: a counted reference to elements in memory. */
#ifndef MM_BASE_TENSOR_H
#define MM_BASE_TENSOR_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/shape.h"
#include "motionmatcher/tensor.h"

struct mm_tensor {
    atomic_int references;
    mm_dtype dtype;
    mm_shape shape;
    int64_t stride[MM_MAX_RANK]; /* in elements */
    void *data;
    mm_release_callback release; /* NULL: nothing to do */
    void *user;
};

/* Takes over `data` and gives it back through `release`, unless it fails. strides: NULL for packed.
   MM_ERR_USAGE: a shape that cannot be. */
mm_status mm_tensor_make(mm_tensor **out, mm_dtype dtype, const mm_shape *shape,
                         const int64_t *strides, void *data, mm_release_callback release,
                         void *user, mm_error *error);
/* Packed elements of its own, not set. */
mm_status mm_tensor_allocate(mm_tensor **out, mm_dtype dtype, const mm_shape *shape,
                             mm_error *error);
/* The elements of `tensor` in another shape; keeps it alive. strides: NULL for packed. */
mm_status mm_tensor_view(mm_tensor **out, const mm_tensor *tensor, const mm_shape *shape,
                         const int64_t *strides, mm_error *error);
/* Packed elements of its own with the same values. */
mm_status mm_tensor_copy(mm_tensor **out, const mm_tensor *tensor, mm_error *error);
/* The tensor itself where it is packed, else a packed copy. */
mm_status mm_tensor_pack(mm_tensor **out, const mm_tensor *tensor, mm_error *error);

mm_tensor *mm_tensor_retain(const mm_tensor *tensor);
bool mm_tensor_is_packed(const mm_tensor *tensor);
/* f32, f16, bf16 or f64. */
bool mm_tensor_is_real(const mm_tensor *tensor);
/* All elements as f32, in the order of a packed tensor; fresh, NULL without memory. */
float *mm_tensor_floats(const mm_tensor *tensor);

#endif

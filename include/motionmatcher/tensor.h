/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file tensor.h
 * Numbers that cross the border of the library without being copied: features, latents, frames and
 * the matrices of a LoRA, to and from the program's own memory, and through DLPack to and from
 * whatever speaks it (NumPy, PyTorch, JAX).
 *
 * A tensor is a reference to memory on the CPU: the type of its elements, its shape, and for each
 * dimension the stride, counted in elements. Not every tensor is packed: the latents of a sampler,
 * for one, have their channels first in their shape and last in memory. An element (i, j) of a
 * tensor of rank 2 is data[i * strides[0] + j * strides[1]].
 *
 * Ownership: what the library gives out lives as long as the tensor does, whatever becomes of the
 * handle that it came from, and never changes: a later run makes tensors of its own. It must not be
 * written to. What the program hands in must stay there, unchanged, until it is released.
 *
 * Thread-safety: a tensor never changes after it was made; any thread may read it, pass it on or
 * drop it.
 */
#ifndef MOTIONMATCHER_TENSOR_H
#define MOTIONMATCHER_TENSOR_H

#include <stdint.h>

#include "motionmatcher/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A reference to numbers in memory. */
typedef struct mm_tensor mm_tensor;

/** Most dimensions that a tensor may have. */
#define MM_TENSOR_MAX_RANK 6

/** Called once, on the thread that drops the last reference. */
typedef void (*mm_release_callback)(void *user);

/**
 * Refers to memory of the program.
 * @param out     receives the tensor, to be freed with mm_tensor_free(); NULL on failure.
 * @param data    the first element; may be NULL when there are none.
 * @param dtype   "f32", "f16", "bf16", "f64", "i32", "i64" or "u8".
 * @param rank    0 (one element) to MM_TENSOR_MAX_RANK.
 * @param shape   `rank` sizes, each 0 or more; copied. NULL only for rank 0.
 * @param strides `rank` strides in elements, copied; NULL for packed, row after row.
 * @param release tells that the memory is no longer needed; NULL when nobody has to know.
 * @param user    handed to `release`.
 * @return MM_OK; MM_ERR_USAGE: another type or rank, a negative size, data missing, more elements
 *         than can be counted; MM_ERR_MEMORY. On failure `release` is not called.
 */
MM_API mm_status mm_tensor_wrap(mm_tensor **out, const void *data, const char *dtype, int32_t rank,
                                const int64_t *shape, const int64_t *strides,
                                mm_release_callback release, void *user);
/** Drops the caller's reference and sets *tensor to NULL; accepts NULL and a pointer to NULL. */
MM_API void mm_tensor_free(mm_tensor **tensor);

/** The type of the elements, as in mm_tensor_wrap(); static. "" for NULL. */
MM_API const char *mm_tensor_dtype(const mm_tensor *tensor);
/** Number of dimensions; -1 for NULL. */
MM_API int32_t mm_tensor_rank(const mm_tensor *tensor);
/** mm_tensor_rank() sizes; owned by the tensor. NULL for NULL. */
MM_API const int64_t *mm_tensor_shape(const mm_tensor *tensor);
/** mm_tensor_rank() strides in elements; owned by the tensor. NULL for NULL. */
MM_API const int64_t *mm_tensor_strides(const mm_tensor *tensor);
/** The first element; valid as long as the tensor is. NULL for NULL. */
MM_API const void *mm_tensor_data(const mm_tensor *tensor);

/** As in dlpack.h, version 1, which a program includes itself where it looks inside. */
struct DLManagedTensorVersioned;
/** The form of DLPack before version 1, which NumPy before 2.1 and PyTorch before 2.8 know alone.
 */
struct DLManagedTensor;

/**
 * The tensor for others to use, without copying: it keeps the memory alive on its own. It is marked
 * as read-only.
 * @param out receives the structure. Whoever uses it calls its deleter once, from any thread;
 *            NULL on failure.
 * @return MM_OK; MM_ERR_USAGE: NULL; MM_ERR_MEMORY.
 */
MM_API mm_status mm_tensor_to_dlpack(const mm_tensor *tensor,
                                     struct DLManagedTensorVersioned **out);
/** The same in the older form, which cannot say that it is read-only: it must not be written to all
 * the same. */
MM_API mm_status mm_tensor_to_old_dlpack(const mm_tensor *tensor, struct DLManagedTensor **out);

/**
 * A tensor of what another library made, without copying.
 * @param out     receives the tensor, whose end calls the deleter; NULL on failure.
 * @param managed is the tensor's from then on; on failure it stays the caller's.
 * @return MM_OK; MM_ERR_USAGE: NULL, memory that is not the CPU's, a type or rank that
 *         mm_tensor_wrap() has not; MM_ERR_UNSUPPORTED: a later major version of DLPack;
 *         MM_ERR_MEMORY.
 */
MM_API mm_status mm_tensor_from_dlpack(mm_tensor **out, struct DLManagedTensorVersioned *managed);
/** The same from the older form. */
MM_API mm_status mm_tensor_from_old_dlpack(mm_tensor **out, struct DLManagedTensor *managed);

#ifdef __cplusplus
}
#endif

#endif

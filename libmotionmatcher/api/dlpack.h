/* SPDX-License-Identifier: BSD-2-Clause */
/* The structures of DLPack's binary interface, version 1, and the form before it. */
#ifndef MM_API_DLPACK_H
#define MM_API_DLPACK_H

#include <stdint.h>

enum { MM_DLPACK_MAJOR = 1, MM_DLPACK_MINOR = 0 };
enum { MM_DL_CPU = 1, MM_DL_CUDA_HOST = 3 };
enum { MM_DL_INT = 0, MM_DL_UINT = 1, MM_DL_FLOAT = 2, MM_DL_BFLOAT = 4 };
enum { MM_DL_READ_ONLY = 1 };

typedef struct mm_dl_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits; /* of the elements */
    uint16_t lanes;
    int64_t *shape, *strides; /* strides in elements, may be NULL */
    uint64_t byte_offset;
} mm_dl_tensor;

struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    mm_dl_tensor dl_tensor;
};

struct DLManagedTensor {
    mm_dl_tensor dl_tensor;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensor *self);
};

#endif

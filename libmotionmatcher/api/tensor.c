/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/tensor.h"

#include <string.h>

#include "api/dlpack.h"
#include "api/status_internal.h"
#include "base/memory.h"

static bool find_dtype(const char *name, mm_dtype *out)
{
    for (int i = 0; i < MM_DTYPE_COUNT; i++) {
        if (strcmp(mm_dtype_name((mm_dtype)i), name) == 0) {
            *out = (mm_dtype)i;
            return true;
        }
    }
    return false;
}

static mm_status make_shape(mm_shape *out, int32_t rank, const int64_t *shape, mm_error *error)
{
    *out = (mm_shape){.rank = rank};
    if (rank < 0 || rank > MM_TENSOR_MAX_RANK)
        return mm_fail(error, MM_ERR_USAGE, "a tensor of rank %d: 0 to %d is possible", rank,
                       MM_TENSOR_MAX_RANK);
    if (rank > 0 && !shape)
        return mm_fail(error, MM_ERR_USAGE, "a tensor of rank %d needs a shape", rank);
    if (rank > 0)
        memcpy(out->dim, shape, (size_t)rank * sizeof(*shape));
    return MM_OK;
}

mm_status mm_tensor_wrap(mm_tensor **out, const void *data, const char *dtype, int32_t rank,
                         const int64_t *shape, const int64_t *strides, mm_release_callback release,
                         void *user)
{
    mm_dtype type;
    mm_shape sizes;
    if (out)
        *out = NULL;
    if (!out || !dtype)
        return mm_api_misuse(__func__, "out and dtype must not be NULL");
    if (!find_dtype(dtype, &type))
        return mm_api_misuse(__func__, "dtype must be f32, f16, bf16, f64, i32, i64 or u8");
    mm_error error = {0};
    mm_status status = make_shape(&sizes, rank, shape, &error);
    if (status == MM_OK)
        status = mm_tensor_make(out, type, &sizes, strides, (void *)(uintptr_t)data, release, user,
                                &error);
    return mm_api_return(status, &error);
}

const char *mm_tensor_dtype(const mm_tensor *tensor)
{
    return tensor ? mm_dtype_name(tensor->dtype) : "";
}

int32_t mm_tensor_rank(const mm_tensor *tensor)
{
    return tensor ? tensor->shape.rank : -1;
}

const int64_t *mm_tensor_shape(const mm_tensor *tensor)
{
    return tensor ? tensor->shape.dim : NULL;
}

const int64_t *mm_tensor_strides(const mm_tensor *tensor)
{
    return tensor ? tensor->stride : NULL;
}

const void *mm_tensor_data(const mm_tensor *tensor)
{
    return tensor ? tensor->data : NULL;
}

static const struct {
    uint8_t code, bits;
} dl_types[MM_DTYPE_COUNT] = {
    [MM_F32] = {MM_DL_FLOAT, 32}, [MM_F16] = {MM_DL_FLOAT, 16}, [MM_BF16] = {MM_DL_BFLOAT, 16},
    [MM_F64] = {MM_DL_FLOAT, 64}, [MM_I32] = {MM_DL_INT, 32},   [MM_I64] = {MM_DL_INT, 64},
    [MM_U8] = {MM_DL_UINT, 8},
};

/* The tensor's shape and strides do not change, so that nothing has to be copied. */
static mm_dl_tensor describe(mm_tensor *tensor)
{
    return (mm_dl_tensor){
        .data = tensor->data,
        .device_type = MM_DL_CPU,
        .ndim = tensor->shape.rank,
        .code = dl_types[tensor->dtype].code,
        .bits = dl_types[tensor->dtype].bits,
        .lanes = 1,
        .shape = tensor->shape.dim,
        .strides = tensor->stride,
    };
}

static void delete_exported(struct DLManagedTensorVersioned *self)
{
    mm_tensor *tensor = self->manager_ctx;
    mm_tensor_free(&tensor);
    mm_free(self);
}

static void delete_old_exported(struct DLManagedTensor *self)
{
    mm_tensor *tensor = self->manager_ctx;
    mm_tensor_free(&tensor);
    mm_free(self);
}

mm_status mm_tensor_to_dlpack(const mm_tensor *tensor, struct DLManagedTensorVersioned **out)
{
    mm_error error = {0};
    if (out)
        *out = NULL;
    if (!tensor || !out)
        return mm_api_misuse(__func__, "tensor and out must not be NULL");
    struct DLManagedTensorVersioned *managed = *out = mm_malloc(sizeof(*managed));
    if (!managed)
        return mm_api_return(mm_fail_memory(&error, "a tensor", sizeof(*managed)), &error);
    mm_tensor *kept = mm_tensor_retain(tensor);
    *managed = (struct DLManagedTensorVersioned){.major = MM_DLPACK_MAJOR,
                                                 .minor = MM_DLPACK_MINOR,
                                                 .manager_ctx = kept,
                                                 .deleter = delete_exported,
                                                 .flags = MM_DL_READ_ONLY,
                                                 .dl_tensor = describe(kept)};
    return MM_OK;
}

mm_status mm_tensor_to_old_dlpack(const mm_tensor *tensor, struct DLManagedTensor **out)
{
    mm_error error = {0};
    if (out)
        *out = NULL;
    if (!tensor || !out)
        return mm_api_misuse(__func__, "tensor and out must not be NULL");
    struct DLManagedTensor *managed = *out = mm_malloc(sizeof(*managed));
    if (!managed)
        return mm_api_return(mm_fail_memory(&error, "a tensor", sizeof(*managed)), &error);
    mm_tensor *kept = mm_tensor_retain(tensor);
    *managed = (struct DLManagedTensor){
        .dl_tensor = describe(kept), .manager_ctx = kept, .deleter = delete_old_exported};
    return MM_OK;
}

static void release_imported(void *user)
{
    struct DLManagedTensorVersioned *managed = user;
    if (managed->deleter)
        managed->deleter(managed);
}

static void release_old_imported(void *user)
{
    struct DLManagedTensor *managed = user;
    if (managed->deleter)
        managed->deleter(managed);
}

static mm_status find_dl_type(const mm_dl_tensor *given, mm_dtype *out, mm_error *error)
{
    for (int i = 0; i < MM_DTYPE_COUNT; i++) {
        if (given->lanes == 1 && given->code == dl_types[i].code &&
            given->bits == dl_types[i].bits) {
            *out = (mm_dtype)i;
            return MM_OK;
        }
    }
    return mm_fail(error, MM_ERR_USAGE,
                   "elements of DLPack's type %u with %u bits and %u lanes; f32, f16, bf16, f64, "
                   "i32, i64 and u8 are possible",
                   given->code, given->bits, given->lanes);
}

static mm_status import(mm_tensor **out, const mm_dl_tensor *given, mm_release_callback release,
                        void *user, mm_error *error)
{
    mm_dtype dtype = MM_F32;
    mm_shape shape;
    if (given->device_type != MM_DL_CPU && given->device_type != MM_DL_CUDA_HOST)
        return mm_fail(error, MM_ERR_USAGE,
                       "the tensor is not in the CPU's memory (DLPack's device type %d)",
                       given->device_type);
    MM_TRY(find_dl_type(given, &dtype, error));
    MM_TRY(make_shape(&shape, given->ndim, given->shape, error));
    char *data = given->data ? (char *)given->data + given->byte_offset : NULL;
    return mm_tensor_make(out, dtype, &shape, given->strides, data, release, user, error);
}

mm_status mm_tensor_from_dlpack(mm_tensor **out, struct DLManagedTensorVersioned *managed)
{
    mm_error error = {0};
    if (out)
        *out = NULL;
    if (!out || !managed)
        return mm_api_misuse(__func__, "out and managed must not be NULL");
    if (managed->major != MM_DLPACK_MAJOR)
        return mm_api_return(mm_fail(&error, MM_ERR_UNSUPPORTED,
                                     "a tensor of DLPack's version %u; %d is supported",
                                     managed->major, MM_DLPACK_MAJOR),
                             &error);
    return mm_api_return(import(out, &managed->dl_tensor, release_imported, managed, &error),
                         &error);
}

mm_status mm_tensor_from_old_dlpack(mm_tensor **out, struct DLManagedTensor *managed)
{
    mm_error error = {0};
    if (out)
        *out = NULL;
    if (!out || !managed)
        return mm_api_misuse(__func__, "out and managed must not be NULL");
    return mm_api_return(import(out, &managed->dl_tensor, release_old_imported, managed, &error),
                         &error);
}

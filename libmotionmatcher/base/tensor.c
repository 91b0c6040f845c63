/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/tensor.h"

#include <string.h>

#include "base/memory.h"

static bool bytes_of(mm_dtype dtype, const mm_shape *shape, size_t *out)
{
    int64_t elements;
    return mm_shape_elements_checked(shape, &elements) &&
           mm_mul_size((size_t)elements, mm_dtype_bytes(dtype), out) && *out <= PTRDIFF_MAX;
}

static void packed_strides(const mm_shape *shape, int64_t *stride)
{
    int64_t next = 1;
    for (int32_t i = shape->rank - 1; i >= 0; i--) {
        stride[i] = next;
        next *= shape->dim[i];
    }
}

mm_status mm_tensor_make(mm_tensor **out, mm_dtype dtype, const mm_shape *shape,
                         const int64_t *strides, void *data, mm_release_callback release,
                         void *user, mm_error *error)
{
    size_t bytes;
    char text[96];
    *out = NULL;
    if (!bytes_of(dtype, shape, &bytes))
        return mm_fail(error, MM_ERR_USAGE, "a tensor cannot have the shape %s",
                       mm_shape_text(shape, text, sizeof(text)));
    if (bytes > 0 && !data)
        return mm_fail(error, MM_ERR_USAGE, "a tensor of the shape %s needs data",
                       mm_shape_text(shape, text, sizeof(text)));
    mm_tensor *tensor = mm_malloc(sizeof(*tensor));
    if (!tensor)
        return mm_fail_memory(error, "a tensor", sizeof(*tensor));
    *tensor = (mm_tensor){
        .dtype = dtype, .shape = *shape, .data = data, .release = release, .user = user};
    atomic_init(&tensor->references, 1);
    if (!strides)
        packed_strides(shape, tensor->stride);
    else if (shape->rank > 0)
        memcpy(tensor->stride, strides, (size_t)shape->rank * sizeof(*strides));
    *out = tensor;
    return MM_OK;
}

mm_status mm_tensor_allocate(mm_tensor **out, mm_dtype dtype, const mm_shape *shape,
                             mm_error *error)
{
    size_t bytes = 0;
    void *data = bytes_of(dtype, shape, &bytes) ? mm_malloc(bytes) : NULL;
    *out = NULL;
    if (!data)
        return mm_fail_memory(error, "a tensor", bytes);
    mm_status status = mm_tensor_make(out, dtype, shape, NULL, data, mm_free, data, error);
    if (status != MM_OK)
        mm_free(data);
    return status;
}

static void drop(void *user)
{
    mm_tensor *tensor = user;
    mm_tensor_free(&tensor);
}

mm_status mm_tensor_view(mm_tensor **out, const mm_tensor *tensor, const mm_shape *shape,
                         const int64_t *strides, mm_error *error)
{
    mm_tensor *kept = mm_tensor_retain(tensor);
    mm_status status =
        mm_tensor_make(out, tensor->dtype, shape, strides, tensor->data, drop, kept, error);
    if (status != MM_OK)
        mm_tensor_free(&kept);
    return status;
}

mm_tensor *mm_tensor_retain(const mm_tensor *tensor)
{
    mm_tensor *same = (mm_tensor *)(uintptr_t)tensor;
    atomic_fetch_add_explicit(&same->references, 1, memory_order_relaxed);
    return same;
}

void mm_tensor_free(mm_tensor **pointer)
{
    mm_tensor *tensor = pointer ? *pointer : NULL;
    if (!tensor)
        return;
    *pointer = NULL;
    if (atomic_fetch_sub(&tensor->references, 1) > 1)
        return;
    if (tensor->release)
        tensor->release(tensor->user);
    mm_free(tensor);
}

bool mm_tensor_is_packed(const mm_tensor *tensor)
{
    int64_t stride[MM_MAX_RANK];
    packed_strides(&tensor->shape, stride);
    for (int32_t i = 0; i < tensor->shape.rank; i++) {
        if (tensor->shape.dim[i] > 1 && tensor->stride[i] != stride[i])
            return false;
    }
    return true;
}

bool mm_tensor_is_real(const mm_tensor *tensor)
{
    return tensor->dtype == MM_F32 || tensor->dtype == MM_F16 || tensor->dtype == MM_BF16 ||
           tensor->dtype == MM_F64;
}

static const void *element(const mm_tensor *tensor, int64_t offset)
{
    return (const char *)tensor->data + offset * (int64_t)mm_dtype_bytes(tensor->dtype);
}

/* Steps to the next element in packed order and returns its offset. */
static int64_t advance(const mm_tensor *tensor, int64_t *index, int64_t offset)
{
    for (int32_t i = tensor->shape.rank - 1; i >= 0; i--) {
        offset += tensor->stride[i];
        if (++index[i] < tensor->shape.dim[i])
            break;
        offset -= tensor->shape.dim[i] * tensor->stride[i];
        index[i] = 0;
    }
    return offset;
}

static void gather(const mm_tensor *tensor, char *out)
{
    const size_t size = mm_dtype_bytes(tensor->dtype);
    int64_t index[MM_MAX_RANK] = {0}, offset = 0;
    for (int64_t left = mm_shape_elements(&tensor->shape); left > 0; left--, out += size) {
        memcpy(out, element(tensor, offset), size);
        offset = advance(tensor, index, offset);
    }
}

mm_status mm_tensor_copy(mm_tensor **out, const mm_tensor *tensor, mm_error *error)
{
    MM_TRY(mm_tensor_allocate(out, tensor->dtype, &tensor->shape, error));
    gather(tensor, (*out)->data);
    return MM_OK;
}

mm_status mm_tensor_pack(mm_tensor **out, const mm_tensor *tensor, mm_error *error)
{
    if (!mm_tensor_is_packed(tensor))
        return mm_tensor_copy(out, tensor, error);
    *out = mm_tensor_retain(tensor);
    return MM_OK;
}

static float value_of(mm_dtype dtype, const void *at)
{
    switch (dtype) {
    case MM_F16:
        return mm_f16_to_f32(*(const uint16_t *)at);
    case MM_BF16:
        return mm_bf16_to_f32(*(const uint16_t *)at);
    case MM_F64:
        return (float)*(const double *)at;
    case MM_I32:
        return (float)*(const int32_t *)at;
    case MM_I64:
        return (float)*(const int64_t *)at;
    case MM_U8:
        return (float)*(const uint8_t *)at;
    default:
        return *(const float *)at;
    }
}

float *mm_tensor_floats(const mm_tensor *tensor)
{
    const int64_t count = mm_shape_elements(&tensor->shape);
    int64_t index[MM_MAX_RANK] = {0}, offset = 0;
    float *values = mm_malloc((size_t)count * sizeof(*values));
    for (int64_t i = 0; values && i < count; i++) {
        values[i] = value_of(tensor->dtype, element(tensor, offset));
        offset = advance(tensor, index, offset);
    }
    return values;
}

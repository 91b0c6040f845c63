/* SPDX-License-Identifier: BSD-2-Clause */
/* Weights of convolutions in the layout that oneDNN's forward convolution wants. */
#include <string.h>

#include "backends/cpu/convolution.h"
#include "base/memory.h"

typedef struct packed_weight {
    dnnl_memory_desc_t layout;
    void *data;
    size_t bytes;
} packed_weight;

static bool has_packed_form(const mm_weight *weight)
{
    const mm_shape *shape = &weight->shape;
    return shape->rank == 4 && shape->dim[2] * shape->dim[3] > 1 && !weight->trainable;
}

bool mm_cpu_is_packable(const mm_node *weight)
{
    return weight->op == MM_OP_weight && has_packed_form(weight->weight);
}

mm_status mm_cpu_plain_layout(const mm_shape *shape, mm_dtype dtype, dnnl_memory_desc_t *out,
                              mm_error *error)
{
    dnnl_data_type_t type;
    dnnl_dims_t dims;
    MM_TRY(mm_onednn_type(dtype, &type, error));
    memcpy(dims, shape->dim, 4 * sizeof(dims[0]));
    return mm_onednn_check(dnnl_memory_desc_init_by_tag(out, 4, dims, type, dnnl_oihw),
                           "a convolution's weight", error);
}

/* What a convolution of ordinary shape with this weight would choose. */
mm_status mm_cpu_packed_layout(const mm_cpu_context *context, const mm_weight *weight,
                               dnnl_memory_desc_t *out, mm_error *error)
{
    const int64_t *kernel = weight->shape.dim;
    int64_t side = 32 * ((kernel[2] > kernel[3] ? kernel[2] : kernel[3]) + 31) / 32;
    mm_convolution ordinary = {
        .images = 1,
        .input = {side, side},
        .output = {side, side},
        .kernel = {kernel[2], kernel[3]},
        .before = {(kernel[2] - 1) / 2, (kernel[3] - 1) / 2},
        .after = {kernel[2] / 2, kernel[3] / 2},
        .channels_in = kernel[1],
        .channels_out = kernel[0],
        .stride = 1,
        .dtype = weight->dtype,
        .result_dtype = weight->dtype,
        .bias = true,
    };
    dnnl_primitive_desc_t description;
    MM_TRY(mm_convolution_describe(context, &ordinary, &description, error));
    *out = *dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
    dnnl_primitive_desc_destroy(description);
    return MM_OK;
}

static mm_status reorder(const mm_cpu_context *context, const mm_weight *weight,
                         const packed_weight *to, mm_error *error)
{
    dnnl_memory_desc_t plain;
    mm_primitive primitive;
    MM_TRY(mm_cpu_plain_layout(&weight->shape, weight->dtype, &plain, error));
    MM_TRY(mm_reorder_create(&primitive, context, &plain, &to->layout, error));
    void *scratchpad = NULL;
    mm_status status = MM_OK;
    if (primitive.scratchpad_bytes && !(scratchpad = mm_pages_alloc(primitive.scratchpad_bytes)))
        status = mm_fail_memory(error, weight->name, primitive.scratchpad_bytes);
    const void *data[] = {weight->data, to->data};
    if (status == MM_OK)
        status = mm_primitive_run(context, &primitive, data, scratchpad, error);
    if (scratchpad)
        mm_pages_free(scratchpad, primitive.scratchpad_bytes);
    mm_primitive_destroy(&primitive);
    return status;
}

static void release_packed(packed_weight *packed)
{
    if (packed && packed->data)
        mm_pages_free(packed->data, packed->bytes);
    mm_free(packed);
}

static mm_status make_packed(const mm_cpu_context *context, const mm_weight *weight,
                             packed_weight *out, mm_error *error)
{
    MM_TRY(mm_cpu_packed_layout(context, weight, &out->layout, error));
    out->bytes = dnnl_memory_desc_get_size(&out->layout);
    out->data = mm_pages_alloc(out->bytes);
    if (!out->data)
        return mm_fail_memory(error, weight->name, out->bytes);
    return reorder(context, weight, out, error);
}

mm_status mm_cpu_pack(const mm_cpu_context *context, mm_weight *weight, const void **out,
                      mm_error *error)
{
    packed_weight *packed = weight->packed;
    if (packed) {
        *out = packed->data;
        return MM_OK;
    }
    if (!weight->data)
        return mm_fail(error, MM_ERR_USAGE, "%s: no data has been loaded", weight->name);
    packed = mm_calloc(1, sizeof(*packed));
    if (!packed)
        return mm_fail_memory(error, weight->name, sizeof(*packed));
    mm_status status = make_packed(context, weight, packed, error);
    if (status != MM_OK) {
        release_packed(packed);
        return status;
    }
    mm_pages_free(weight->data, weight->bytes);
    weight->data = NULL;
    weight->packed = packed;
    *out = packed->data;
    return MM_OK;
}

size_t mm_cpu_weight_bytes(const mm_cpu_context *context, const mm_weight *weight)
{
    mm_error ignored;
    dnnl_memory_desc_t layout;
    size_t plain = (size_t)mm_shape_elements(&weight->shape) * mm_dtype_bytes(weight->dtype);
    if (!has_packed_form(weight) ||
        mm_cpu_packed_layout(context, weight, &layout, &ignored) != MM_OK)
        return plain;
    return dnnl_memory_desc_get_size(&layout);
}

void mm_cpu_weight_release(mm_weight *weight)
{
    release_packed(weight->packed);
    if (weight->data)
        mm_pages_free(weight->data, weight->bytes);
    weight->packed = NULL;
    weight->data = NULL;
}

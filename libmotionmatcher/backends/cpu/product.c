/* SPDX-License-Identifier: BSD-2-Clause */
/* One matrix product through oneDNN's matmul primitive. */
#include "backends/cpu/onednn.h"

static dnnl_status_t describe(dnnl_memory_desc_t *out, int64_t rows, int64_t columns,
                              int64_t row_stride, int64_t column_stride, dnnl_data_type_t type)
{
    dnnl_dims_t dims = {rows, columns}, strides = {row_stride, column_stride};
    return dnnl_memory_desc_init_by_strides(out, 2, dims, type, strides);
}

static dnnl_status_t describe_bias(dnnl_memory_desc_t *out, int64_t n)
{
    return describe(out, 1, n, n, 1, dnnl_f32);
}

static dnnl_status_t describe_product(const mm_product *product, dnnl_data_type_t type,
                                      dnnl_data_type_t c_type, const dnnl_memory_desc_t *bias,
                                      dnnl_matmul_desc_t *out)
{
    dnnl_memory_desc_t a, b, c;
    int64_t m = product->m, n = product->n, k = product->k;
    dnnl_status_t status =
        describe(&a, m, k, product->a.row_stride, product->a.column_stride, type);
    if (status == dnnl_success)
        status = describe(&b, k, n, product->b.row_stride, product->b.column_stride, type);
    if (status == dnnl_success)
        status = describe(&c, m, n, product->c_row_stride, 1, c_type);
    if (status == dnnl_success)
        status = dnnl_matmul_desc_init(out, &a, &b, bias, &c);
    return status;
}

/* oneDNN scales its own bias by alpha too, so that with another alpha than 1 ours is added as a
   further tensor. */
static bool bias_is_apart(const mm_product *product)
{
    return product->bias && product->alpha != 1.0f;
}

static mm_status describe_primitive(const mm_cpu_context *context, const mm_product *product,
                                    dnnl_primitive_desc_t *out, mm_error *error)
{
    bool apart = bias_is_apart(product);
    dnnl_data_type_t type, c_type;
    dnnl_memory_desc_t bias;
    dnnl_matmul_desc_t operation;
    dnnl_primitive_attr_t attributes;
    MM_TRY(mm_onednn_type(product->dtype, &type, error));
    MM_TRY(mm_onednn_type(product->c_dtype, &c_type, error));
    dnnl_status_t status = describe_bias(&bias, product->n);
    if (status == dnnl_success)
        status = describe_product(product, type, c_type, product->bias && !apart ? &bias : NULL,
                                  &operation);
    MM_TRY(mm_onednn_check(status, "a matrix product", error));
    MM_TRY(mm_primitive_attributes(&attributes, product->accumulate, apart ? &bias : NULL, error));
    if (product->alpha != 1.0f)
        status = dnnl_primitive_attr_set_output_scales(attributes, 1, 0, &product->alpha);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(out, &operation, attributes, context->engine, NULL);
    dnnl_primitive_attr_destroy(attributes);
    return mm_onednn_check(status, "a matrix product", error);
}

mm_status mm_product_create(mm_primitive *out, const mm_cpu_context *context,
                            const mm_product *product, mm_error *error)
{
    int name[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
    dnnl_primitive_desc_t description;
    if (bias_is_apart(product))
        name[3] = DNNL_ARG_ATTR_MULTIPLE_POST_OP(product->accumulate ? 1 : 0) | DNNL_ARG_SRC_1;
    MM_TRY(describe_primitive(context, product, &description, error));
    mm_status status =
        mm_primitive_create(out, context, description, name, product->bias ? 4 : 3, error);
    dnnl_primitive_desc_destroy(description);
    return status;
}

mm_status mm_product_run(const mm_cpu_context *context, const mm_primitive *primitive,
                         const void *a, const void *b, const void *bias, void *c, void *scratchpad,
                         mm_error *error)
{
    const void *data[] = {a, b, c, bias};
    return mm_primitive_run(context, primitive, data, scratchpad, error);
}

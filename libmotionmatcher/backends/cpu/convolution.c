/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/convolution.h"

typedef struct layouts {
    dnnl_memory_desc_t input, weight, bias, output;
} layouts;

static dnnl_status_t describe_layouts(const mm_convolution *c, dnnl_data_type_t type, layouts *out)
{
    dnnl_dims_t input = {c->images, c->channels_in, c->input[0], c->input[1]};
    dnnl_dims_t weight = {c->channels_out, c->channels_in, c->kernel[0], c->kernel[1]};
    dnnl_dims_t output = {c->images, c->channels_out, c->output[0], c->output[1]};
    dnnl_dims_t bias = {c->channels_out};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&out->input, 4, input, type, dnnl_nhwc);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&out->weight, 4, weight, type, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&out->output, 4, output, type, dnnl_nhwc);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&out->bias, 1, bias, dnnl_f32, dnnl_a);
    return status;
}

static mm_status create(const mm_cpu_context *context, const dnnl_convolution_desc_t *operation,
                        bool accumulate, const_dnnl_primitive_desc_t hint,
                        dnnl_primitive_desc_t *out, mm_error *error)
{
    dnnl_primitive_attr_t attributes;
    MM_TRY(mm_primitive_attributes(&attributes, accumulate, NULL, error));
    dnnl_status_t status =
        dnnl_primitive_desc_create(out, operation, attributes, context->engine, hint);
    dnnl_primitive_attr_destroy(attributes);
    return mm_onednn_check(status, "a convolution", error);
}

mm_status mm_convolution_describe(const mm_cpu_context *context, const mm_convolution *c,
                                  dnnl_primitive_desc_t *out, mm_error *error)
{
    layouts layout;
    dnnl_data_type_t type;
    dnnl_convolution_desc_t operation;
    MM_TRY(mm_onednn_type(c->dtype, &type, error));
    dnnl_dims_t stride = {c->stride, c->stride}, before = {c->before[0], c->before[1]},
                after = {c->after[0], c->after[1]};
    dnnl_status_t status = describe_layouts(c, type, &layout);
    if (status == dnnl_success)
        status = dnnl_convolution_forward_desc_init(
            &operation, dnnl_forward_inference, dnnl_convolution_direct, &layout.input,
            &layout.weight, c->bias ? &layout.bias : NULL, &layout.output, stride, before, after);
    MM_TRY(mm_onednn_check(status, "a convolution", error));
    return create(context, &operation, c->accumulate, NULL, out, error);
}

mm_status mm_convolution_describe_gradient(const mm_cpu_context *context, const mm_convolution *c,
                                           dnnl_primitive_desc_t *out, mm_error *error)
{
    layouts layout;
    dnnl_data_type_t type;
    dnnl_convolution_desc_t operation;
    dnnl_primitive_desc_t forward;
    MM_TRY(mm_onednn_type(c->dtype, &type, error));
    dnnl_dims_t stride = {c->stride, c->stride}, before = {c->before[0], c->before[1]},
                after = {c->after[0], c->after[1]};
    dnnl_status_t status = describe_layouts(c, type, &layout);
    if (status == dnnl_success)
        status = dnnl_convolution_backward_data_desc_init(&operation, dnnl_convolution_direct,
                                                          &layout.input, &layout.weight,
                                                          &layout.output, stride, before, after);
    MM_TRY(mm_onednn_check(status, "a convolution's gradient", error));
    MM_TRY(mm_convolution_describe(context, c, &forward, error));
    mm_status result = create(context, &operation, false, forward, out, error);
    dnnl_primitive_desc_destroy(forward);
    return result;
}

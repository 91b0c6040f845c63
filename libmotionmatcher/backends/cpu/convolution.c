/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/convolution.h"

typedef struct layouts {
    dnnl_memory_desc_t input, weight, bias, output;
} layouts;

static mm_status describe_layouts(const mm_convolution *c, bool gradient, layouts *out,
                                  mm_error *error)
{
    dnnl_data_type_t type, result_type;
    MM_TRY(mm_onednn_type(c->dtype, &type, error));
    MM_TRY(mm_onednn_type(c->result_dtype, &result_type, error));
    dnnl_dims_t input = {c->images, c->channels_in, c->input[0], c->input[1]};
    dnnl_dims_t weight = {c->channels_out, c->channels_in, c->kernel[0], c->kernel[1]};
    dnnl_dims_t output = {c->images, c->channels_out, c->output[0], c->output[1]};
    dnnl_dims_t bias = {c->channels_out};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&out->input, 4, input,
                                                        gradient ? result_type : type, dnnl_nhwc);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&out->weight, 4, weight, type, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&out->output, 4, output,
                                              gradient ? type : result_type, dnnl_nhwc);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&out->bias, 1, bias, dnnl_f32, dnnl_a);
    return mm_onednn_check(status, "a convolution", error);
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
    dnnl_convolution_desc_t operation;
    MM_TRY(describe_layouts(c, false, &layout, error));
    dnnl_dims_t stride = {c->stride, c->stride}, before = {c->before[0], c->before[1]},
                after = {c->after[0], c->after[1]};
    dnnl_status_t status = dnnl_convolution_forward_desc_init(
        &operation, dnnl_forward_inference, dnnl_convolution_direct, &layout.input, &layout.weight,
        c->bias ? &layout.bias : NULL, &layout.output, stride, before, after);
    MM_TRY(mm_onednn_check(status, "a convolution", error));
    return create(context, &operation, c->accumulate, NULL, out, error);
}

mm_status mm_convolution_describe_gradient(const mm_cpu_context *context, const mm_convolution *c,
                                           dnnl_primitive_desc_t *out, mm_error *error)
{
    layouts layout;
    dnnl_convolution_desc_t operation;
    dnnl_primitive_desc_t forward;
    MM_TRY(describe_layouts(c, true, &layout, error));
    dnnl_dims_t stride = {c->stride, c->stride}, before = {c->before[0], c->before[1]},
                after = {c->after[0], c->after[1]};
    dnnl_status_t status = dnnl_convolution_backward_data_desc_init(
        &operation, dnnl_convolution_direct, &layout.input, &layout.weight, &layout.output, stride,
        before, after);
    MM_TRY(mm_onednn_check(status, "a convolution's gradient", error));
    /* The hint's types must be those of a forward convolution. */
    mm_convolution hint = *c;
    hint.result_dtype = c->dtype;
    MM_TRY(mm_convolution_describe(context, &hint, &forward, error));
    mm_status result = create(context, &operation, false, forward, out, error);
    dnnl_primitive_desc_destroy(forward);
    return result;
}

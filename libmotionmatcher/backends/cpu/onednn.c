/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/onednn.h"

#include <string.h>

mm_status mm_onednn_check(dnnl_status_t status, const char *what, mm_error *error)
{
    switch (status) {
    case dnnl_success:
        return MM_OK;
    case dnnl_out_of_memory:
        return mm_fail(error, MM_ERR_MEMORY, "not enough memory for %s", what);
    case dnnl_unimplemented:
        return mm_fail(error, MM_ERR_UNSUPPORTED, "oneDNN has no implementation for %s", what);
    default:
        return mm_fail(error, MM_ERR_RUNTIME, "oneDNN failed on %s (status %d)", what, (int)status);
    }
}

mm_status mm_onednn_open(mm_cpu_context *context, mm_error *error)
{
    MM_TRY(mm_onednn_check(dnnl_engine_create(&context->engine, dnnl_cpu, 0), "the CPU engine",
                           error));
    return mm_onednn_check(
        dnnl_stream_create(&context->stream, context->engine, dnnl_stream_default_flags),
        "the CPU stream", error);
}

void mm_onednn_limit_isa(mm_isa isa)
{
    static const dnnl_cpu_isa_t limits[MM_ISA_COUNT] = {
        [MM_ISA_SSE4] = dnnl_cpu_isa_sse41,
        [MM_ISA_AVX2] = dnnl_cpu_isa_avx2,
        [MM_ISA_AVX512] = dnnl_cpu_isa_avx512_core,
        [MM_ISA_AVX512_BF16] = dnnl_cpu_isa_avx512_core_bf16,
    };
    dnnl_set_max_cpu_isa(limits[isa]);
}

mm_status mm_onednn_type(mm_dtype dtype, dnnl_data_type_t *out, mm_error *error)
{
    switch (dtype) {
    case MM_F32:
        *out = dnnl_f32;
        return MM_OK;
    case MM_BF16:
        *out = dnnl_bf16;
        return MM_OK;
    default:
        return mm_fail(error, MM_ERR_UNSUPPORTED, "the CPU has no products of type %s",
                       mm_dtype_name(dtype));
    }
}

static dnnl_status_t append_sums(dnnl_primitive_attr_t attributes, bool accumulate,
                                 const dnnl_memory_desc_t *added)
{
    dnnl_post_ops_t sums;
    dnnl_status_t status = dnnl_post_ops_create(&sums);
    if (status != dnnl_success)
        return status;
    if (accumulate)
        status = dnnl_post_ops_append_sum(sums, 1.0f);
    if (added && status == dnnl_success)
        status = dnnl_post_ops_append_binary(sums, dnnl_binary_add, added);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attributes, sums);
    dnnl_post_ops_destroy(sums);
    return status;
}

mm_status mm_primitive_attributes(dnnl_primitive_attr_t *out, bool accumulate,
                                  const dnnl_memory_desc_t *added, mm_error *error)
{
    dnnl_status_t status = dnnl_primitive_attr_create(out);
    if (status != dnnl_success)
        return mm_onednn_check(status, "the attributes of a product", error);
    status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = append_sums(*out, accumulate, added);
    if (status != dnnl_success)
        dnnl_primitive_attr_destroy(*out);
    return mm_onednn_check(status, "the attributes of a product", error);
}

static dnnl_status_t create_memory(const mm_cpu_context *context,
                                   const_dnnl_primitive_desc_t description, int argument,
                                   dnnl_memory_t *out)
{
    const dnnl_memory_desc_t *layout =
        dnnl_primitive_desc_query_md(description, dnnl_query_exec_arg_md, argument);
    if (!layout)
        return dnnl_invalid_arguments;
    return dnnl_memory_create(out, layout, context->engine, DNNL_MEMORY_NONE);
}

mm_status mm_primitive_create(mm_primitive *out, const mm_cpu_context *context,
                              const_dnnl_primitive_desc_t description, const int *name,
                              int32_t count, mm_error *error)
{
    mm_primitive primitive = {.count = count};
    dnnl_status_t status = dnnl_primitive_create(&primitive.handle, description);
    for (int32_t i = 0; i < count && status == dnnl_success; i++) {
        primitive.name[i] = name[i];
        status = create_memory(context, description, name[i], &primitive.memory[i]);
    }
    const dnnl_memory_desc_t *scratchpad =
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    if (status == dnnl_success && scratchpad && dnnl_memory_desc_get_size(scratchpad) > 0) {
        primitive.scratchpad_bytes = dnnl_memory_desc_get_size(scratchpad);
        status = dnnl_memory_create(&primitive.scratchpad, scratchpad, context->engine,
                                    DNNL_MEMORY_NONE);
    }
    if (status != dnnl_success) {
        mm_primitive_destroy(&primitive);
        return mm_onednn_check(status, "a prepared product", error);
    }
    *out = primitive;
    return MM_OK;
}

void mm_primitive_destroy(mm_primitive *primitive)
{
    for (int32_t i = 0; i < primitive->count; i++)
        if (primitive->memory[i])
            dnnl_memory_destroy(primitive->memory[i]);
    if (primitive->scratchpad)
        dnnl_memory_destroy(primitive->scratchpad);
    if (primitive->handle)
        dnnl_primitive_destroy(primitive->handle);
    memset(primitive, 0, sizeof(*primitive));
}

/* oneDNN's memory objects take plain pointers, also for what is only read. */
static dnnl_status_t set_data(dnnl_memory_t memory, const void *data)
{
    return dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data);
}

mm_status mm_primitive_run(const mm_cpu_context *context, const mm_primitive *primitive,
                           const void *const *data, void *scratchpad, mm_error *error)
{
    dnnl_exec_arg_t argument[MM_PRIMITIVE_ARGUMENTS + 1];
    dnnl_status_t status = dnnl_success;
    int32_t count = primitive->count;
    for (int32_t i = 0; i < count && status == dnnl_success; i++) {
        argument[i] = (dnnl_exec_arg_t){primitive->name[i], primitive->memory[i]};
        status = set_data(primitive->memory[i], data[i]);
    }
    if (primitive->scratchpad && status == dnnl_success) {
        argument[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, primitive->scratchpad};
        status = set_data(primitive->scratchpad, scratchpad);
    }
    if (status == dnnl_success)
        status = dnnl_primitive_execute(primitive->handle, context->stream, count, argument);
    return mm_onednn_check(status, "a product", error);
}

mm_status mm_reorder_create(mm_primitive *out, const mm_cpu_context *context,
                            const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                            mm_error *error)
{
    static const int name[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    dnnl_primitive_attr_t attributes;
    MM_TRY(mm_primitive_attributes(&attributes, false, NULL, error));
    dnnl_primitive_desc_t description = NULL;
    mm_status status =
        mm_onednn_check(dnnl_reorder_primitive_desc_create(&description, from, context->engine, to,
                                                           context->engine, attributes),
                        "the reordering of a weight", error);
    if (status == MM_OK)
        status = mm_primitive_create(out, context, description, name, 2, error);
    if (description)
        dnnl_primitive_desc_destroy(description);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

void mm_cpu_place_addend(void *destination, const void *addend, size_t bytes)
{
    enum { PIECE = 1 << 18 };
    if (!addend || addend == destination)
        return;
    int64_t pieces = (int64_t)(bytes / PIECE + 1);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < pieces; i++) {
        size_t first = (size_t)i * PIECE;
        size_t left = bytes - first;
        memcpy((char *)destination + first, (const char *)addend + first,
               left < PIECE ? left : PIECE);
    }
}

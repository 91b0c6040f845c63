/* SPDX-License-Identifier: BSD-2-Clause */
/* oneDNN primitives with their arguments, and matrix products on top of them. */
#ifndef MM_BACKENDS_CPU_ONEDNN_H
#define MM_BACKENDS_CPU_ONEDNN_H

#include <dnnl.h>

#include "backends/cpu/kernels.h"

mm_status mm_onednn_open(mm_cpu_context *context, mm_error *error);
/* Has no effect once the process has run oneDNN. */
void mm_onednn_limit_isa(mm_isa isa);
/* MM_OK, MM_ERR_MEMORY, MM_ERR_UNSUPPORTED or MM_ERR_RUNTIME for what oneDNN answered. */
mm_status mm_onednn_check(dnnl_status_t status, const char *what, mm_error *error);
mm_status mm_onednn_type(mm_dtype dtype, dnnl_data_type_t *out, mm_error *error);

#define MM_PRIMITIVE_ARGUMENTS 5

typedef struct mm_primitive {
    dnnl_primitive_t handle; /* NULL: none */
    int32_t count;
    int name[MM_PRIMITIVE_ARGUMENTS]; /* DNNL_ARG_... */
    dnnl_memory_t memory[MM_PRIMITIVE_ARGUMENTS];
    dnnl_memory_t scratchpad;
    size_t scratchpad_bytes; /* to be part of the kernel's workspace */
} mm_primitive;

/* Attributes that every primitive here has: scratchpad from the caller; with `accumulate` the
   result is added to what the destination holds; `added`, unless NULL, describes one more tensor to
   add. */
mm_status mm_primitive_attributes(dnnl_primitive_attr_t *out, bool accumulate,
                                  const dnnl_memory_desc_t *added, mm_error *error);
/* `name` is the list of arguments whose memory mm_primitive_run will be given, in this order. */
mm_status mm_primitive_create(mm_primitive *out, const mm_cpu_context *context,
                              const_dnnl_primitive_desc_t description, const int *name,
                              int32_t count, mm_error *error);
void mm_primitive_destroy(mm_primitive *primitive);
mm_status mm_primitive_run(const mm_cpu_context *context, const mm_primitive *primitive,
                           const void *const *data, void *scratchpad, mm_error *error);

static inline size_t mm_larger_scratchpad(size_t bytes, const mm_primitive *primitive)
{
    return primitive->scratchpad_bytes > bytes ? primitive->scratchpad_bytes : bytes;
}

/* The same values in another layout. */
mm_status mm_reorder_create(mm_primitive *out, const mm_cpu_context *context,
                            const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                            mm_error *error);

/* c[M, N] = alpha a[M, K] b[K, N] + bias[N], or c += with accumulate. Strides in elements. */
typedef struct mm_product_matrix {
    int64_t row_stride, column_stride;
} mm_product_matrix;

typedef struct mm_product {
    int64_t m, n, k;
    mm_product_matrix a, b;
    int64_t c_row_stride;
    mm_dtype dtype, c_dtype; /* of a and b, of c */
    float alpha;
    bool bias, accumulate;
} mm_product;

mm_status mm_product_create(mm_primitive *out, const mm_cpu_context *context,
                            const mm_product *product, mm_error *error);
mm_status mm_product_run(const mm_cpu_context *context, const mm_primitive *primitive,
                         const void *a, const void *b, const void *bias, void *c, void *scratchpad,
                         mm_error *error);

/* Puts the addend into the destination, unless it lies there already. */
void mm_cpu_place_addend(void *destination, const void *addend, size_t bytes);

/*
 * Kernels of convolutions are held in a layout that depends on the weight's own shape alone, so
 * that any number of executables share it: packed on first use, the plain data freed at that
 * moment.
 */
bool mm_cpu_is_packable(const mm_node *weight);
mm_status mm_cpu_packed_layout(const mm_cpu_context *context, const mm_weight *weight,
                               dnnl_memory_desc_t *out, mm_error *error);
mm_status mm_cpu_pack(const mm_cpu_context *context, mm_weight *weight, const void **out,
                      mm_error *error);
/* [Co, Ci, kh, kw], row-major. */
mm_status mm_cpu_plain_layout(const mm_shape *shape, mm_dtype dtype, dnnl_memory_desc_t *out,
                              mm_error *error);
size_t mm_cpu_weight_bytes(const mm_cpu_context *context, const mm_weight *weight);
void mm_cpu_weight_release(mm_weight *weight);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A two-dimensional convolution on channels-last activations, as oneDNN is told of it. */
#ifndef MM_BACKENDS_CPU_CONVOLUTION_H
#define MM_BACKENDS_CPU_CONVOLUTION_H

#include "backends/cpu/onednn.h"

/* Pairs are (height, width). */
typedef struct mm_convolution {
    int64_t images, channels_in, channels_out;
    int64_t input[2], output[2], kernel[2];
    int64_t before[2], after[2]; /* zeros around the input */
    int64_t stride;
    mm_dtype dtype, result_dtype; /* of what is multiplied, of what that gives */
    bool bias, accumulate;
} mm_convolution;

/* The forward convolution, free to choose the layout of its weight. */
mm_status mm_convolution_describe(const mm_cpu_context *context, const mm_convolution *convolution,
                                  dnnl_primitive_desc_t *out, mm_error *error);
/* The gradient with respect to the input, likewise. */
mm_status mm_convolution_describe_gradient(const mm_cpu_context *context,
                                           const mm_convolution *convolution,
                                           dnnl_primitive_desc_t *out, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The `prepare` functions of ops that need a workspace. */
#ifndef MM_BACKENDS_CPU_PREPARE_H
#define MM_BACKENDS_CPU_PREPARE_H

#include "backends/cpu/kernels.h"

mm_status mm_prepare_group_norm(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                                mm_error *error);
mm_status mm_prepare_layer_norm(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                                mm_error *error);
mm_status mm_prepare_attention(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                               mm_error *error);
mm_status mm_prepare_patch_correlation(const mm_cpu_context *context, const mm_node *node,
                                       mm_kernel *out, mm_error *error);
mm_status mm_prepare_mean_squared_error(const mm_cpu_context *context, const mm_node *node,
                                        mm_kernel *out, mm_error *error);

#endif

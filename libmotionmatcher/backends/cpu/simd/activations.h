/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_BACKENDS_CPU_SIMD_ACTIVATIONS_H
#define MM_BACKENDS_CPU_SIMD_ACTIVATIONS_H

#include "backends/cpu/kernels.h"

#define mm_activate MM_AT_LEVEL(mm_activate)
#define mm_activate_grad MM_AT_LEVEL(mm_activate_grad)

/* y = f(x); y may be x. */
void mm_activate(mm_activation_kind kind, float *y, const float *x, int64_t count);
/* dx = dy f'(x); dx may be x or dy. */
void mm_activate_grad(mm_activation_kind kind, float *dx, const float *x, const float *dy,
                      int64_t count);

#endif

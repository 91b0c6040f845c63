/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU backend: oneDNN for products and convolutions, SIMD kernels picked at run time for the
 * rest, OpenMP threads for both.
 */
#ifndef MM_BACKENDS_CPU_H
#define MM_BACKENDS_CPU_H

#include "graph/backend.h"

/*
 * threads: at most as many threads work on one kernel; 0 for one per processor that this process
 * may use. The host program's own OpenMP setting is restored after every call.
 *
 * isa_mask: the best instruction set that may be used, "sse4", "avx2", "avx512" or "avx512_bf16";
 * NULL for what the processor has. oneDNN's part of it holds for the whole process and only if
 * nothing in the process has used oneDNN before: a later backend with another mask computes the
 * same values, but its products may run on the earlier mask's instructions.
 *
 * One thread at a time may use a backend, its executables and the weights they share.
 *
 * MM_ERR_USAGE: an unknown mask or a negative number of threads; MM_ERR_DEVICE: a processor without
 * SSE4.1; MM_ERR_MEMORY.
 */
mm_status mm_cpu_backend_create(mm_backend **out, int threads, const char *isa_mask,
                                mm_error *error);

/* The best instruction set that the backend uses, by the names of the mask. */
const char *mm_cpu_backend_isa(const mm_backend *backend);
/* Whether products of bf16 numbers run faster than those of f32. */
bool mm_cpu_backend_prefers_bf16(const mm_backend *backend);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the CPU backend and its kernels: one const row of functions for each op. */
#ifndef MM_BACKENDS_CPU_KERNELS_H
#define MM_BACKENDS_CPU_KERNELS_H

#include "graph/backend.h"

/* Every level has all instructions of those before it. */
typedef enum mm_isa {
    MM_ISA_SSE4 = 0, /* SSE4.1 */
    MM_ISA_AVX2,     /* AVX2 and FMA */
    MM_ISA_AVX512,   /* AVX512 F, BW, DQ, VL */
    MM_ISA_AVX512_BF16,
    MM_ISA_COUNT
} mm_isa;

struct dnnl_engine;
struct dnnl_stream;

typedef struct mm_cpu_context {
    int threads; /* already OpenMP's setting when a kernel is called: parallel regions need no
                    clause */
    mm_isa isa;
    struct dnnl_engine *engine;
    struct dnnl_stream *stream;
} mm_cpu_context;

/*
 * The kernel of one op. `prepare` may set workspace_bytes and state (both are zero before); after a
 * failure it leaves nothing to discard. Kernels may use workspace_bytes of call->workspace and
 * nothing else: no allocation during a run.
 */
typedef struct mm_cpu_kernel {
    mm_status (*prepare)(const mm_cpu_context *context, const mm_node *node, mm_kernel *out,
                         mm_error *error); /* optional */
    mm_status (*run)(const mm_cpu_context *context, const mm_kernel *kernel,
                     const mm_kernel_call *call, mm_error *error);
    void (*discard)(mm_kernel *kernel); /* optional; frees what prepare put into state */
} mm_cpu_kernel;

#define MM_LEAF(...)
#define MM_OP(name, ...) extern const mm_cpu_kernel mm_cpu_##name;
#include "graph/ops.def"
#undef MM_OP

/*
 * Files listed in simd/meson.build are compiled once for each level, with MM_SIMD_LEVEL defined as
 * sse4, avx2, avx512 or avx512_bf16, that level's instructions and fused multiply-adds. A symbol
 * written MM_AT_LEVEL(mm_simd_sum) is then mm_simd_sum_avx2 and so on; MM_LEVELS(mm_simd_sum) lists
 * them all for a table indexed by mm_isa.
 */
#define MM_LEVELS(name)                                             \
    {                                                               \
        name##_sse4, name##_avx2, name##_avx512, name##_avx512_bf16 \
    }
#define MM_DECLARE_LEVELS(type, name) \
    extern type name##_sse4, name##_avx2, name##_avx512, name##_avx512_bf16;
#ifdef MM_SIMD_LEVEL
#define MM_PASTE_LEVEL_(name, level) name##_##level
#define MM_PASTE_LEVEL(name, level) MM_PASTE_LEVEL_(name, level)
#define MM_AT_LEVEL(name) MM_PASTE_LEVEL(name, MM_SIMD_LEVEL)
#endif

static inline bool mm_cpu_cancelled(const mm_kernel_call *call)
{
    return call->cancel && atomic_load_explicit(call->cancel, memory_order_relaxed);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/cpu.h"

#include <dnnl.h>
#include <string.h>

#include "backends/cpu/kernels.h"
#include "backends/cpu/onednn.h"
#include "base/memory.h"
#include "graph/ops.h"

#ifdef _OPENMP
#include <omp.h>
#endif

typedef struct cpu_backend {
    mm_backend base;
    mm_cpu_context context;
} cpu_backend;

static const mm_cpu_kernel *const kernels[MM_OP_COUNT] = {
#define MM_LEAF(...)
#define MM_OP(name, ...) [MM_OP_##name] = &mm_cpu_##name,
#include "graph/ops.def"
#undef MM_OP
};

static const char *const isa_names[MM_ISA_COUNT] = {"sse4", "avx2", "avx512", "avx512_bf16"};

static const mm_cpu_context *context_of(const mm_backend *backend)
{
    return &((const cpu_backend *)backend)->context;
}

/* Sets OpenMP's number of threads for this thread's regions and returns the one before. */
static int set_threads(int threads)
{
#ifdef _OPENMP
    int before = omp_get_max_threads();
    if (before != threads)
        omp_set_num_threads(threads);
    return before;
#else
    return threads;
#endif
}

static void backend_free(mm_backend *backend)
{
    mm_cpu_context *context = &((cpu_backend *)backend)->context;
    if (context->stream)
        dnnl_stream_destroy(context->stream);
    if (context->engine)
        dnnl_engine_destroy(context->engine);
    mm_free(backend);
}

static mm_status allocate(mm_backend *backend, size_t bytes, void **out, mm_error *error)
{
    (void)backend;
    *out = mm_pages_alloc(bytes);
    return *out ? MM_OK : mm_fail_memory(error, "a buffer", bytes);
}

static void release(mm_backend *backend, void *block, size_t bytes)
{
    (void)backend;
    mm_pages_free(block, bytes);
}

static mm_status copy(mm_backend *backend, void *to, const void *from, size_t bytes,
                      mm_error *error)
{
    (void)backend;
    (void)error;
    memcpy(to, from, bytes);
    return MM_OK;
}

static bool computes(const mm_backend *backend, mm_dtype dtype)
{
    return dtype == MM_F32 || (dtype == MM_BF16 && mm_cpu_backend_prefers_bf16(backend));
}

static bool is_product(mm_op op)
{
    return op == MM_OP_matmul || op == MM_OP_conv2d || op == MM_OP_conv2d_grad ||
           op == MM_OP_temporal_conv || op == MM_OP_temporal_conv_grad;
}

/* Ops that no network needs in bf16. */
static bool is_f32_alone(mm_op op)
{
    return op == MM_OP_combine || op == MM_OP_clamp || op == MM_OP_clamp_grad ||
           op == MM_OP_resize_bilinear || op == MM_OP_timestep_embedding ||
           op == MM_OP_patch_correlation || op == MM_OP_mean_squared_error ||
           op == MM_OP_mean_squared_error_grad;
}

static bool is_bf16(const mm_node *node)
{
    return node && node->dtype == MM_BF16;
}

/* Activations and matrices are all f32, or the matrix at least is bf16; vectors and maps are f32.
 */
static bool fits_product(const mm_node *node)
{
    bool weight = is_bf16(node->source[1]), x = is_bf16(node->source[0]);
    const mm_node *bias = node->source_count > 2 ? node->source[2] : NULL;
    if (is_bf16(bias) || (x && !weight))
        return false;
    return x || !weight || !(node->op == MM_OP_matmul && node->attr.matmul.transpose_a);
}

static bool supports(const mm_backend *backend, const mm_node *node)
{
    bool narrow = node->dtype != MM_F32;
    for (int32_t i = 0; i < node->source_count; i++)
        narrow |= is_bf16(node->source[i]);
    if (!kernels[node->op] || (narrow && (!computes(backend, MM_BF16) || is_f32_alone(node->op))))
        return false;
    return !is_product(node->op) || fits_product(node);
}

/* Operations and elements moved below which waking other threads costs more than they save. */
static const double alone_below = 1e6;

/* The context as a node's kernel sees it: a small node stays on one thread. This follows from
   shapes alone, so that a primitive runs on as many threads as it was prepared for. */
static mm_cpu_context context_for(const mm_backend *backend, const mm_node *node)
{
    mm_cpu_context context = *context_of(backend);
    double work =
        mm_op_describe(node->op)->flops(node) + 8.0 * (double)mm_shape_elements(&node->shape);
    for (int32_t i = 0; i < node->source_count; i++)
        work += node->source[i] ? 8.0 * (double)mm_shape_elements(&node->source[i]->shape) : 0.0;
    if (work < alone_below)
        context.threads = 1;
    return context;
}

static mm_status prepare(mm_backend *backend, const mm_node *node, mm_kernel *out, mm_error *error)
{
    mm_cpu_context context = context_for(backend, node);
    *out = (mm_kernel){.node = node};
    if (!kernels[node->op]->prepare)
        return MM_OK;
    int threads = set_threads(context.threads);
    mm_status status = kernels[node->op]->prepare(&context, node, out, error);
    set_threads(threads);
    return status;
}

static void discard(mm_backend *backend, mm_kernel *kernel)
{
    (void)backend;
    if (kernel->node && kernels[kernel->node->op]->discard)
        kernels[kernel->node->op]->discard(kernel);
    *kernel = (mm_kernel){0};
}

static mm_status run(mm_backend *backend, const mm_kernel *kernel, const mm_kernel_call *call,
                     mm_error *error)
{
    mm_cpu_context context = context_for(backend, kernel->node);
    int threads = set_threads(context.threads);
    mm_status status = kernels[kernel->node->op]->run(&context, kernel, call, error);
    set_threads(threads);
    return status;
}

static mm_status synchronize(mm_backend *backend, mm_error *error)
{
    (void)backend;
    (void)error;
    return MM_OK;
}

static size_t weight_bytes(const mm_backend *backend, const mm_weight *weight)
{
    return mm_cpu_weight_bytes(context_of(backend), weight);
}

static void weight_release(mm_backend *backend, mm_weight *weight)
{
    (void)backend;
    mm_cpu_weight_release(weight);
}

static const mm_backend_table cpu_table = {
    .name = "cpu",
    .alignment = 64,
    .host_memory = true,
    .free = backend_free,
    .allocate = allocate,
    .release = release,
    .upload = copy,
    .download = copy,
    .computes = computes,
    .supports = supports,
    .prepare = prepare,
    .discard = discard,
    .run = run,
    .synchronize = synchronize,
    .weight_bytes = weight_bytes,
    .weight_release = weight_release,
};

static bool has_level(mm_isa isa)
{
    __builtin_cpu_init();
    switch (isa) {
    case MM_ISA_SSE4:
        return __builtin_cpu_supports("sse4.1");
    case MM_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case MM_ISA_AVX512_BF16:
        return has_level(MM_ISA_AVX512) && __builtin_cpu_supports("avx512bf16");
    default:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
}

static mm_status choose_isa(const char *mask, mm_isa *out, mm_error *error)
{
    int limit = 0;
    while (mask && limit < MM_ISA_COUNT && strcmp(mask, isa_names[limit]) != 0)
        limit++;
    if (limit == MM_ISA_COUNT)
        return mm_fail(error, MM_ERR_USAGE,
                       "instruction set '%s': must be sse4, avx2, avx512 or avx512_bf16", mask);
    if (!mask)
        limit = MM_ISA_COUNT - 1;
    if (!has_level(MM_ISA_SSE4))
        return mm_fail(error, MM_ERR_DEVICE,
                       "this processor has no SSE4.1, which the CPU backend "
                       "needs");
    *out = MM_ISA_SSE4;
    while ((int)*out < limit && has_level(*out + 1))
        ++*out;
    return MM_OK;
}

const char *mm_cpu_backend_isa(const mm_backend *backend)
{
    return isa_names[context_of(backend)->isa];
}

bool mm_cpu_backend_prefers_bf16(const mm_backend *backend)
{
    return context_of(backend)->isa >= MM_ISA_AVX512_BF16;
}

static mm_status choose_threads(int threads, int *out, mm_error *error)
{
    if (threads < 0)
        return mm_fail(error, MM_ERR_USAGE, "%d threads: must be 0 (one per processor) or more",
                       threads);
#ifdef _OPENMP
    *out = threads ? threads : omp_get_num_procs();
#else
    *out = 1;
#endif
    return MM_OK;
}

mm_status mm_cpu_backend_create(mm_backend **out, int threads, const char *isa_mask,
                                mm_error *error)
{
    *out = NULL;
    mm_cpu_context context = {0};
    MM_TRY(choose_threads(threads, &context.threads, error));
    MM_TRY(choose_isa(isa_mask, &context.isa, error));
    if (isa_mask)
        mm_onednn_limit_isa(context.isa);
    cpu_backend *backend = mm_calloc(1, sizeof(*backend));
    if (!backend)
        return mm_fail_memory(error, "the CPU backend", sizeof(*backend));
    backend->base.table = &cpu_table;
    backend->base.threads = context.threads;
    backend->context = context;
    mm_status status = mm_onednn_open(&backend->context, error);
    if (status != MM_OK) {
        backend_free(&backend->base);
        return status;
    }
    *out = &backend->base;
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "base/memory.h"
#include "reference.h"

typedef struct plain_backend {
    mm_backend base;
    size_t spoil;
} plain_backend;

static void plain_free(mm_backend *backend)
{
    mm_free(backend);
}

static mm_status plain_allocate(mm_backend *backend, size_t bytes, void **out, mm_error *error)
{
    (void)backend;
    *out = mm_calloc(1, bytes);
    return *out ? MM_OK : mm_fail_memory(error, "an arena", bytes);
}

static void plain_release(mm_backend *backend, void *block, size_t bytes)
{
    (void)backend;
    (void)bytes;
    mm_free(block);
}

static mm_status plain_copy(mm_backend *backend, void *to, const void *from, size_t bytes,
                            mm_error *error)
{
    (void)backend;
    (void)error;
    memcpy(to, from, bytes);
    return MM_OK;
}

static bool plain_supports(const mm_backend *backend, const mm_node *node)
{
    (void)backend;
    return mm_reference_of(node->op) != NULL;
}

static mm_status plain_prepare(mm_backend *backend, const mm_node *node, mm_kernel *out,
                               mm_error *error)
{
    (void)node;
    out->workspace_bytes = ((plain_backend *)backend)->spoil;
    out->state = mm_malloc(1);
    return out->state ? MM_OK : mm_fail_memory(error, "a kernel", 1);
}

static void plain_discard(mm_backend *backend, mm_kernel *kernel)
{
    (void)backend;
    mm_free(kernel->state);
}

static double element(mm_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case MM_I32:
        return (double)((const int32_t *)data)[i];
    case MM_I64:
        return (double)((const int64_t *)data)[i];
    default:
        return (double)((const float *)data)[i];
    }
}

static double *widen(const mm_node *node, const void *data)
{
    double *out = node ? mm_malloc((size_t)mm_node_elements(node) * sizeof(double)) : NULL;
    for (int64_t i = 0; out && i < mm_node_elements(node); i++)
        out[i] = element(node->dtype, data, i);
    return out;
}

static mm_status plain_run(mm_backend *backend, const mm_kernel *kernel, const mm_kernel_call *call,
                           mm_error *error)
{
    const mm_node *node = call->node;
    (void)kernel;
    double *x[MM_MAX_SOURCES] = {NULL};
    double *y = mm_malloc((size_t)mm_node_elements(node) * sizeof(double));
    bool good = y != NULL;
    for (int32_t i = 0; i < node->source_count; i++) {
        x[i] = widen(node->source[i], call->source[i]);
        good = good && (x[i] || !node->source[i]);
    }
    memset(call->workspace, 0xff, ((plain_backend *)backend)->spoil);
    if (good)
        mm_reference_of(node->op)(node, y, (const double *const *)x);
    for (int64_t i = 0; good && i < mm_node_elements(node); i++)
        ((float *)call->destination)[i] = (float)y[i];
    for (int32_t i = 0; i < node->source_count; i++)
        mm_free(x[i]);
    mm_free(y);
    return good ? MM_OK : mm_fail_memory(error, "a reference", 1);
}

static mm_status plain_synchronize(mm_backend *backend, mm_error *error)
{
    (void)backend;
    (void)error;
    return MM_OK;
}

static const mm_backend_table plain_table = {
    .name = "plain",
    .alignment = 64,
    .free = plain_free,
    .allocate = plain_allocate,
    .release = plain_release,
    .upload = plain_copy,
    .download = plain_copy,
    .supports = plain_supports,
    .prepare = plain_prepare,
    .discard = plain_discard,
    .run = plain_run,
    .synchronize = plain_synchronize,
};

mm_status mm_plain_backend_create(mm_backend **out, size_t spoil_workspace, mm_error *error)
{
    plain_backend *backend = mm_calloc(1, sizeof(*backend));
    *out = NULL;
    if (!backend)
        return mm_fail_memory(error, "a backend", sizeof(*backend));
    backend->base.table = &plain_table;
    backend->base.threads = 1;
    backend->spoil = spoil_workspace;
    *out = &backend->base;
    return MM_OK;
}

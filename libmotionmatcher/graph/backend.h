/* SPDX-License-Identifier: BSD-2-Clause */
/* What the executor asks of a backend. One const table of functions per backend. */
#ifndef MM_GRAPH_BACKEND_H
#define MM_GRAPH_BACKEND_H

#include <stdatomic.h>

#include "graph/graph.h"

/* Whatever a backend prepares for one node: a compiled primitive, its workspace's size. */
typedef struct mm_kernel {
    const mm_node *node;
    size_t workspace_bytes; /* scratch memory during the run, given by the executor */
    void *state;            /* the backend's own */
} mm_kernel;

typedef struct mm_kernel_call {
    const mm_node *node;
    void *destination;
    const void *source[MM_MAX_SOURCES]; /* NULL where the node has none */
    void *workspace;                    /* 64-byte aligned */
    const atomic_int *cancel;           /* may be NULL; long kernels may look at it */
} mm_kernel_call;

typedef struct mm_backend mm_backend;

typedef struct mm_backend_table {
    const char *name;
    size_t alignment; /* of buffers and of offsets in the arena */
    bool host_memory; /* buffers may be read and written as any other memory */
    void (*free)(mm_backend *backend);
    /* Device memory; zeroed. */
    mm_status (*allocate)(mm_backend *backend, size_t bytes, void **out, mm_error *error);
    void (*release)(mm_backend *backend, void *block, size_t bytes);
    mm_status (*upload)(mm_backend *backend, void *to, const void *from, size_t bytes,
                        mm_error *error);
    mm_status (*download)(mm_backend *backend, void *to, const void *from, size_t bytes,
                          mm_error *error);
    /* Whether networks can run with weights and activations of this type. */
    bool (*computes)(const mm_backend *backend, mm_dtype dtype);
    bool (*supports)(const mm_backend *backend, const mm_node *node);
    /* Needs shapes alone: weights may not be loaded yet. */
    mm_status (*prepare)(mm_backend *backend, const mm_node *node, mm_kernel *out, mm_error *error);
    void (*discard)(mm_backend *backend, mm_kernel *kernel);
    /* Asynchronous on devices; reads and `synchronize` wait. */
    mm_status (*run)(mm_backend *backend, const mm_kernel *kernel, const mm_kernel_call *call,
                     mm_error *error);
    mm_status (*synchronize)(mm_backend *backend, mm_error *error);
    /* Bytes that the weight will occupy once this backend has packed it. */
    size_t (*weight_bytes)(const mm_backend *backend, const mm_weight *weight);
    /* Frees a weight's data in whatever layout. */
    void (*weight_release)(mm_backend *backend, mm_weight *weight);
} mm_backend_table;

struct mm_backend {
    const mm_backend_table *table;
    int32_t threads; /* of this machine's processors, for work outside kernels; at least 1 */
};

#endif

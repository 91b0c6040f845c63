/* SPDX-License-Identifier: BSD-2-Clause */
/* What handles made from a context use of it. */
#ifndef MM_API_CONTEXT_INTERNAL_H
#define MM_API_CONTEXT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/log.h"
#include "graph/backend.h"
#include "motionmatcher/context.h"

struct mm_context {
    atomic_int references;
    mm_backend *backend;
    mm_logger logger; /* the caller's callback; pass &context->logger to mm_log() */
    mm_event_callback on_event;
    void *on_event_user;
    uint64_t memory_budget; /* bytes, resolved */
    int32_t threads;        /* resolved, at least 1 */
    int32_t process;        /* in which it was made */
    const char *device, *precision;
    mm_dtype network_type; /* precision's: of the diffusion network's weights and activations */
    atomic_int cancel;     /* end within one node: pass &context->cancel to executables */
    atomic_int stop;       /* end after the step at hand; set by a cancel too */
};

/* Adds a reference for a child handle, which drops it with mm_context_free(). Returns context. */
mm_context *mm_context_retain(mm_context *context);

/* MM_ERR_USAGE in a process that was forked off the one which made the context, when that has more
   than one thread: what computes or makes handles asks first. */
mm_status mm_context_check_process(const mm_context *context, mm_error *error);

/* True after mm_context_stop() or mm_context_cancel(). */
bool mm_context_stopping(const mm_context *context);
/* MM_ERR_CANCELLED after mm_context_cancel(), else MM_OK: for loops outside executables. */
mm_status mm_context_check_cancel(const mm_context *context, mm_error *error);

/* Hands an event to the caller's callback; struct_size, and peak_bytes where it is 0, are filled in
   here. A callback that returns non-zero stops the context. */
void mm_context_emit(mm_context *context, const mm_event *event);
void mm_context_emit_loaded(mm_context *context, double seconds);
void mm_context_emit_plan(mm_context *context, uint64_t planned_peak_bytes);
/* A step of sampling. */
void mm_context_emit_step(mm_context *context, int64_t step, int64_t of, double seconds);
/* A step of an inversion or of a validation sample. */
void mm_context_emit_substep(mm_context *context, int64_t step, int64_t of, double seconds);
void mm_context_emit_output(mm_context *context, const char *path);
void mm_context_emit_stage(mm_context *context, const char *text);

#endif

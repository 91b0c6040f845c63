/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file context.h
 * A device with its settings, and the callbacks that everything made from it reports through.
 *
 * Thread-safety: handles made from one context must not be used by two threads at a time, nor by a
 * callback while one of them works, except mm_context_cancel() and mm_context_stop(). Different
 * contexts are independent.
 *
 * Forking: a context of several threads is of no use in a forked child: what computes there, and
 * creating another one of several threads, is MM_ERR_USAGE. Freeing works, and so does a context
 * with option threads 1. A child forked before the first context is made is like any process.
 *
 * Callbacks: both are called only while a function is at work on the context or on a handle made
 * from it, on the thread that called this function, and never two at a time. They have to return;
 * an exception or a longjmp out of them loses what the function holds. A function does nothing
 * meanwhile, so what takes long belongs on another thread. Pointers that they receive are valid
 * during the call: copy what is needed later. The user pointer is passed on as it is, never read
 * and never freed; it has to be good until the callback is replaced or the last handle made from
 * the context is gone.
 */
#ifndef MOTIONMATCHER_CONTEXT_H
#define MOTIONMATCHER_CONTEXT_H

#include "motionmatcher/options.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A device with its settings and callbacks. */
typedef struct mm_context mm_context;

#define MM_LEVEL_WARNING 1 /**< the result may not be what is expected */
#define MM_LEVEL_NOTICE 2  /**< something was ignored, chosen or clamped */
#define MM_LEVEL_INFO 3    /**< what is being done */
#define MM_LEVEL_DEBUG 4   /**< details for who looks for a fault */

/**
 * Receives what the library has to say to people; texts may change between releases.
 * @param user    as given to mm_context_set_log().
 * @param level   MM_LEVEL_...; take one that is not known for MM_LEVEL_DEBUG.
 * @param message one line of UTF-8 without newline, never NULL.
 */
typedef void (*mm_log_callback)(void *user, int32_t level, const char *message);

#define MM_EVENT_LOADED 1  /**< weights are in memory: seconds */
#define MM_EVENT_PLAN 2    /**< a plan stands: planned_peak_bytes */
#define MM_EVENT_STEP 3    /**< a step: step, of, seconds, peak_bytes; in training the losses */
#define MM_EVENT_OUTPUT 4  /**< a file was written: path */
#define MM_EVENT_STAGE 5   /**< a part of the work begins: text names it */
#define MM_EVENT_SUBSTEP 6 /**< the same for an inversion or a validation sample, without loss */

/**
 * What happens, for programs. Numbers that a kind does not name hold nothing of use; ignore kinds
 * that are not known.
 *
 * A step is an optimizer step of a trainer, a sampling step of a sampler, and a video of an
 * evaluator or a retriever (of a retriever that tracks points, twice a video). A substep is also an
 * iteration of the tracker. Trainer and retriever report their plan before any of them, the others
 * where their function for the plan is called. A stage comes before its steps, a network's weights
 * before the first step that needs them (not again while they stay in memory), and an output when
 * what path names, a file or a checkpoint's directory, is whole. A run reports videos, checkpoints
 * and the files that its options name.
 */
typedef struct mm_event {
    uint32_t struct_size;        /**< set by the library; fields beyond it are not there */
    int32_t kind;                /**< MM_EVENT_... */
    int64_t step;                /**< counts from 1 */
    int64_t of;                  /**< steps in all */
    double seconds;              /**< that it took */
    double loss;                 /**< training only, else NaN */
    uint64_t peak_bytes;         /**< resident high-water mark of the process */
    uint64_t planned_peak_bytes; /**< of all plans, with what was held before them */
    const char *path;            /**< valid during the call; NULL unless something was written */
    const char *text;            /**< valid during the call; may be NULL */
    int64_t timestep;            /**< of a training step; else -1 */
    double loss_spatial;         /**< the cross-attention loss, weighted; NaN as loss is */
    double loss_temporal;        /**< the temporal loss, weighted; NaN as loss is */
} mm_event;

/**
 * Receives events.
 * @param user  as given to mm_context_set_events().
 * @param event owned by the library.
 * @return 0 to go on; anything else stops as mm_context_stop() does.
 */
typedef int32_t (*mm_event_callback)(void *user, const mm_event *event);

/**
 * Picks a device, and kernels for the processor. Reads no file.
 *
 * The environment variable MM_CPU_MASK limits the CPU's instructions to sse4, avx2, avx512 or
 * avx512_bf16, so that a faster processor computes as a slower one would. It is read here; oneDNN's
 * part of it holds from the process's first context on. Ignored in set-user-ID programs.
 *
 * Option precision is about the diffusion network's weights and activations; text encoder, VAE,
 * LoRA, losses and optimizer are f32 always, and products accumulate in f32. "bf16" needs a
 * processor that multiplies it (AVX512-BF16, with or without AMX) and is MM_ERR_DEVICE on any
 * other, one with AVX2 alone for instance, and under a mask below avx512_bf16; "auto" takes bf16
 * where that works and f32 where not. "f16" is not there on the CPU. A run goes on in the precision
 * it was begun in.
 *
 * @param out     receives the handle; NULL on failure.
 * @param options of table "context", copied; NULL for defaults.
 * @return MM_OK; MM_ERR_USAGE: options of another table, an unknown device or MM_CPU_MASK;
 * MM_ERR_DEVICE: the device is not available, or has no bf16; MM_ERR_UNSUPPORTED: precision f16;
 * MM_ERR_MEMORY.
 */
MM_API mm_status mm_context_create(mm_context **out, const mm_options *options);
/**
 * Drops the caller's reference and sets *context to NULL. Handles made from it keep it alive, and
 * its callbacks with it.
 * @param context may be NULL, or point to NULL.
 */
MM_API void mm_context_free(mm_context **context);
/**
 * Who receives messages from now on, in place of an earlier callback.
 * @param callback NULL for none, which is also the state after creation: nothing is printed then.
 * @param user     handed to the callback; may be NULL.
 */
MM_API void mm_context_set_log(mm_context *context, mm_log_callback callback, void *user);
/**
 * Who receives events from now on, in place of an earlier callback.
 * @param callback NULL for none, as after creation.
 * @param user     handed to the callback; may be NULL.
 */
MM_API void mm_context_set_events(mm_context *context, mm_event_callback callback, void *user);

/**
 * Asks for an end after the step at hand, with its checkpoint. The run that is going on returns
 * MM_ERR_CANCELLED if there was more to do; so does every later run, of a trainer, a sampler, an
 * extractor, an evaluator or a retriever, until mm_context_resume(). What takes no steps, such as
 * making handles, encoding a clip and writing a file, works on. Any thread, signal handlers and
 * callbacks too.
 */
MM_API void mm_context_stop(mm_context *context);
/**
 * Asks for an end within one node: one operation of a network, such as a product or a convolution.
 * The call that is running returns MM_ERR_CANCELLED and writes no checkpoint any more; files that
 * are there stay whole. Until mm_context_resume() every call that computes with a network does so.
 * Any thread, signal handlers and callbacks too.
 */
MM_API void mm_context_cancel(mm_context *context);
/** Forgets mm_context_stop() and mm_context_cancel(), so that the context can be used again. */
MM_API void mm_context_resume(mm_context *context);

/** @return "cpu", the device in use, also where the option says auto; static, "" for NULL. */
MM_API const char *mm_context_device(const mm_context *context);
/** @return the precision in use, "f32" or "bf16", also where the option says auto; static, ""
 * for NULL. */
MM_API const char *mm_context_precision(const mm_context *context);
/**
 * @return bytes that the process may take while handles of this context work, what it held before
 * they were made included; never 0, also where the option is 0. 0 for NULL.
 */
MM_API uint64_t mm_context_memory_budget(const mm_context *context);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/context_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/options_internal.h"
#include "api/processors.h"
#include "api/status_internal.h"
#include "backends/cpu/cpu.h"
#include "base/memory.h"

#define CPU_MASK_VARIABLE "MM_CPU_MASK"

static bool names_cuda(const char *device)
{
    static const char cuda[] = "cuda";
    if (strncmp(device, cuda, strlen(cuda)) != 0)
        return false;
    const char *rest = device + strlen(cuda);
    if (*rest == '\0')
        return true;
    return *rest == ':' && rest[1] && strspn(rest + 1, "0123456789") == strlen(rest + 1);
}

static mm_status choose_device(mm_context *context, const char *device, mm_error *error)
{
    context->device = "cpu";
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0)
        return MM_OK;
    if (names_cuda(device))
        return mm_fail(error, MM_ERR_DEVICE,
                       "device '%s' is not available: this build has no CUDA module; use "
                       "cpu or auto",
                       device);
    return mm_fail(error, MM_ERR_USAGE, "option device: '%s' is none of auto|cpu|cuda|cuda:N",
                   device);
}

/* Needs the backend. */
static mm_status choose_precision(mm_context *context, int32_t precision, mm_error *error)
{
    bool has_bf16 = context->backend->table->computes(context->backend, MM_BF16);
    if (precision == MM_PRECISION_F16)
        return mm_fail(error, MM_ERR_UNSUPPORTED,
                       "precision f16 is not supported on the CPU; use auto, f32 or bf16");
    if (precision == MM_PRECISION_BF16 && !has_bf16)
        return mm_fail(error, MM_ERR_DEVICE,
                       "precision bf16: this processor, or what %s leaves of it, has no "
                       "instructions for bf16 (AVX512-BF16); use auto or f32",
                       CPU_MASK_VARIABLE);
    bool narrow = precision == MM_PRECISION_BF16 || (precision == MM_PRECISION_AUTO && has_bf16);
    context->network_type = narrow ? MM_BF16 : MM_F32;
    context->precision = mm_dtype_name(context->network_type);
    return MM_OK;
}

static void choose_limits(mm_context *context, const mm_context_config *config)
{
    context->threads = config->threads > 0 ? (int32_t)config->threads : mm_usable_processors();
    context->memory_budget =
        config->memory_budget > 0 ? config->memory_budget : (uint64_t)mm_available_bytes() / 5 * 4;
}

/* Empty counts as unset, as it does for most programs. */
static const char *cpu_mask(void)
{
    const char *mask = secure_getenv(CPU_MASK_VARIABLE);
    return mask && *mask ? mask : NULL;
}

/* The first process that made a context of several threads; 0 before. The threads do not live on in
   a forked child, and OpenMP would wait for them for ever. */
static atomic_int threaded_process;

static bool is_forked(int32_t process)
{
    return process != 0 && process != (int32_t)getpid();
}

static mm_status fail_forked(mm_error *error)
{
    return mm_fail(error, MM_ERR_USAGE,
                   "this process was forked off one that had made a context of several threads, "
                   "which do not live on here: fork before the first context, or take one with "
                   "option threads 1");
}

mm_status mm_context_check_process(const mm_context *context, mm_error *error)
{
    return context->threads > 1 && is_forked(context->process) ? fail_forked(error) : MM_OK;
}

static mm_status claim_process(mm_context *context, mm_error *error)
{
    int none = 0;
    context->process = (int32_t)getpid();
    if (context->threads == 1)
        return MM_OK;
    if (is_forked(atomic_load(&threaded_process)))
        return fail_forked(error);
    atomic_compare_exchange_strong(&threaded_process, &none, context->process);
    return MM_OK;
}

static mm_status create_backend(mm_context *context, mm_error *error)
{
    const char *mask = cpu_mask();
    mm_status status = mm_cpu_backend_create(&context->backend, context->threads, mask, error);
    if (status == MM_ERR_USAGE && mask)
        return mm_error_prefix(error, CPU_MASK_VARIABLE);
    return status;
}

static mm_status open_context(mm_context *context, const mm_context_config *config, mm_error *error)
{
    MM_TRY(choose_device(context, config->device, error));
    choose_limits(context, config);
    MM_TRY(claim_process(context, error));
    MM_TRY(create_backend(context, error));
    return choose_precision(context, config->precision, error);
}

static mm_status create(mm_context **out, const mm_options *options, mm_error *error)
{
    mm_options *defaults = NULL;
    if (!options)
        MM_TRY(mm_options_make(&defaults, "context", error));
    const mm_context_config *config = mm_options_context(options ? options : defaults);
    mm_context *context = config ? mm_calloc(1, sizeof(*context)) : NULL;
    mm_status status;
    if (!config) {
        status = mm_fail(error, MM_ERR_USAGE, "a context takes options of the table 'context'");
    } else if (!context) {
        status = mm_fail_memory(error, "a context", sizeof(*context));
    } else {
        atomic_init(&context->references, 1);
        status = open_context(context, config, error);
    }
    mm_options_free(&defaults);
    if (status != MM_OK)
        mm_context_free(&context);
    *out = context;
    return status;
}

mm_status mm_context_create(mm_context **out, const mm_options *options)
{
    if (out)
        *out = NULL;
    mm_error error = {0};
    if (!out)
        return mm_api_misuse("mm_context_create", "out must not be NULL");
    return mm_api_return(create(out, options, &error), &error);
}

mm_context *mm_context_retain(mm_context *context)
{
    atomic_fetch_add(&context->references, 1);
    return context;
}

void mm_context_free(mm_context **pointer)
{
    mm_context *context = pointer ? *pointer : NULL;
    if (!context)
        return;
    *pointer = NULL;
    if (atomic_fetch_sub(&context->references, 1) > 1)
        return;
    if (context->backend)
        context->backend->table->free(context->backend);
    mm_free(context);
}

void mm_context_set_log(mm_context *context, mm_log_callback callback, void *user)
{
    if (context)
        context->logger = (mm_logger){.sink = callback, .user = user};
}

void mm_context_set_events(mm_context *context, mm_event_callback callback, void *user)
{
    if (!context)
        return;
    context->on_event = callback;
    context->on_event_user = user;
}

void mm_context_stop(mm_context *context)
{
    if (context)
        atomic_store(&context->stop, 1);
}

void mm_context_cancel(mm_context *context)
{
    if (!context)
        return;
    atomic_store(&context->cancel, 1);
    atomic_store(&context->stop, 1);
}

void mm_context_resume(mm_context *context)
{
    if (!context)
        return;
    atomic_store(&context->cancel, 0);
    atomic_store(&context->stop, 0);
}

bool mm_context_stopping(const mm_context *context)
{
    return atomic_load(&context->stop) != 0;
}

mm_status mm_context_check_cancel(const mm_context *context, mm_error *error)
{
    return atomic_load(&context->cancel) ? mm_fail(error, MM_ERR_CANCELLED, "cancelled") : MM_OK;
}

const char *mm_context_device(const mm_context *context)
{
    return context ? context->device : "";
}

const char *mm_context_precision(const mm_context *context)
{
    return context ? context->precision : "";
}

uint64_t mm_context_memory_budget(const mm_context *context)
{
    return context ? context->memory_budget : 0;
}

void mm_context_emit(mm_context *context, const mm_event *event)
{
    mm_event full = *event;
    if (!context->on_event)
        return;
    full.struct_size = sizeof(full);
    if (isnan(full.loss)) {
        full.loss_spatial = full.loss_temporal = NAN;
        full.timestep = -1;
    }
    if (full.peak_bytes == 0)
        full.peak_bytes = mm_resident_peak_bytes();
    if (context->on_event(context->on_event_user, &full) != 0)
        mm_context_stop(context);
}

void mm_context_emit_loaded(mm_context *context, double seconds)
{
    mm_context_emit(context, &(mm_event){.kind = MM_EVENT_LOADED, .seconds = seconds, .loss = NAN});
}

void mm_context_emit_plan(mm_context *context, uint64_t planned_peak_bytes)
{
    mm_context_emit(
        context,
        &(mm_event){.kind = MM_EVENT_PLAN, .planned_peak_bytes = planned_peak_bytes, .loss = NAN});
}

void mm_context_emit_step(mm_context *context, int64_t step, int64_t of, double seconds)
{
    mm_context_emit(
        context,
        &(mm_event){
            .kind = MM_EVENT_STEP, .step = step, .of = of, .seconds = seconds, .loss = NAN});
}

void mm_context_emit_substep(mm_context *context, int64_t step, int64_t of, double seconds)
{
    mm_context_emit(
        context,
        &(mm_event){
            .kind = MM_EVENT_SUBSTEP, .step = step, .of = of, .seconds = seconds, .loss = NAN});
}

void mm_context_emit_output(mm_context *context, const char *path)
{
    mm_context_emit(context, &(mm_event){.kind = MM_EVENT_OUTPUT, .path = path, .loss = NAN});
}

void mm_context_emit_stage(mm_context *context, const char *text)
{
    mm_context_emit(context, &(mm_event){.kind = MM_EVENT_STAGE, .text = text, .loss = NAN});
}

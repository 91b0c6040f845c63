/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/tracking.h"

#include "api/context_internal.h"

int32_t mm_tracking_report(void *user, const mm_tracker_step *step)
{
    mm_context_emit_substep(user, step->iteration, MM_TRACKER_ITERATIONS, step->seconds);
    return 0;
}

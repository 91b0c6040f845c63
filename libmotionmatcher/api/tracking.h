/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports of a tracker at work. */
#ifndef MM_API_TRACKING_H
#define MM_API_TRACKING_H

#include "metrics/tracker/tracker.h"

/* An mm_tracker_progress for which `user` is the context. */
int32_t mm_tracking_report(void *user, const mm_tracker_step *step);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_API_PROCESSORS_H
#define MM_API_PROCESSORS_H

#include <stdint.h>

/* How many processors this process may keep busy: its affinity, or what its control group's quota
   pays for when that is less. At least 1. */
int32_t mm_usable_processors(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything a sampling call is told: one field for each row of options.def. */
#ifndef MM_SAMPLING_CONFIG_H
#define MM_SAMPLING_CONFIG_H

#include "base/option_row.h"

typedef struct mm_sample_config {
#define MM_OPTION(type, name, fallback, low, high, unit, help) MM_OPTION_TYPE_##type name;
#include "sampling/options.def"
#undef MM_OPTION
} mm_sample_config;

#endif

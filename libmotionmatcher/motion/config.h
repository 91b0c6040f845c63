/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything a look at motion features is told: one field for each row of options.def. */
#ifndef MM_MOTION_CONFIG_H
#define MM_MOTION_CONFIG_H

#include "base/option_row.h"

typedef struct mm_feature_config {
#define MM_OPTION(type, name, fallback, low, high, unit, help) MM_OPTION_TYPE_##type name;
#include "motion/options.def"
#undef MM_OPTION
} mm_feature_config;

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything an evaluation is told: one field for each row of options.def. */
#ifndef MM_METRICS_CONFIG_H
#define MM_METRICS_CONFIG_H

#include "base/option_row.h"

typedef struct mm_evaluate_config {
#define MM_OPTION(type, name, fallback, low, high, unit, help) MM_OPTION_TYPE_##type name;
#include "metrics/options.def"
#undef MM_OPTION
} mm_evaluate_config;

#endif

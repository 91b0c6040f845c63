/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything a retrieval is told: one field for each row of retrieve_options.def. */
#ifndef MM_METRICS_RETRIEVE_CONFIG_H
#define MM_METRICS_RETRIEVE_CONFIG_H

#include "base/option_row.h"

typedef struct mm_retrieve_config {
#define MM_OPTION(type, name, fallback, low, high, unit, help) MM_OPTION_TYPE_##type name;
#include "metrics/retrieve_options.def"
#undef MM_OPTION
} mm_retrieve_config;

#endif

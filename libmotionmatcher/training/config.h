/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything a training run is told: one field for each row of options.def. */
#ifndef MM_TRAINING_CONFIG_H
#define MM_TRAINING_CONFIG_H

#include "base/option_row.h"

typedef struct mm_train_config {
#define MM_OPTION(type, name, fallback, low, high, unit, help) MM_OPTION_TYPE_##type name;
#include "training/options.def"
#undef MM_OPTION
} mm_train_config;

#endif

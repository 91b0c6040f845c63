/* SPDX-License-Identifier: BSD-2-Clause */
/* What making a set and reading one share. */
#ifndef MM_TRAINING_LORA_INTERNAL_H
#define MM_TRAINING_LORA_INTERNAL_H

#include "training/lora.h"

/* One module for each site, none adapted yet. */
mm_status mm_lora_set_begin(mm_lora_set *set, const mm_site_list *sites, mm_error *error);
/* Zeroed matrices of that rank. */
mm_status mm_lora_module_allocate(mm_lora_module *module, int64_t rank, mm_error *error);

#endif

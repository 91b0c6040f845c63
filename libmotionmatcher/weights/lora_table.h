/* SPDX-License-Identifier: BSD-2-Clause */
/* Which layers a LoRA file adapts and where their matrices lie in it, whatever names it uses; the
   numbers themselves are not read. */
#ifndef MM_WEIGHTS_LORA_TABLE_H
#define MM_WEIGHTS_LORA_TABLE_H

#include "base/log.h"
#include "weights/lora_name.h"
#include "weights/tensor_file.h"

/* One layer: W + alpha / rank * up * down. */
typedef struct mm_lora_entry {
    const char *path;     /* of the module, or its number in a list without names */
    size_t down, up;      /* tensors [rank, in...] and [out, rank, 1...] of the file */
    int64_t alpha_tensor; /* -1: none */
    int64_t rank, in, out;
    double alpha;
} mm_lora_entry;

typedef struct mm_lora_table {
    mm_arena arena;
    mm_lora_entry *entry; /* sorted by path */
    size_t count;
    mm_lora_naming naming;
    bool unnamed; /* a list, read without the order of a model */
} mm_lora_table;

/* The modules of a model in the order of the released code's list: those of spatial transformers
   first. */
typedef struct mm_lora_order {
    const char **path; /* free with mm_free */
    size_t count, spatial;
} mm_lora_order;

/* `order` gives names to a list; NULL: its layers are numbered. MM_ERR_INPUT: half a layer, a layer
   twice, matrices that do not fit each other, a rank outside 1..min(in, out), no matrix of a LoRA
   at all, a list of another length than the model's; MM_ERR_UNSUPPORTED: DoRA, LoHa and others. */
mm_status mm_lora_table_read(mm_lora_table *out, const mm_tensor_file *file,
                             const mm_lora_order *order, mm_error *error);
void mm_lora_table_free(mm_lora_table *table);
/* NULL when the file does not adapt this module. */
const mm_lora_entry *mm_lora_table_find(const mm_lora_table *table, const char *path);
/* Tensors of the file that belong to the entry. */
size_t mm_lora_entry_tensors(const mm_lora_entry *entry);
/* Logs "N of M tensors applied", as a warning where N is less. MM_ERR_INPUT: none did. */
mm_status mm_lora_report_applied(const char *path, size_t applied, size_t of,
                                 const mm_logger *logger, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A LoRA set: for each adapted linear layer y = W x + scale * dropout(up(down(x))), rank clamped to
 * the layer's sides, no alpha / rank factor. Layers that share their input (q, k, v) lie stacked,
 * so that they share one product: down [count * rank, in], up [count, out, rank].
 */
#ifndef MM_TRAINING_LORA_H
#define MM_TRAINING_LORA_H

#include "base/log.h"
#include "models/builder.h"
#include "weights/lora_layers.h"

typedef struct mm_lora_module {
    const mm_lora_site *site; /* owned by the model */
    int64_t rank;             /* 0: this set does not adapt the site */
    mm_weight down, up;       /* f32; data in host memory */
} mm_lora_module;

typedef struct mm_lora_set {
    int32_t count; /* one module for each site of the model, in the sites' order */
    mm_lora_module *module;
    mm_arena arena; /* names and metadata */
    mm_metadata_entry *metadata;
    size_t metadata_count;
    int64_t rank; /* the largest */
} mm_lora_set;

/* down ~ N(0, 1 / rank^2) from the seed, up = 0; one notice where the rank is clamped. */
mm_status mm_lora_set_create(mm_lora_set *out, const mm_site_list *sites, int64_t rank,
                             uint64_t seed, const mm_logger *logger, mm_error *error);
void mm_lora_set_free(mm_lora_set *set);
/* The initial values again, in place. */
void mm_lora_set_reset(mm_lora_set *set, uint64_t seed);
/* The same modules and ranks, all zero: gradients and moments are sets too. */
mm_status mm_lora_set_create_like(mm_lora_set *out, const mm_lora_set *like, mm_error *error);
/* Bytes of all matrices. */
size_t mm_lora_set_bytes(const mm_lora_set *set);

/* Reads every layout that weights/lora_table.h knows. MM_ERR_INPUT: for another model, a rank of 0
   or above a layer's sides, a half without its other, nothing that applies. */
mm_status mm_lora_set_load(mm_lora_set *out, const mm_site_list *sites, const char *path,
                           const mm_logger *logger, mm_error *error);
/* Reads PEFT-named tensors with a prefix before "unet." (or none) from an open file into a set that
   exists and has the same ranks: every tensor must be there. */
mm_status mm_lora_set_read(mm_lora_set *set, const mm_tensor_file *file, const char *prefix,
                           mm_error *error);

/* One tensor of a LoRA as files name it. `values` has the shape's elements, contiguous. */
typedef struct mm_lora_tensor {
    const char *name; /* "unet.<path>.lora_A.weight" [rank, in] or ".lora_B.weight" [out, rank] */
    mm_shape shape;
    size_t offset;  /* elements into the module's buffer */
    int32_t module; /* index of the module */
    bool is_up;
} mm_lora_tensor;

/* All tensors (A and B of every target of every adapted module), modules in the sites' order. Names
   live in the set. Free the array with mm_free. */
mm_status mm_lora_set_tensors(mm_lora_set *set, mm_lora_tensor **out, size_t *count,
                              mm_error *error);
/* Values of such a tensor inside the set. */
float *mm_lora_tensor_values(const mm_lora_set *set, const mm_lora_tensor *tensor);

/* Replaces a metadata value. */
mm_status mm_lora_set_metadata(mm_lora_set *set, const char *key, const char *value,
                               mm_error *error);
const char *mm_lora_set_get_metadata(const mm_lora_set *set, const char *key);

/* The set as the layers of a file, with its metadata: copied, or in memory that stays the set's. */
mm_status mm_lora_set_layers(const mm_lora_set *set, bool copied, mm_lora_layers *out,
                             mm_error *error);
/* PEFT safetensors with the set's metadata and a LoraConfig in lora_adapter_metadata. */
mm_status mm_lora_set_save(mm_lora_set *set, const char *path, mm_error *error);

/* How a set enters a network: user data of mm_lora_adapt. Several are added up. */
typedef struct mm_lora_use {
    mm_lora_set *set;
    float scale;
    float dropout;  /* on the output of up; needs the builder's dropout_key */
    bool trainable; /* the nodes are parameters, not frozen weights */
} mm_lora_use;

typedef struct mm_lora_stack {
    mm_lora_use *use;
    int32_t count;
} mm_lora_stack;

/* An mm_adapter; `user` is an mm_lora_stack. */
mm_node *mm_lora_adapt(void *user, mm_builder *builder, const mm_lora_site *site, mm_node *x);

#endif

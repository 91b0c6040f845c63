/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A LoRA in memory as files hold it: layers by their module's path, matrices in the type in which
 * they were stored, and the metadata. What can be done with it without running a model.
 */
#ifndef MM_WEIGHTS_LORA_LAYERS_H
#define MM_WEIGHTS_LORA_LAYERS_H

#include <stdatomic.h>

#include "base/tensor.h"
#include "weights/lora_table.h"

/* W + alpha / rank * up * down. */
typedef struct mm_lora_layer {
    const char *path;
    int64_t rank, in, out;
    double alpha;
    mm_tensor *down, *up; /* packed f32, f16, bf16 or f64: [rank, in...] and [out, rank, 1...] */
} mm_lora_layer;

typedef struct mm_lora_layers {
    mm_arena arena;       /* paths and metadata */
    mm_lora_layer *layer; /* sorted by path */
    size_t count;
    mm_metadata_entry *metadata; /* sorted by key */
    size_t metadata_count;
    mm_lora_naming naming; /* of the file it comes from */
    bool unnamed;
    size_t tensors, used; /* of that file: all, and those of the layers */
} mm_lora_layers;

/* Tells whether a layer is wanted; a failure ends the reading. */
typedef struct mm_lora_filter {
    mm_status (*accept)(void *user, const mm_lora_entry *entry, bool *out, mm_error *error);
    void *user;
} mm_lora_filter;

/* Reads the layers that the filter wants (NULL: all), and all metadata. */
mm_status mm_lora_layers_read(mm_lora_layers *out, const mm_tensor_file *file,
                              const mm_lora_table *table, const mm_lora_filter *filter,
                              mm_error *error);
void mm_lora_layers_free(mm_lora_layers *layers);

const char *mm_lora_layers_metadata(const mm_lora_layers *layers, const char *key);
mm_status mm_lora_layers_set_metadata(mm_lora_layers *layers, const char *key, const char *value,
                                      mm_error *error);
void mm_lora_layers_drop_metadata(mm_lora_layers *layers, const char *key);

/* Puts a layer in its place; the matrices are kept alive, and packed where they are not.
   MM_ERR_USAGE: the path is there already, matrices that do not fit each other, no floating-point
   numbers, a rank outside 1..min(in, out), an alpha that is not finite. */
mm_status mm_lora_layers_add(mm_lora_layers *layers, const char *path, const mm_tensor *down,
                             const mm_tensor *up, double alpha, mm_error *error);
/* Frobenius norm of the change alpha / rank * up * down; negative without memory. */
double mm_lora_layer_norm(const mm_lora_layer *layer);

/* lora_edit.c. Multiplies every change, through the up matrices, which become f32. */
mm_status mm_lora_layers_scale(mm_lora_layers *layers, double factor, mm_error *error);
/* The exact sum of all changes, each with its weight: ranks are concatenated, and where that would
   pass min(in, out), the sum of the products itself is one matrix and the identity the other. Equal
   metadata is kept. MM_ERR_INPUT: layers of one path whose sides differ. */
mm_status mm_lora_layers_merge(mm_lora_layers *out, const mm_lora_layers *const *inputs,
                               const double *weights, size_t count, mm_error *error);

/* lora_writer.c. PEFT names with the metadata and a LoraConfig in lora_adapter_metadata. */
mm_status mm_lora_write_peft(const mm_lora_layers *layers, const char *path, mm_error *error);
mm_status mm_lora_write_kohya(const mm_lora_layers *layers, const char *path, mm_error *error);
/* The released code's list [up0, down0, ...] in f32, in the model's order. MM_ERR_UNSUPPORTED: a
   layer of the model is not adapted, or one that is not in the list is. */
mm_status mm_lora_write_list(const mm_lora_layers *layers, const mm_lora_order *order,
                             const char *path, mm_error *error);

/* lora_fuse.c. Writes all tensors of `model` as one safetensors file, each in its own type, with
   the changes added to "<path>.weight". MM_ERR_INPUT: a layer that does not fit;
   MM_ERR_NONFINITE; MM_ERR_CANCELLED once *stop is not 0. */
mm_status mm_lora_fuse_file(const mm_lora_layers *layers, const mm_tensor_file *model,
                            const char *path, int threads, const atomic_int *stop, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Fills declared weights from tensor files, schema first. */
#ifndef MM_MODELS_WEIGHT_LOADER_H
#define MM_MODELS_WEIGHT_LOADER_H

#include "base/log.h"
#include "graph/backend.h"
#include "weights/tensor_file.h"

/* Checks that the file holds every declared part with its shape and a floating-point type, before
   anything is allocated. Other spellings are found too: the VAE's old attention names (also stored
   as 1x1 convolutions), CLIP with or without "text_model.". Tensors nobody declared are skipped
   with one notice ("position_ids" and "logit_scale" silently). MM_ERR_INPUT names file and tensor.
 */
mm_status mm_weights_check(const mm_weight_set *weights, const mm_tensor_file *file,
                           const mm_logger *logger, mm_error *error);
/* Checks, then allocates through the backend and reads, converts and places every part in slices;
   never holds a second copy. Already filled weights are kept. */
mm_status mm_weights_load(mm_weight_set *weights, const mm_tensor_file *file, mm_backend *backend,
                          const mm_logger *logger, mm_error *error);
/* Releases the data of all weights. */
void mm_weights_release(mm_weight_set *weights, mm_backend *backend);

#endif

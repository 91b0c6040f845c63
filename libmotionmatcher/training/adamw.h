/* SPDX-License-Identifier: BSD-2-Clause */
/* AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", algorithm 2), in f32, as
   PyTorch computes it. */
#ifndef MM_TRAINING_ADAMW_H
#define MM_TRAINING_ADAMW_H

#include <stddef.h>
#include <stdint.h>

typedef struct mm_adamw {
    double learning_rate, beta1, beta2, epsilon, weight_decay;
    int64_t step; /* from 1 */
} mm_adamw;

/* One update of one parameter and its moments, in place. */
void mm_adamw_update(const mm_adamw *settings, float *parameter, const float *gradient,
                     float *first_moment, float *second_moment, size_t count);

#endif

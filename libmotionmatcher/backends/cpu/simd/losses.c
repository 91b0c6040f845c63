/* SPDX-License-Identifier: BSD-2-Clause */
#include "backends/cpu/simd/kernel.h"
#include "backends/cpu/simd/workspace.h"

static double squared_distance(const float *a, const float *b, int64_t count)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        double difference = (double)a[i] - (double)b[i];
        sum += difference * difference;
    }
    return sum;
}

/* Blocks of a fixed size are added in order: the result does not depend on the threads. */
MM_SIMD_KERNEL(mean_squared_error)
{
    int64_t count = mm_shape_elements(&call->node->source[0]->shape);
    int64_t blocks = mm_ceil_div(count, MM_LOSS_BLOCK);
    const float *a = call->source[0], *b = call->source[1];
    double *partial = call->workspace, sum = 0.0;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * MM_LOSS_BLOCK;
        partial[block] =
            squared_distance(a + first, b + first, mm_smaller(MM_LOSS_BLOCK, count - first));
    }
    for (int64_t block = 0; block < blocks; block++)
        sum += partial[block];
    *(float *)call->destination = (float)(sum / (double)count);
}

MM_SIMD_KERNEL(mean_squared_error_grad)
{
    int64_t count = mm_shape_elements(&call->node->shape);
    const float *a = call->source[0], *b = call->source[1], *dy = call->source[2];
    float factor = (float)(2.0 * (double)*dy / (double)count), *da = call->destination;
#pragma omp parallel for simd schedule(static) if (count > MM_LOSS_BLOCK)
    for (int64_t i = 0; i < count; i++)
        da[i] = factor * (a[i] - b[i]);
}

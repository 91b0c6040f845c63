/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/adamw.h"

#include <math.h>

void mm_adamw_update(const mm_adamw *settings, float *parameter, const float *gradient,
                     float *first_moment, float *second_moment, size_t count)
{
    double correction1 = 1.0 - pow(settings->beta1, (double)settings->step);
    double correction2 = 1.0 - pow(settings->beta2, (double)settings->step);
    float decay = (float)(1.0 - settings->learning_rate * settings->weight_decay);
    float beta2 = (float)settings->beta2;
    float fresh1 = (float)(1.0 - settings->beta1), fresh2 = (float)(1.0 - settings->beta2);
    float step_size = (float)(settings->learning_rate / correction1);
    float root2 = (float)sqrt(correction2), epsilon = (float)settings->epsilon;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i];
        float m = first_moment[i] + fresh1 * (g - first_moment[i]);
        float v = second_moment[i] * beta2 + fresh2 * g * g;
        first_moment[i] = m;
        second_moment[i] = v;
        parameter[i] = parameter[i] * decay - step_size * (m / (sqrtf(v) / root2 + epsilon));
    }
}

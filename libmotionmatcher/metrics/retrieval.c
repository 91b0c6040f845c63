/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/retrieval.h"

#include <math.h>

void mm_rank_by_distance(const double *distance, size_t count, size_t *order)
{
    for (size_t i = 0; i < count; i++) {
        size_t place = i;
        for (; place > 0 && distance[order[place - 1]] > distance[i]; place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
}

double mm_average_precision(const size_t *order, const bool *positive, size_t count)
{
    double sum = 0.0;
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (positive[order[i]])
            sum += (double)++found / (double)(i + 1);
    }
    return found ? sum / (double)found : NAN;
}

double mm_chance_precision(size_t positives, size_t count)
{
    double harmonic = 0.0, n = (double)count;
    for (size_t i = 1; i <= count; i++)
        harmonic += 1.0 / (double)i;
    if (positives == 0)
        return NAN;
    if (count == 1)
        return 1.0;
    return ((double)(positives - 1) / (n - 1.0) * (n - harmonic) + harmonic) / n;
}

double mm_mean_squared_distance(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        double apart = (double)a[i] - (double)b[i];
        sum += apart * apart;
    }
    return sum / (double)count;
}

double mm_residual_distance(const float *a, const float *b, size_t frames, size_t values)
{
    double sum = 0.0;
    for (size_t i = 0; i + values < frames * values; i++) {
        double apart =
            ((double)a[i + values] - (double)a[i]) - ((double)b[i + values] - (double)b[i]);
        sum += apart * apart;
    }
    return frames > 1 ? sum / (double)((frames - 1) * values) : 0.0;
}

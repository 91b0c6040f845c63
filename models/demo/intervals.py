# SPDX-License-Identifier: BSD-2-Clause
"""95 % confidence intervals."""
import math

import numpy as np

RESAMPLINGS = 10_000


def wilson(hits, count):
    """Of a share of independent trials (Wilson's score interval)."""
    if count == 0:
        return 0.0, 1.0
    z = 1.959964
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def resamplings(count):
    """Indices of bootstrap samples, the same ones on every call: [RESAMPLINGS, count]."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLINGS, count))


def bootstrap(statistic, *columns):
    """Percentile interval of a statistic of columns of values, one value a cluster: clusters are
    drawn with replacement, the same ones from every column. `statistic` takes arrays
    [..., clusters]."""
    columns = [np.asarray(column, float) for column in columns]
    drawn = resamplings(columns[0].size)
    values = statistic(*(column[drawn] for column in columns))
    low, high = np.percentile(values[np.isfinite(values)], (2.5, 97.5))
    return float(low), float(high)


def mean_interval(values):
    """Mean of one value a cluster, and its interval."""
    values = np.asarray(values, float)
    return float(values.mean()), *bootstrap(lambda v: v.mean(-1), values)

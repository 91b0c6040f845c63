/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/metric.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

mm_status mm_metric_load(const mm_metric *metric, mm_component *component, mm_error *error)
{
    mm_runtime quiet = *metric->runtime;
    quiet.logger = NULL;
    return mm_component_load(component, &quiet, error);
}

mm_status mm_metric_keep_text(char **to, const char *text, mm_error *error)
{
    mm_free(*to);
    *to = mm_strdup(text);
    return *to ? MM_OK : mm_fail_memory(error, "a text", strlen(text));
}

bool mm_metric_has_text(char **kept, const char *text)
{
    if (*kept && strcmp(*kept, text) == 0)
        return true;
    mm_free(*kept);
    *kept = NULL;
    return false;
}

mm_status mm_metric_check_finite(const mm_metric *metric, const char *path, size_t figure,
                                 double value, mm_error *error)
{
    if (isfinite(value))
        return MM_OK;
    return mm_fail(error, MM_ERR_NONFINITE, "%s: %s is not a finite number", path,
                   metric->table->figure[figure]);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The motion discrepancy among an evaluator's metrics. */
#include "api/evaluator_internal.h"
#include "api/tracking.h"
#include "metrics/discrepancy_metric.h"

static void report_saved(void *user, const char *path)
{
    mm_context_emit_output(user, path);
}

static mm_status read_settings(mm_evaluator *e, mm_discrepancy_settings *out, mm_error *error)
{
    const mm_evaluate_config *c = e->config;
    bool native;
    *out = (mm_discrepancy_settings){.tracker = c->tracker_model,
                                     .grid = c->grid,
                                     .save = c->save_tracks,
                                     .saved = report_saved,
                                     .progress = mm_tracking_report,
                                     .user = e->context};
    MM_TRY(mm_discrepancy_parse_size("size", c->size, &native, &out->width, &out->height, error));
    return mm_discrepancy_parse_size("tracker_size", c->tracker_size, NULL, &out->tracker_width,
                                     &out->tracker_height, error);
}

mm_status mm_evaluator_check_reference(const char *path, mm_error *error)
{
    mm_media_info info;
    MM_TRY(mm_media_probe(&info, path, error));
    if (info.frames == 1)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a video of one frame has no motion to compare with", path);
    return MM_OK;
}

mm_status mm_evaluator_open_motion(mm_evaluator *e, mm_metric **out, mm_error *error)
{
    mm_discrepancy_settings settings;
    *out = NULL;
    if (e->config->reference)
        MM_TRY(mm_evaluator_check_reference(e->config->reference, error));
    MM_TRY(read_settings(e, &settings, error));
    return mm_discrepancy_metric_create(out, &e->runtime, &settings, error);
}

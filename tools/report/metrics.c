/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "report.h"

const char *const report_figures[REPORT_FIGURES] = {"clip_text", "image_reward",
                                                    "frame_consistency", "motion_discrepancy"};

const report_metric report_metrics[] = {
    {"CLIP", "clip_model", {0, 2}, 2, 1.0, {NULL}},
    {"ImageReward", "image_reward_model", {1}, 1, 15.0, {"vision_heads", NULL}},
    {"motion discrepancy", "tracker_model", {3}, 1, 40.0, {"grid", "size", "tracker_size", NULL}},
};

const size_t report_metric_count = sizeof(report_metrics) / sizeof(*report_metrics);

mm_status report_choose_metrics(report *r)
{
    bool any = false;
    for (size_t i = 0; i < report_metric_count; i++) {
        const report_metric *metric = &report_metrics[i];
        bool named = cli_text(r->cli, metric->option) != NULL;
        for (size_t f = 0; f < metric->figures; f++)
            r->measured[metric->figure[f]] = named;
        any |= named;
    }
    return any ? MM_OK
               : cli_fail(r->cli, MM_ERR_USAGE,
                          "nothing to measure: name models with --clip-model, "
                          "--image-reward-model, --tracker-model");
}

static mm_status copy_option(report *r, mm_options *to, const char *key)
{
    const char *value = cli_text(r->cli, key);
    return value ? mm_options_set(to, key, value, MM_SOURCE_SET) : MM_OK;
}

/* One at a time, so that no two networks are in memory together, and a video that one metric cannot
   look at still gets the figures of the others. */
mm_status report_open_metric(report *r, const report_metric *metric, const char *tracks,
                             mm_evaluator **out)
{
    mm_options *options = NULL;
    mm_status status = mm_options_create(&options, "evaluate");
    if (status == MM_OK)
        status = copy_option(r, options, metric->option);
    for (size_t i = 0; status == MM_OK && metric->settings[i]; i++)
        status = copy_option(r, options, metric->settings[i]);
    if (status == MM_OK && tracks && strcmp(metric->option, "tracker_model") == 0)
        status = mm_options_set(options, "save_tracks", tracks, MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_evaluator_create(out, r->cli->context, options);
    mm_options_free(&options);
    return status;
}

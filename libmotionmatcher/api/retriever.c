/* SPDX-License-Identifier: BSD-2-Clause */
#include "motionmatcher/retriever.h"

#include <math.h>
#include <string.h>

#include "api/retriever_internal.h"
#include "api/status_internal.h"
#include "api/video_list.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "metrics/discrepancy_metric.h"
#include "metrics/retrieval.h"

static const char *const distance_names[MM_DISTANCE_COUNT] = {"motion", "ca", "tsa", "latents",
                                                              "residuals"};

void mm_retriever_free(mm_retriever **retriever)
{
    if (!retriever || !*retriever)
        return;
    mm_retriever *r = *retriever;
    mm_retriever_free_clips(r);
    mm_retrieval_truth_free(&r->truth);
    mm_tracker_free(&r->tracker, r->model->context->backend);
    mm_extractor_free(&r->extractor);
    mm_options_free(&r->feature_options);
    mm_options_free(&r->options);
    mm_model_free(&r->model);
    mm_free(r);
    *retriever = NULL;
}

/* The features' options have the same names here. */
static mm_status fill_feature_options(mm_retriever *r, mm_error *error)
{
    static const char *const keys[] = {"timestep",
                                       "noise",
                                       "width",
                                       "height",
                                       "num_frames",
                                       "frame_step",
                                       "scaling",
                                       "spatial_scale_factor",
                                       "seed",
                                       "start_frame",
                                       "temporal_scale_factor"};
    MM_TRY(mm_options_make(&r->feature_options, "features", error));
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        const char *value = NULL;
        if (mm_options_get(r->options, keys[i], 0, &value) == MM_OK && value)
            MM_TRY(mm_options_assign(r->feature_options, keys[i], value, MM_SOURCE_SET, error));
    }
    return MM_OK;
}

static mm_status open_tracker(mm_retriever *r, mm_error *error)
{
    const mm_retrieve_config *c = r->config;
    int64_t width, height;
    MM_TRY(
        mm_discrepancy_parse_size("tracker_size", c->tracker_size, NULL, &width, &height, error));
    return mm_tracker_open(&r->tracker, c->tracker_model, width, height, &r->model->context->logger,
                           error);
}

static mm_status check_usage(const mm_retrieve_config *c, mm_error *error)
{
    if (!c->query && !c->all)
        return mm_fail(error, MM_ERR_USAGE,
                       "a query is needed: name a video in option query, or set all");
    if (c->positives && c->tracker_model)
        return mm_fail(
            error, MM_ERR_USAGE,
            "options positives and tracker_model both say what should be found: one of them "
            "is enough");
    return MM_OK;
}

static mm_status setup(mm_retriever *r, const mm_options *options, mm_error *error)
{
    MM_TRY(mm_options_copy(&r->options, options, error));
    const mm_retrieve_config *c = r->config = mm_options_retrieve(r->options);
    MM_TRY(check_usage(c, error));
    MM_TRY(fill_feature_options(r, error));
    mm_status status = mm_extractor_create(&r->extractor, r->model, r->feature_options);
    if (status != MM_OK)
        return mm_fail(error, status, "%s", mm_last_error());
    if (c->positives)
        MM_TRY(mm_retrieval_truth_read(&r->truth, c->positives, c->all, error));
    if (c->tracker_model)
        MM_TRY(open_tracker(r, error));
    return c->query ? mm_retriever_add_clip(r, c->query, error) : MM_OK;
}

static mm_status create(mm_retriever **out, mm_model *model, const mm_options *options,
                        mm_error *error)
{
    MM_TRY(mm_context_check_process(model->context, error));
    mm_retriever *r = mm_calloc(1, sizeof(*r));
    if (!r)
        return mm_fail_memory(error, "a retriever", sizeof(*r));
    r->model = mm_model_retain(model);
    mm_status status = setup(r, options, error);
    if (status != MM_OK)
        mm_retriever_free(&r);
    *out = r;
    return status;
}

mm_status mm_retriever_create(mm_retriever **out, mm_model *model, const mm_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !model || !options || !mm_options_retrieve(options))
        return mm_api_misuse(__func__, "out, model and options of table \"retrieve\" are needed");
    mm_error error = {0};
    return mm_api_return(create(out, model, options, &error), &error);
}

static mm_status add(mm_retriever *r, const char *path, mm_error *error)
{
    mm_video_list list;
    if (!mm_path_is_directory(path))
        return mm_retriever_add_clip(r, path, error);
    mm_status status = mm_video_list_folder(&list, path, error);
    for (size_t i = 0; status == MM_OK && i < list.count; i++)
        status = mm_retriever_add_clip(r, list.item[i], error);
    mm_video_list_free(&list);
    return status;
}

mm_status mm_retriever_add(mm_retriever *retriever, const char *path)
{
    if (!retriever || !path)
        return mm_api_misuse(__func__, "retriever and path must not be NULL");
    mm_error error = {0};
    return mm_api_return(add(retriever, path, &error), &error);
}

size_t mm_retriever_video_count(const mm_retriever *retriever)
{
    return retriever ? retriever->count : 0;
}

/* The model is released before points are tracked. */
static mm_status plan_memory(mm_retriever *r, mm_error *error)
{
    MM_TRY(mm_context_check_process(r->model->context, error));
    const mm_retrieve_config *c = r->config;
    mm_backend *backend = r->model->context->backend;
    size_t kept = r->count * mm_retriever_clip_bytes(r), tracking = 0;
    size_t used = r->extractor->planned_peak_bytes + kept;
    if (r->tracker) {
        mm_tracker_size size = {c->num_frames, c->width, c->height, c->grid};
        MM_TRY(mm_tracker_plan(r->tracker, backend, &size, &tracking, error));
        tracking += r->model->baseline_bytes + kept + mm_tracker_weight_bytes(r->tracker, backend);
    }
    used = used > tracking ? used : tracking;
    if (used > r->model->context->memory_budget)
        return mm_fail(error, MM_ERR_MEMORY,
                       "the features of %zu videos need %zu MiB, the memory budget is %zu MiB",
                       r->count, used >> 20, (size_t)r->model->context->memory_budget >> 20);
    mm_context_emit_plan(r->model->context, used);
    return MM_OK;
}

static mm_status plan(mm_retriever *r, mm_error *error)
{
    for (size_t i = 0; i < r->count; i++) {
        mm_media_info info;
        MM_TRY(mm_media_probe(&info, r->clip[i].path, error));
    }
    return plan_memory(r, error);
}

mm_status mm_retriever_plan(mm_retriever *retriever)
{
    if (!retriever)
        return mm_api_misuse(__func__, "retriever must not be NULL");
    mm_error error = {0};
    return mm_api_return(plan(retriever, &error), &error);
}

/* A run through all videos and queries. */
typedef struct retrieval {
    mm_retriever *retriever;
    mm_retrieval_callback callback;
    void *user;
    size_t usable, skipped;
    mm_error first_problem;
    /* Of one query, for its candidates. */
    size_t *candidate, *order; /* clips; candidates by distance */
    bool *positive;
    double *distance[MM_DISTANCE_COUNT];
    /* Over the queries. */
    size_t queries, scored;
    double sum[MM_DISTANCE_COUNT], squares[MM_DISTANCE_COUNT], chance;
} retrieval;

static void report(retrieval *run, mm_retrieval *what)
{
    what->struct_size = sizeof(*what);
    what->figures = distance_names;
    if (run->callback && run->callback(run->user, what) != 0)
        mm_context_stop(run->retriever->model->context);
}

static void skip(retrieval *run, mm_retrieved_clip *clip, const mm_error *problem)
{
    if (run->skipped++ == 0)
        run->first_problem = *problem;
    report(run, &(mm_retrieval){.kind = MM_RETRIEVED_SKIPPED,
                                .path = clip->path,
                                .status = problem->status,
                                .message = problem->text});
}

typedef mm_status clip_step(mm_retriever *retriever, mm_retrieved_clip *clip, mm_error *error);

/* One clip; when it cannot be read it is left out, unless all depends on it. */
static mm_status step_clip(retrieval *run, clip_step *step, size_t index, mm_error *error)
{
    mm_retriever *r = run->retriever;
    mm_error problem = {0};
    mm_status status = step(r, &r->clip[index], &problem);
    bool query = index == 0 && r->config->query && !r->config->all;
    bool skippable = status == MM_ERR_INPUT || status == MM_ERR_UNSUPPORTED;
    if (status == MM_OK)
        return MM_OK;
    if (query || !skippable || step != mm_retriever_look) {
        *error = problem;
        return status;
    }
    skip(run, &r->clip[index], &problem);
    return MM_OK;
}

/* `before`: steps that were done with other work. */
static mm_status each_clip(retrieval *run, clip_step *step, size_t before, mm_error *error)
{
    mm_retriever *r = run->retriever;
    size_t of = r->count * (r->tracker ? 2 : 1);
    for (size_t i = 0; i < r->count; i++) {
        double start = mm_clock_seconds();
        if (mm_context_stopping(r->model->context))
            return mm_fail(error, MM_ERR_CANCELLED, "stopped after %zu of %zu videos", i, r->count);
        if (step == mm_retriever_look || mm_clip_usable(&r->clip[i]))
            MM_TRY(step_clip(run, step, i, error));
        mm_context_emit_step(r->model->context, (int64_t)(before + i + 1), (int64_t)of,
                             mm_clock_seconds() - start);
    }
    return MM_OK;
}

static mm_status prepare(retrieval *run, mm_error *error)
{
    size_t count = run->retriever->count;
    double *values = mm_malloc(count * MM_DISTANCE_COUNT * sizeof(*values));
    run->distance[0] = values;
    for (int d = 1; values && d < MM_DISTANCE_COUNT; d++)
        run->distance[d] = values + (size_t)d * count;
    run->candidate = mm_malloc(count * sizeof(*run->candidate));
    run->order = mm_malloc(count * sizeof(*run->order));
    run->positive = mm_calloc(count, sizeof(*run->positive));
    if (values && run->candidate && run->order && run->positive)
        return MM_OK;
    return mm_fail_memory(error, "distances", count * 8 * sizeof(*values));
}

static void measure_candidates(retrieval *run, size_t query)
{
    const mm_retriever *r = run->retriever;
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        double distance[MM_DISTANCE_COUNT];
        if (i == query || !mm_clip_usable(&r->clip[i]))
            continue;
        mm_retriever_measure(r, &r->clip[query], &r->clip[i], distance);
        for (int d = 0; d < MM_DISTANCE_COUNT; d++)
            run->distance[d][count] = distance[d];
        run->candidate[count++] = i;
    }
}

static void report_videos(retrieval *run, size_t query, bool known)
{
    const mm_retriever *r = run->retriever;
    mm_rank_by_distance(run->distance[MM_DISTANCE_MOTION], run->usable - 1, run->order);
    for (size_t rank = 0; rank < run->usable - 1; rank++) {
        double values[MM_DISTANCE_COUNT];
        size_t at = run->order[rank];
        for (int d = 0; d < MM_DISTANCE_COUNT; d++)
            values[d] = run->distance[d][at];
        report(run, &(mm_retrieval){.kind = MM_RETRIEVED_VIDEO,
                                    .query = r->clip[query].path,
                                    .path = r->clip[run->candidate[at]].path,
                                    .rank = (int64_t)rank + 1,
                                    .positive = known ? run->positive[at] : -1,
                                    .figure_count = MM_DISTANCE_COUNT,
                                    .values = values});
    }
}

static void count_query(retrieval *run, const double *precision, double chance)
{
    run->queries++;
    if (isnan(chance))
        return;
    run->scored++;
    run->chance += chance;
    for (int d = 0; d < MM_DISTANCE_COUNT; d++) {
        run->sum[d] += precision[d];
        run->squares[d] += precision[d] * precision[d];
    }
}

static void report_query(retrieval *run, size_t query, bool known)
{
    size_t candidates = run->usable - 1, positives = 0;
    double precision[MM_DISTANCE_COUNT], chance;
    for (size_t i = 0; i < candidates; i++)
        positives += known && run->positive[i];
    chance = mm_chance_precision(positives, candidates);
    for (int d = 0; d < MM_DISTANCE_COUNT; d++) {
        mm_rank_by_distance(run->distance[d], candidates, run->order);
        precision[d] = known ? mm_average_precision(run->order, run->positive, candidates) : NAN;
    }
    count_query(run, precision, chance);
    report(run, &(mm_retrieval){.kind = MM_RETRIEVED_QUERY,
                                .query = run->retriever->clip[query].path,
                                .positives = (int64_t)positives,
                                .candidates = (int64_t)candidates,
                                .figure_count = MM_DISTANCE_COUNT,
                                .values = precision,
                                .chance = chance});
}

static mm_status answer(retrieval *run, size_t query, mm_error *error)
{
    const mm_retriever *r = run->retriever;
    bool known = r->tracker || r->truth.count;
    measure_candidates(run, query);
    if (known)
        MM_TRY(mm_retrieval_truth_of(r, query, run->positive, error));
    report_videos(run, query, known);
    report_query(run, query, known);
    return MM_OK;
}

static void report_means(retrieval *run)
{
    double mean[MM_DISTANCE_COUNT], spread[MM_DISTANCE_COUNT], n = (double)run->scored;
    for (int d = 0; d < MM_DISTANCE_COUNT; d++) {
        mean[d] = run->scored ? run->sum[d] / n : NAN;
        double variance =
            run->scored > 1 ? (run->squares[d] - n * mean[d] * mean[d]) / (n - 1.0) : NAN;
        spread[d] = sqrt(variance > 0.0 ? variance : run->scored > 1 ? 0.0 : NAN);
    }
    report(run, &(mm_retrieval){.kind = MM_RETRIEVED_MEAN,
                                .candidates = (int64_t)run->queries,
                                .figure_count = MM_DISTANCE_COUNT,
                                .values = mean,
                                .spreads = spread,
                                .chance = run->scored ? run->chance / n : NAN});
}

static mm_status look_at_all(retrieval *run, mm_error *error)
{
    mm_retriever *r = run->retriever;
    MM_TRY(each_clip(run, mm_retriever_look, 0, error));
    for (size_t i = 0; i < r->count; i++)
        run->usable += mm_clip_usable(&r->clip[i]);
    if (run->usable < 2) {
        if (run->skipped)
            *error = run->first_problem;
        return run->skipped ? error->status
                            : mm_fail(error, MM_ERR_USAGE, "there are fewer than two videos");
    }
    if (!r->tracker)
        return MM_OK;
    mm_model_release_coders(r->model);
    mm_component_release(&r->model->parts.unet, r->model->context->backend);
    return each_clip(run, mm_retriever_track, r->count, error);
}

static mm_status retrieve(retrieval *run, mm_error *error)
{
    mm_retriever *r = run->retriever;
    if (r->count < 2)
        return mm_fail(error, MM_ERR_USAGE,
                       "retrieval needs at least two videos, the query among them");
    MM_TRY(mm_retrieval_truth_check(r, error));
    MM_TRY(plan_memory(r, error));
    MM_TRY(prepare(run, error));
    MM_TRY(look_at_all(run, error));
    for (size_t i = 0; i < (r->config->all ? r->count : 1); i++) {
        if (mm_clip_usable(&r->clip[i]))
            MM_TRY(answer(run, i, error));
        MM_TRY(mm_context_check_cancel(r->model->context, error));
    }
    report_means(run);
    if (run->skipped == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_RUNTIME, "%zu of %zu videos could not be read; the first: %s",
                   run->skipped, r->count, run->first_problem.text);
}

mm_status mm_retriever_run(mm_retriever *retriever, mm_retrieval_callback callback, void *user)
{
    if (!retriever)
        return mm_api_misuse(__func__, "retriever must not be NULL");
    retrieval run = {.retriever = retriever, .callback = callback, .user = user};
    mm_error error = {0};
    mm_status status = retrieve(&run, &error);
    mm_free(run.distance[0]);
    mm_free(run.candidate);
    mm_free(run.order);
    mm_free(run.positive);
    return mm_api_return(status, &error);
}

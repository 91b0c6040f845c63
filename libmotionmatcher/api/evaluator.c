/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/evaluator_internal.h"

#include <math.h>
#include <string.h>

#include "api/status_internal.h"
#include "base/clock.h"
#include "base/memory.h"
#include "media/media.h"
#include "metrics/metrics.h"

/* What decoding takes beside the models: tables, and for every pixel of a frame the decoder's own
   pictures (sixteen and a few, 4:2:0) and some in RGB. */
#define DECODER_BYTES ((size_t)32 << 20)
#define DECODER_BYTES_OF_A_PIXEL ((size_t)36)

static void report_loaded(void *user, double seconds)
{
    mm_context_emit_loaded(user, seconds);
}

static void add_metric(mm_evaluator *e, mm_metric *metric)
{
    e->metric[e->metric_count++] = metric;
    for (size_t i = 0; i < metric->table->figure_count; i++)
        e->figure[e->figure_count++] = metric->table->figure[i];
}

static mm_status open_metrics(mm_evaluator *e, mm_error *error)
{
    const mm_evaluate_config *c = e->config;
    mm_metric *metric = NULL;
    if (c->clip_model) {
        MM_TRY(mm_clip_scores_open(&metric, c->clip_model, &e->runtime, error));
        add_metric(e, metric);
    }
    if (c->image_reward_model) {
        MM_TRY(mm_image_reward_open(&metric, c->image_reward_model, c->vision_heads, &e->runtime,
                                    error));
        add_metric(e, metric);
    }
    if (c->tracker_model) {
        MM_TRY(mm_evaluator_open_motion(e, &metric, error));
        add_metric(e, metric);
    }
    if (e->metric_count)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "nothing to measure: name a model (clip_model, image_reward_model, "
                   "tracker_model)");
}

static void destroy(mm_evaluator *e)
{
    for (size_t i = 0; i < e->metric_count; i++)
        e->metric[i]->table->free(e->metric[i]);
    mm_evaluator_free_videos(e);
    mm_options_free(&e->options);
    mm_context_free(&e->context);
    mm_free(e);
}

static mm_status create(mm_evaluator **out, mm_context *context, const mm_options *options,
                        mm_error *error)
{
    MM_TRY(mm_context_check_process(context, error));
    mm_evaluator *e = mm_calloc(1, sizeof(*e));
    if (!e)
        return mm_fail_memory(error, "an evaluator", sizeof(*e));
    e->context = mm_context_retain(context);
    e->baseline_bytes = mm_resident_bytes();
    e->runtime =
        (mm_runtime){context->backend, &context->logger, &context->cancel, report_loaded, context};
    mm_status status = mm_options_copy(&e->options, options, error);
    if (status == MM_OK) {
        e->config = mm_options_evaluate(e->options);
        status = open_metrics(e, error);
    }
    if (status != MM_OK) {
        destroy(e);
        return status;
    }
    *out = e;
    return MM_OK;
}

mm_status mm_evaluator_create(mm_evaluator **out, mm_context *context, const mm_options *options)
{
    if (out)
        *out = NULL;
    if (!out || !context || !options || !mm_options_evaluate(options))
        return mm_api_misuse(__func__, "out, context and options of table \"evaluate\" are needed");
    mm_error error = {0};
    return mm_api_return(create(out, context, options, &error), &error);
}

void mm_evaluator_free(mm_evaluator **evaluator)
{
    if (!evaluator || !*evaluator)
        return;
    destroy(*evaluator);
    *evaluator = NULL;
}

bool mm_evaluator_needs_prompt(const mm_evaluator *e)
{
    for (size_t i = 0; i < e->metric_count; i++) {
        if (e->metric[i]->table->needs_prompt)
            return true;
    }
    return false;
}

bool mm_evaluator_needs_reference(const mm_evaluator *e)
{
    for (size_t i = 0; i < e->metric_count; i++) {
        if (e->metric[i]->table->needs_reference)
            return true;
    }
    return false;
}

mm_status mm_evaluator_add(mm_evaluator *evaluator, const char *path, const char *prompt)
{
    return mm_evaluator_add_pair(evaluator, path, prompt, NULL);
}

mm_status mm_evaluator_add_pair(mm_evaluator *evaluator, const char *path, const char *prompt,
                                const char *reference)
{
    if (!evaluator || !path)
        return mm_api_misuse(__func__, "evaluator and path must not be NULL");
    mm_error error = {0};
    mm_metric_video video = {path, prompt, reference};
    return mm_api_return(mm_evaluator_add_videos(evaluator, &video, &error), &error);
}

size_t mm_evaluator_video_count(const mm_evaluator *evaluator)
{
    return evaluator ? evaluator->video_count : 0;
}

const char *const *mm_evaluator_figures(const mm_evaluator *evaluator, size_t *count)
{
    if (count)
        *count = evaluator ? evaluator->figure_count : 0;
    return evaluator ? evaluator->figure : NULL;
}

static size_t decoder_bytes(const mm_evaluator *e)
{
    return DECODER_BYTES + (size_t)e->most_pixels * DECODER_BYTES_OF_A_PIXEL;
}

/* All metrics look at one decoding of a video, so their memory adds up. */
static mm_status plan_metrics(mm_evaluator *e, mm_error *error)
{
    MM_TRY(mm_context_check_process(e->context, error));
    size_t used = e->baseline_bytes + decoder_bytes(e), budget = e->context->memory_budget;
    for (size_t i = 0; i < e->metric_count; i++) {
        size_t weights = e->metric[i]->table->weight_bytes(e->metric[i]);
        if (!mm_add_size(used, weights, &used))
            used = SIZE_MAX;
    }
    for (size_t i = 0; i < e->metric_count; i++) {
        size_t bytes = 0, left = budget > used ? budget - used : 1;
        MM_TRY(e->metric[i]->table->plan(e->metric[i], left, &bytes, error));
        used += bytes;
    }
    if (used > budget)
        return mm_fail(error, MM_ERR_MEMORY,
                       "the models need %zu MiB, the memory budget is %zu MiB", used >> 20,
                       budget >> 20);
    mm_context_emit_plan(e->context, used);
    return MM_OK;
}

static mm_status plan(mm_evaluator *e, mm_error *error)
{
    for (size_t i = 0; i < e->video_count; i++) {
        mm_media_info info;
        MM_TRY(mm_media_probe(&info, e->video[i].path, error));
        if (e->video[i].reference)
            MM_TRY(mm_evaluator_check_reference(e->video[i].reference, error));
    }
    return plan_metrics(e, error);
}

mm_status mm_evaluator_plan(mm_evaluator *evaluator)
{
    if (!evaluator)
        return mm_api_misuse(__func__, "evaluator must not be NULL");
    mm_error error = {0};
    return mm_api_return(plan(evaluator, &error), &error);
}

/* One video on its way through the metrics. */
typedef struct pass {
    mm_evaluator *evaluator;
    const mm_evaluated_video *video;
    int64_t frames;
    double values[MM_MOST_METRICS * MM_MOST_FIGURES];
} pass;

static mm_status begin_video(pass *p, mm_error *error)
{
    mm_evaluator *e = p->evaluator;
    mm_metric_video video = {p->video->path, p->video->prompt, p->video->reference};
    for (size_t i = 0; i < e->metric_count; i++)
        MM_TRY(e->metric[i]->table->begin(e->metric[i], &video, error));
    return MM_OK;
}

static mm_status take_frame(void *user, const uint8_t *rgb, int32_t width, int32_t height,
                            mm_error *error)
{
    pass *p = user;
    mm_evaluator *e = p->evaluator;
    mm_picture picture = {rgb, width, height};
    MM_TRY(mm_context_check_cancel(e->context, error));
    if (p->frames == 0)
        MM_TRY(begin_video(p, error));
    for (size_t i = 0; i < e->metric_count; i++)
        MM_TRY(e->metric[i]->table->add_frame(e->metric[i], &picture, error));
    p->frames++;
    return MM_OK;
}

static mm_status finish_video(pass *p, mm_error *error)
{
    mm_evaluator *e = p->evaluator;
    double *values = p->values;
    for (size_t i = 0; i < e->metric_count; i++) {
        MM_TRY(e->metric[i]->table->finish(e->metric[i], values, error));
        values += e->metric[i]->table->figure_count;
    }
    return MM_OK;
}

static mm_status score_video(pass *p, mm_error *error)
{
    mm_evaluator *e = p->evaluator;
    mm_decode_request request = {.frame_step = 1};
    int64_t count;
    MM_TRY(mm_media_decode_each(p->video->path, &request, e->runtime.logger, take_frame, p, &count,
                                error));
    return finish_video(p, error);
}

/* A run through all videos. */
typedef struct evaluation {
    mm_evaluator *evaluator;
    mm_score_callback callback;
    void *user;
    double sum[MM_MOST_METRICS * MM_MOST_FIGURES];
    int64_t defined[MM_MOST_METRICS * MM_MOST_FIGURES]; /* values that the sum is made of */
    int64_t scored, skipped;
    mm_error first_problem; /* of the videos that were skipped */
} evaluation;

static void report(evaluation *run, mm_score *score)
{
    score->struct_size = sizeof(*score);
    score->figures = run->evaluator->figure;
    if (run->callback && run->callback(run->user, score) != 0)
        mm_context_stop(run->evaluator->context);
}

static void count_scores(evaluation *run, const pass *p, double seconds)
{
    run->scored++;
    for (size_t i = 0; i < run->evaluator->figure_count; i++) {
        if (isnan(p->values[i]))
            continue;
        run->sum[i] += p->values[i];
        run->defined[i]++;
    }
    report(run, &(mm_score){.path = p->video->path,
                            .prompt = p->video->prompt,
                            .frames = p->frames,
                            .figure_count = run->evaluator->figure_count,
                            .values = p->values,
                            .seconds = seconds,
                            .reference = p->video->reference});
}

static void skip(evaluation *run, const pass *p, const mm_error *problem, double seconds)
{
    if (run->skipped++ == 0)
        run->first_problem = *problem;
    report(run, &(mm_score){.status = problem->status,
                            .path = p->video->path,
                            .message = problem->text,
                            .prompt = p->video->prompt,
                            .seconds = seconds,
                            .reference = p->video->reference});
}

static mm_status evaluate_video(evaluation *run, size_t index, mm_error *error)
{
    mm_evaluator *e = run->evaluator;
    pass p = {.evaluator = e, .video = &e->video[index]};
    mm_error problem = {0};
    double start = mm_clock_seconds();
    mm_status status = score_video(&p, &problem);
    double seconds = mm_clock_seconds() - start;
    if (status == MM_OK) {
        count_scores(run, &p, seconds);
    } else if (status == MM_ERR_INPUT || status == MM_ERR_UNSUPPORTED) {
        skip(run, &p, &problem, seconds);
    } else {
        *error = problem;
        return status;
    }
    mm_context_emit_step(e->context, (int64_t)index + 1, (int64_t)e->video_count, seconds);
    return MM_OK;
}

static mm_status report_means(evaluation *run, mm_error *error)
{
    double mean[MM_MOST_METRICS * MM_MOST_FIGURES];
    mm_evaluator *e = run->evaluator;
    if (run->scored == 0) {
        *error = run->first_problem;
        return error->status;
    }
    for (size_t i = 0; i < e->figure_count; i++)
        mean[i] = run->defined[i] ? run->sum[i] / (double)run->defined[i] : NAN;
    report(run,
           &(mm_score){.frames = run->scored, .figure_count = e->figure_count, .values = mean});
    if (run->skipped == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_RUNTIME, "%lld of %zu videos could not be scored; the first: %s",
                   (long long)run->skipped, e->video_count, run->first_problem.text);
}

static mm_status evaluate(evaluation *run, mm_error *error)
{
    mm_evaluator *e = run->evaluator;
    if (e->video_count == 0)
        return mm_fail(error, MM_ERR_USAGE, "there are no videos to score");
    MM_TRY(plan_metrics(e, error));
    for (size_t i = 0; i < e->metric_count; i++)
        MM_TRY(e->metric[i]->table->load(e->metric[i], error));
    for (size_t i = 0; i < e->video_count; i++) {
        if (mm_context_stopping(e->context))
            return mm_fail(error, MM_ERR_CANCELLED, "stopped after %zu of %zu videos", i,
                           e->video_count);
        MM_TRY(evaluate_video(run, i, error));
    }
    return report_means(run, error);
}

mm_status mm_evaluator_run(mm_evaluator *evaluator, mm_score_callback callback, void *user)
{
    if (!evaluator)
        return mm_api_misuse(__func__, "evaluator must not be NULL");
    evaluation run = {.evaluator = evaluator, .callback = callback, .user = user};
    mm_error error = {0};
    return mm_api_return(evaluate(&run, &error), &error);
}

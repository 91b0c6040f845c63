/* SPDX-License-Identifier: BSD-2-Clause */
/* Brings every video and every metric together, one metric after the other. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

#define MOST_OUTPUTS 4 /* of a video and its reference: tracks and a picture each */

/* A video that is to be measured. */
typedef struct job {
    report_video *video;
    const report_pair *pair;
    char key[CLI_DIGEST_TEXT];
} job;

typedef struct work work;

/* One metric's way through the videos. */
typedef struct pass {
    work *work;
    report *r;
    const report_metric *metric;
    job *job;
    size_t jobs, done, known, skipped;
    double seconds;             /* running mean of a video's; 0: none was looked at yet */
    char *output[MOST_OUTPUTS]; /* files written since the last video was done */
    size_t outputs;
    mm_status status; /* of what the callback did */
} pass;

/* All of them, one after the other. */
struct work {
    pass pass[REPORT_FIGURES];
    size_t passes;
};

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && strcmp(text + length - size, ending) == 0;
}

/* Videos of one reference, and of one prompt, follow one another. */
static int compare_jobs(const void *a, const void *b)
{
    const job *x = a, *y = b;
    int order = strcmp(x->pair->digest, y->pair->digest);
    if (order != 0)
        return order;
    if (x->pair != y->pair)
        return x->pair < y->pair ? -1 : 1;
    return x->video < y->video ? -1 : x->video > y->video;
}

static void take_values(const pass *p, const job *j, int64_t frames, const double *values)
{
    j->video->frames = frames;
    for (size_t i = 0; i < p->metric->figures; i++)
        j->video->value[p->metric->figure[i]] = values[i];
}

static void print_score(const pass *p, const job *j)
{
    const report *r = p->r;
    if (r->cli->json) {
        printf("{\"event\":\"score\",\"method\":");
        cli_write_json(stdout, r->method[j->video->method]);
        printf(",\"pair\":");
        cli_write_json(stdout, j->pair->label);
        printf(",\"path\":");
        cli_write_json(stdout, j->video->path);
    }
    for (size_t i = 0; i < p->metric->figures; i++) {
        size_t figure = p->metric->figure[i];
        const eval_column *c = eval_column_of(report_figures[figure]);
        double value = j->video->value[figure];
        if (r->cli->json)
            cli_print_json_number(c->figure, value);
        else if (isfinite(value))
            printf("%s %.*f  ", c->title, c->decimals, c->factor * value);
        else
            printf("%s -  ", c->title);
    }
    if (r->cli->json)
        puts("}");
    else
        printf("%s\n", j->video->path);
    fflush(stdout);
}

/* Programs hear of every video; people see the table. */
static void take_known(const pass *p, const job *j, const report_entry *entry)
{
    take_values(p, j, entry->frames, entry->value);
    if (p->r->cli->json)
        print_score(p, j);
}

static void gather_jobs(pass *p)
{
    report *r = p->r;
    for (size_t i = 0; i < r->video_count; i++) {
        job *j = &p->job[p->jobs];
        *j = (job){.video = &r->video[i], .pair = &r->pair[r->video[i].pair]};
        if (!*j->video->digest)
            continue;
        report_make_key(r, p->metric, j->pair, j->video, j->key);
        const report_entry *entry = report_cache_find(r->cache, j->key);
        if (r->measured[3] && p->metric->figure[0] == 3)
            j->video->tracks = report_find_tracks(r, j->key);
        if (entry)
            take_known(p, j, entry);
        p->known += entry != NULL;
        p->jobs += entry == NULL;
    }
    if (p->jobs)
        qsort(p->job, p->jobs, sizeof(*p->job), compare_jobs);
}

static void print_skipped(const pass *p, const job *j, const mm_score *score)
{
    if (!p->r->cli->json)
        return;
    printf("{\"event\":\"skipped\",\"path\":");
    cli_write_json(stdout, j->video->path);
    printf(",\"status\":%d,\"message\":", (int)score->status);
    cli_write_json(stdout, score->message ? score->message : "");
    puts("}");
    fflush(stdout);
}

/* The reference's files come before the video's, and only for its first video. */
static void take_pictures(pass *p, const job *j, bool scored)
{
    char *video = NULL, *reference = NULL, key[CLI_DIGEST_TEXT];
    for (size_t i = 0; i < p->outputs; i++) {
        if (!ends_with(p->output[i], ".png"))
            continue;
        reference = video;
        video = p->output[i];
    }
    if (video && !scored)
        reference = video;
    if (video && scored)
        j->video->tracks = report_shrink_tracks(p->r, video, j->key);
    if (reference) {
        report_make_key(p->r, p->metric, j->pair, NULL, key);
        report_shrink_tracks(p->r, reference, key);
    }
    while (p->outputs > 0)
        unlink(p->output[--p->outputs]);
}

static mm_status store(pass *p, const job *j, const mm_score *score)
{
    report_entry entry = {.frames = score->frames, .value = {NAN, NAN}};
    memcpy(entry.key, j->key, sizeof(entry.key));
    for (size_t i = 0; i < p->metric->figures; i++)
        entry.value[i] = score->values[i];
    take_values(p, j, entry.frames, entry.value);
    report_make_sheet(p->r, j->video->path, j->video->digest, score->frames, &j->video->sheet);
    return report_cache_add(p->r, &entry);
}

static int32_t take_score(void *user, const mm_score *score)
{
    pass *p = user;
    if (!score->path)
        return 0;
    const job *j = &p->job[p->done++];
    cli_clear_bar(p->r->cli);
    take_pictures(p, j, score->status == MM_OK);
    if (score->status == MM_OK) {
        p->status = store(p, j, score);
        print_score(p, j);
    } else {
        p->skipped++;
        p->status = report_add_problem(p->r, j->video, score->message);
        print_skipped(p, j, score);
    }
    return p->status != MM_OK;
}

/* Of all metrics. One that has not begun is taken to be as much slower as it usually is. */
static double seconds_left(const pass *current)
{
    const work *w = current->work;
    double unit = current->seconds / current->metric->cost, left = 0.0;
    for (size_t i = 0; i < w->passes; i++) {
        const pass *p = &w->pass[i];
        double each = p->seconds > 0.0 ? p->seconds : unit * p->metric->cost;
        left += (double)(p->jobs - p->done) * each;
    }
    return left;
}

/* A step is one metric's look at one video; the bar goes through the steps of all metrics. */
static int32_t take_step(pass *p, const mm_event *event)
{
    mm_event whole = *event;
    whole.step = whole.of = 0;
    for (size_t i = 0; i < p->work->passes; i++) {
        whole.step += (int64_t)p->work->pass[i].done;
        whole.of += (int64_t)p->work->pass[i].jobs;
    }
    p->seconds = p->seconds > 0.0 ? 0.8 * p->seconds + 0.2 * event->seconds : event->seconds;
    p->r->cli->seconds_left = seconds_left(p);
    return cli_report_event(p->r->cli, &whole);
}

/* Files of tracks are taken note of. */
static int32_t take_event(void *user, const mm_event *event)
{
    pass *p = user;
    if (event->kind == MM_EVENT_STEP)
        return take_step(p, event);
    if (event->kind != MM_EVENT_OUTPUT)
        return cli_report_event(p->r->cli, event);
    if (p->outputs < MOST_OUTPUTS && (p->output[p->outputs] = report_keep(p->r, "%s", event->path)))
        p->outputs++;
    return 0;
}

static mm_status add_jobs(const pass *p, mm_evaluator *evaluator)
{
    mm_status status = MM_OK;
    for (size_t i = 0; status == MM_OK && i < p->jobs; i++) {
        const job *j = &p->job[i];
        status =
            mm_evaluator_add_pair(evaluator, j->video->path, j->pair->prompt, j->pair->reference);
    }
    return status;
}

/* Videos that cannot be scored are part of the report. */
static mm_status judge(const pass *p, mm_status status)
{
    if (p->status != MM_OK)
        return p->status;
    bool all_seen = p->done == p->jobs && p->skipped > 0;
    bool skipping =
        status == MM_ERR_RUNTIME || status == MM_ERR_INPUT || status == MM_ERR_UNSUPPORTED;
    return all_seen && skipping ? MM_OK : status;
}

static mm_status run_jobs(pass *p)
{
    report *r = p->r;
    mm_evaluator *evaluator = NULL;
    char *tracks = report_join(r, r->cache_folder, "tracks");
    mm_status status = tracks ? MM_OK : report_fail_memory(r);
    cli_notice(r->cli, "%s: %zu videos to score, %zu known from before", p->metric->name, p->jobs,
               p->known);
    if (status == MM_OK && p->jobs > 0)
        status = report_open_metric(r, p->metric, tracks, &evaluator);
    if (status == MM_OK && p->jobs > 0)
        status = add_jobs(p, evaluator);
    if (status == MM_OK && p->jobs > 0) {
        r->cli->step_seconds = 0.0;
        mm_context_set_events(r->cli->context, take_event, p);
        status = judge(p, mm_evaluator_run(evaluator, take_score, p));
        mm_context_set_events(r->cli->context, cli_report_event, r->cli);
    }
    mm_evaluator_free(&evaluator);
    while (p->outputs > 0)
        unlink(p->output[--p->outputs]);
    if (tracks)
        rmdir(tracks);
    return status;
}

/* Every pass knows its videos before the first one runs: what is left can be told from then on. */
static mm_status gather_work(work *w, report *r)
{
    for (size_t i = 0; i < report_metric_count; i++) {
        if (!r->measured[report_metrics[i].figure[0]])
            continue;
        pass *p = &w->pass[w->passes++];
        *p = (pass){.work = w, .r = r, .metric = &report_metrics[i]};
        p->job = calloc(r->video_count, sizeof(*p->job));
        if (!p->job)
            return report_fail_memory(r);
        gather_jobs(p);
    }
    return MM_OK;
}

static void find_reference_tracks(report *r)
{
    char key[CLI_DIGEST_TEXT];
    const report_metric *motion = &report_metrics[report_metric_count - 1];
    for (size_t i = 0; r->measured[3] && i < r->pair_count; i++) {
        report_make_key(r, motion, &r->pair[i], NULL, key);
        r->pair[i].tracks = report_find_tracks(r, key);
    }
}

/* Those that were not made while a video was scored. */
static void make_missing_sheets(report *r)
{
    for (size_t i = 0; i < r->video_count; i++) {
        report_video *video = &r->video[i];
        if (*video->digest && !video->sheet)
            report_make_sheet(r, video->path, video->digest, video->frames, &video->sheet);
    }
    for (size_t i = 0; i < r->pair_count; i++) {
        report_pair *pair = &r->pair[i];
        if (*pair->digest)
            report_make_sheet(r, pair->reference, pair->digest, 0, &pair->sheet);
    }
}

mm_status report_measure(report *r)
{
    work w = {0};
    mm_status status = gather_work(&w, r);
    for (size_t i = 0; status == MM_OK && i < w.passes; i++)
        status = run_jobs(&w.pass[i]);
    for (size_t i = 0; i < w.passes; i++)
        free(w.pass[i].job);
    if (status != MM_OK)
        return status;
    find_reference_tracks(r);
    make_missing_sheets(r);
    return MM_OK;
}

mm_status report_check(report *r)
{
    mm_status status = MM_OK;
    /* What is notable is said when the models are used. */
    mm_context_set_log(r->cli->context, NULL, NULL);
    for (size_t i = 0; status == MM_OK && i < report_metric_count; i++) {
        mm_evaluator *evaluator = NULL;
        if (!r->measured[report_metrics[i].figure[0]])
            continue;
        status = report_open_metric(r, &report_metrics[i], NULL, &evaluator);
        mm_evaluator_free(&evaluator);
    }
    mm_context_set_log(r->cli->context, cli_report_log, r->cli);
    return status;
}

/* The largest plan is the report's: the metrics follow one another. */
static int32_t keep_largest(void *user, const mm_event *event)
{
    uint64_t *most = user;
    if (event->kind == MM_EVENT_PLAN && event->planned_peak_bytes > *most)
        *most = event->planned_peak_bytes;
    return 0;
}

static mm_status plan_one(report *r, const report_metric *metric)
{
    mm_evaluator *evaluator = NULL;
    mm_status status = report_open_metric(r, metric, NULL, &evaluator);
    for (size_t i = 0; status == MM_OK && i < r->video_count; i++) {
        const report_pair *pair = &r->pair[r->video[i].pair];
        status = mm_evaluator_add_pair(evaluator, r->video[i].path, pair->prompt, pair->reference);
    }
    if (status == MM_OK)
        status = mm_evaluator_plan(evaluator);
    mm_evaluator_free(&evaluator);
    return status;
}

mm_status report_plan(report *r)
{
    mm_event largest = {.kind = MM_EVENT_PLAN};
    mm_status status = MM_OK;
    mm_context_set_events(r->cli->context, keep_largest, &largest.planned_peak_bytes);
    for (size_t i = 0; status == MM_OK && i < report_metric_count; i++) {
        if (r->measured[report_metrics[i].figure[0]])
            status = plan_one(r, &report_metrics[i]);
    }
    mm_context_set_events(r->cli->context, cli_report_event, r->cli);
    if (status == MM_OK)
        cli_report_event(r->cli, &largest);
    return status;
}

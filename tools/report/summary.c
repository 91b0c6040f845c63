/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Means with 95 % intervals by the bootstrap: the mean is taken anew over pairs drawn with
 * replacement, and the interval reaches from the 2.5th to the 97.5th percentile of those means.
 * Videos of one pair resemble each other, so that pairs are drawn, not videos; of a single pair its
 * videos are.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define RESAMPLES 10000

/* What is drawn together: sums over the videos of a pair. */
typedef struct group {
    double sum;
    int64_t videos;
} group;

/* Equal reports for equal videos: SplitMix64 from a fixed start. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t draw(uint64_t *state, size_t count)
{
    return (size_t)((next_random(state) >> 32) * (uint64_t)count >> 32);
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double percentile(const double *sorted, size_t count, double share)
{
    double place = share * (double)(count - 1);
    size_t below = (size_t)place;
    double part = place - (double)below;
    return below + 1 < count ? sorted[below] + part * (sorted[below + 1] - sorted[below])
                             : sorted[below];
}

static void resample(const group *groups, size_t count, double *means, report_mean *out)
{
    uint64_t state = 0;
    for (size_t n = 0; n < RESAMPLES; n++) {
        group all = {0};
        for (size_t i = 0; i < count; i++) {
            const group *drawn = &groups[draw(&state, count)];
            all.sum += drawn->sum;
            all.videos += drawn->videos;
        }
        means[n] = all.sum / (double)all.videos;
    }
    qsort(means, RESAMPLES, sizeof(*means), compare_doubles);
    out->low = percentile(means, RESAMPLES, 0.025);
    out->high = percentile(means, RESAMPLES, 0.975);
}

/* One group for each pair that was measured; a single pair's videos instead. */
static size_t gather(const report *r, size_t method, size_t figure, group *groups, bool by_video)
{
    size_t count = 0, last = SIZE_MAX;
    for (size_t i = 0; i < r->video_count; i++) {
        const report_video *video = &r->video[i];
        if (video->method != method || !isfinite(video->value[figure]))
            continue;
        if (by_video || video->pair != last)
            groups[count++] = (group){0};
        groups[count - 1].sum += video->value[figure];
        groups[count - 1].videos++;
        last = video->pair;
    }
    return count;
}

static void take_mean(const report *r, size_t method, size_t figure, group *groups, double *means)
{
    report_mean *out = &r->mean[method * REPORT_FIGURES + figure];
    *out = (report_mean){NAN, NAN, NAN, 0};
    size_t count = gather(r, method, figure, groups, false);
    double sum = 0;
    if (count == 1)
        count = gather(r, method, figure, groups, true);
    for (size_t i = 0; i < count; i++) {
        sum += groups[i].sum;
        out->videos += groups[i].videos;
    }
    if (out->videos)
        out->mean = sum / (double)out->videos;
    /* One video alone says nothing of how much others would differ. */
    if (count > 1)
        resample(groups, count, means, out);
}

mm_status report_summarize(report *r)
{
    double *means = malloc(RESAMPLES * sizeof(*means));
    group *groups = malloc(r->video_count * sizeof(*groups));
    r->mean = calloc(r->method_count * REPORT_FIGURES, sizeof(*r->mean));
    bool fits = means && groups && r->mean;
    for (size_t method = 0; fits && method < r->method_count; method++) {
        for (size_t figure = 0; figure < REPORT_FIGURES; figure++)
            take_mean(r, method, figure, groups, means);
    }
    free(means);
    free(groups);
    return fits ? MM_OK : report_fail_memory(r);
}

double report_pair_mean(const report *r, size_t method, size_t pair, size_t figure)
{
    double sum = 0;
    int64_t count = 0;
    for (size_t i = 0; i < r->video_count; i++) {
        const report_video *video = &r->video[i];
        if (video->method != method || video->pair != pair || !isfinite(video->value[figure]))
            continue;
        sum += video->value[figure];
        count++;
    }
    return count ? sum / (double)count : NAN;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "metrics/tracks.h"

#define BLOCK 256 /* tracks of the second video at a time */

mm_status mm_tracks_allocate(mm_tracks *out, int64_t frames, int64_t points, mm_error *error)
{
    size_t count = (size_t)frames, bytes;
    *out = (mm_tracks){.frames = frames, .points = points};
    if (!mm_mul_size(count, (size_t)points, &count) ||
        !mm_mul_size(count, 2 * sizeof(float), &bytes))
        return mm_fail_memory(error, "tracks", SIZE_MAX);
    out->place = mm_calloc(1, bytes);
    out->visible = mm_calloc(1, count);
    if (out->place && out->visible)
        return MM_OK;
    mm_tracks_free(out);
    return mm_fail_memory(error, "tracks", bytes);
}

void mm_tracks_free(mm_tracks *tracks)
{
    mm_free(tracks->place);
    mm_free(tracks->visible);
    *tracks = (mm_tracks){0};
}

static float side_factor(int64_t from, int64_t to)
{
    return from > 1 ? (float)((double)(to - 1) / (double)(from - 1)) : 1.0f;
}

void mm_tracks_rescale(mm_tracks *tracks, int64_t width, int64_t height)
{
    float across = side_factor(tracks->width, width), down = side_factor(tracks->height, height);
    for (int64_t i = 0; i < tracks->frames * tracks->points; i++) {
        tracks->place[2 * i] *= across;
        tracks->place[2 * i + 1] *= down;
    }
    tracks->width = width;
    tracks->height = height;
}

/* The smallest squared distances so far: of every track, and of those of the other video. */
typedef struct nearest {
    const mm_tracks *a, *b;
    double *of_a, *of_b;
    double block[BLOCK]; /* distances of one track of a to a block of b */
    double *columns;     /* a block of b: [2 frames][BLOCK] */
} nearest;

static double coordinate(const mm_tracks *tracks, int64_t point, int64_t number)
{
    int64_t frame = number / 2;
    return (double)tracks->place[(frame * tracks->points + point) * 2 + number % 2];
}

static void load_block(nearest *n, int64_t first, int64_t count)
{
    for (int64_t d = 0; d < 2 * n->b->frames; d++)
        for (int64_t j = 0; j < BLOCK; j++)
            n->columns[d * BLOCK + j] = j < count ? coordinate(n->b, first + j, d) : 0.0;
}

/* The differences come first: |a|^2 + |b|^2 - 2 a b would cancel. */
static void measure(nearest *n, int64_t point)
{
    memset(n->block, 0, sizeof(n->block));
    for (int64_t d = 0; d < 2 * n->a->frames; d++) {
        double here = coordinate(n->a, point, d);
        const double *there = n->columns + d * BLOCK;
#pragma omp simd
        for (int j = 0; j < BLOCK; j++)
            n->block[j] += (here - there[j]) * (here - there[j]);
    }
}

static void compare_block(nearest *n, int64_t first, int64_t count)
{
    load_block(n, first, count);
    for (int64_t i = 0; i < n->a->points; i++) {
        measure(n, i);
        for (int64_t j = 0; j < count; j++) {
            n->of_a[i] = fmin(n->of_a[i], n->block[j]);
            n->of_b[first + j] = fmin(n->of_b[first + j], n->block[j]);
        }
    }
}

static double mean(const double *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    return sum / (double)count;
}

static mm_status check_tracks(const mm_tracks *a, const mm_tracks *b, mm_error *error)
{
    if (a->frames != b->frames)
        return mm_fail(error, MM_ERR_INPUT,
                       "videos of %lld and %lld frames: motion discrepancy compares videos of one "
                       "length",
                       (long long)a->frames, (long long)b->frames);
    const mm_tracks *both[] = {a, b};
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < 2 * both[side]->frames * both[side]->points; i++) {
            if (!isfinite(both[side]->place[i]))
                return mm_fail(error, MM_ERR_NONFINITE, "a track is not finite");
        }
    }
    return MM_OK;
}

mm_status mm_motion_discrepancy(const mm_tracks *a, const mm_tracks *b, int64_t width,
                                int64_t height, double *out, mm_error *error)
{
    MM_TRY(check_tracks(a, b, error));
    nearest n = {.a = a, .b = b};
    size_t doubles = (size_t)(a->points + b->points + 2 * b->frames * BLOCK);
    double *memory = mm_malloc(doubles * sizeof(double));
    if (!memory)
        return mm_fail_memory(error, "comparing tracks", doubles * sizeof(double));
    n.of_a = memory;
    n.of_b = memory + a->points;
    n.columns = n.of_b + b->points;
    for (int64_t i = 0; i < a->points + b->points; i++)
        memory[i] = DBL_MAX;
    for (int64_t first = 0; first < b->points; first += BLOCK)
        compare_block(&n, first, b->points - first < BLOCK ? b->points - first : BLOCK);
    *out = (mean(n.of_a, a->points) + mean(n.of_b, b->points)) /
           (2.0 * (double)a->frames * (double)height * (double)width);
    mm_free(memory);
    return MM_OK;
}

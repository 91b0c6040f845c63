/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/tracker/tracker.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "metrics/tracker/tracker_passes.h"
#include "models/weight_loader.h"

#define MARGIN_PARTS 64.0f /* the grid keeps this part of the width free on every side */
#define VISIBLE_ABOVE 0.9f

static mm_status check_size(int64_t width, int64_t height, mm_error *error)
{
    const int64_t unit = MM_TRACKER_STRIDE << (MM_TRACKER_LEVELS - 1), most = 4096;
    if (width >= unit && height >= unit && width <= most && height <= most && width % unit == 0 &&
        height % unit == 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "the tracker cannot work at %lldx%lld: sides are multiples of %lld up to %lld",
                   (long long)width, (long long)height, (long long)unit, (long long)most);
}

static mm_status read_file(mm_tracker *tracker, mm_error *error)
{
    mm_tensor_file *file = NULL;
    const char *path = tracker->component.path;
    if (mm_path_is_directory(path))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a directory; the tracker is the weight file of CoTracker3's offline "
                       "model (.pth or .safetensors)",
                       path);
    MM_TRY(mm_tensor_file_open(&file, path, error));
    mm_status status = mm_tracker_config_read(&tracker->config, file, error);
    if (status == MM_OK)
        status = mm_tracker_declare(&tracker->config, &tracker->component.weights, error);
    if (status == MM_OK)
        status = mm_weights_check(&tracker->component.weights, file, tracker->logger, error);
    mm_tensor_file_close(&file);
    return status;
}

mm_status mm_tracker_open(mm_tracker **out, const char *path, int64_t width, int64_t height,
                          const mm_logger *logger, mm_error *error)
{
    *out = NULL;
    MM_TRY(check_size(width, height, error));
    mm_tracker *tracker = mm_calloc(1, sizeof(*tracker));
    if (!tracker)
        return mm_fail_memory(error, "the tracker", sizeof(*tracker));
    tracker->config.width = width;
    tracker->config.height = height;
    tracker->logger = logger;
    mm_weight_set_init(&tracker->component.weights, MM_F32);
    tracker->component.path = mm_strdup(path);
    mm_status status = tracker->component.path ? read_file(tracker, error)
                                               : mm_fail_memory(error, "a path", strlen(path));
    if (status != MM_OK)
        mm_tracker_free(&tracker, NULL);
    *out = tracker;
    return status;
}

void mm_tracker_free(mm_tracker **tracker, mm_backend *backend)
{
    mm_tracker *t = *tracker;
    if (!t)
        return;
    if (backend)
        mm_component_release(&t->component, backend);
    mm_weight_set_free(&t->component.weights);
    mm_free(t->component.path);
    mm_free(t->time);
    mm_free(t);
    *tracker = NULL;
}

size_t mm_tracker_weight_bytes(const mm_tracker *tracker, const mm_backend *backend)
{
    return mm_component_bytes(&tracker->component, backend);
}

mm_status mm_tracker_load(mm_tracker *tracker, const mm_runtime *runtime, mm_error *error)
{
    const mm_tracker_config *c = &tracker->config;
    MM_TRY(mm_component_load(&tracker->component, runtime, error));
    if (tracker->time)
        return MM_OK;
    size_t bytes = (size_t)(c->window * c->token) * sizeof(float);
    const mm_weight *stored = mm_weight_find(&tracker->component.weights, "time_emb");
    tracker->time = mm_malloc(bytes);
    if (!tracker->time)
        return mm_fail_memory(error, "the time embedding", bytes);
    return runtime->backend->table->download(runtime->backend, tracker->time, stored->data, bytes,
                                             error);
}

/* Evenly from both ends, as torch.linspace rounds. */
static float spaced(float first, float last, int64_t count, int64_t number)
{
    float step = (last - first) / (float)(count - 1);
    return number < count / 2 ? first + step * (float)number
                              : last - step * (float)(count - 1 - number);
}

/* Places of the grid in pixels of the scaled video, row by row; a single point is in the middle. */
static void lay_grid(const mm_tracker_config *c, int64_t grid, float *out)
{
    float margin = (float)c->width / MARGIN_PARTS, width = (float)c->width,
          height = (float)c->height;
    for (int64_t i = 0; i < grid * grid; i++) {
        out[2 * i] = grid == 1 ? width / 2.0f : spaced(margin, width - margin, grid, i % grid);
        out[2 * i + 1] =
            grid == 1 ? height / 2.0f : spaced(margin, height - margin, grid, i / grid);
    }
}

/* The points of one video with the memory they are in. */
typedef struct journey {
    mm_tracker_points points;
    float *memory, *origins; /* origins in units of the stride */
} journey;

static mm_status depart(journey *j, const mm_tracker_config *c, int64_t frames, int64_t grid,
                        mm_error *error)
{
    int64_t count = grid * grid;
    size_t floats = (size_t)(count * 2 * (2 * frames + 1));
    *j = (journey){.memory = mm_calloc(floats, sizeof(float))};
    if (!j->memory)
        return mm_fail_memory(error, "points", floats * sizeof(float));
    j->origins = j->memory;
    j->points = (mm_tracker_points){.frames = frames,
                                    .count = count,
                                    .origins = j->origins,
                                    .places = j->memory + count * 2,
                                    .state = j->memory + count * 2 * (frames + 1)};
    lay_grid(c, grid, j->origins);
    for (int64_t i = 0; i < count * 2; i++)
        j->origins[i] /= (float)MM_TRACKER_STRIDE;
    for (int64_t frame = 0; frame < frames; frame++)
        memcpy(j->points.places + frame * count * 2, j->origins, (size_t)count * 2 * sizeof(float));
    return MM_OK;
}

/* Places in the video's own pixels; the first frame's are the grid itself, and visible. */
static mm_status arrive(const journey *j, const mm_tracker_config *c,
                        const mm_tracker_request *request, mm_tracks *out, mm_error *error)
{
    const mm_tracker_points *p = &j->points;
    MM_TRY(mm_tracks_allocate(out, p->frames, p->count, error));
    out->width = request->video->width;
    out->height = request->video->height;
    float factor[] = {(float)(out->width - 1) / (float)(c->width - 1),
                      (float)(out->height - 1) / (float)(c->height - 1)};
    for (int64_t i = 0; i < p->frames * p->count; i++) {
        const float *from = i < p->count ? j->origins : p->places;
        for (int axis = 0; axis < 2; axis++) {
            float place = from[2 * i + axis] * (float)MM_TRACKER_STRIDE * factor[axis];
            out->place[2 * i + axis] = place;
            if (!isfinite(place))
                return mm_fail(error, MM_ERR_NONFINITE, "a track is not finite");
        }
        out->visible[i] = i < p->count || 1.0f / (1.0f + expf(-p->state[2 * i])) > VISIBLE_ABOVE;
    }
    return MM_OK;
}

static mm_status iterate(mm_tracker_iteration *iteration, const mm_runtime *runtime,
                         const mm_tracker_request *request, const mm_tracker_points *points,
                         double start, mm_error *error)
{
    for (int32_t i = 1; i <= MM_TRACKER_ITERATIONS; i++) {
        MM_TRY(mm_tracker_iteration_run(iteration, points, runtime->cancel, error));
        double now = mm_clock_seconds();
        mm_tracker_step step = {i, now - start, points->places};
        if (request->progress && request->progress(request->user, &step) != 0)
            return mm_fail(error, MM_ERR_CANCELLED, "cancelled");
        start = now;
    }
    return MM_OK;
}

static mm_status refine(mm_tracker *tracker, const mm_runtime *runtime,
                        const mm_tracker_request *request, const mm_tracker_points *points,
                        mm_error *error)
{
    double start = mm_clock_seconds();
    mm_tracker_iteration *iteration = NULL;
    mm_tracker_pyramid pyramid;
    MM_TRY(mm_tracker_pyramid_create(&pyramid, &tracker->config, points->frames, error));
    mm_status status = mm_tracker_read_video(tracker, runtime, request->video, &pyramid, error);
    if (status == MM_OK)
        status = mm_tracker_iteration_create(&iteration, tracker, runtime->backend, points->frames,
                                             points->count, error);
    if (status == MM_OK)
        status = mm_tracker_iteration_begin(iteration, tracker, &pyramid, error);
    mm_tracker_pyramid_free(&pyramid);
    if (status == MM_OK)
        status = iterate(iteration, runtime, request, points, start, error);
    mm_tracker_iteration_free(&iteration);
    return status;
}

static mm_status check_request(const mm_tracker_request *request, mm_error *error)
{
    if (request->video->count < 2)
        return mm_fail(error, MM_ERR_INPUT,
                       "a video of one frame: there is no motion to be followed");
    if (request->grid < 1 || request->grid > MM_TRACKER_MOST_GRID)
        return mm_fail(error, MM_ERR_USAGE, "a grid of %lld points a side is not in 1..%d",
                       (long long)request->grid, MM_TRACKER_MOST_GRID);
    return MM_OK;
}

mm_status mm_tracker_run(mm_tracker *tracker, const mm_runtime *runtime,
                         const mm_tracker_request *request, mm_tracks *out, mm_error *error)
{
    journey j;
    *out = (mm_tracks){0};
    MM_TRY(check_request(request, error));
    MM_TRY(mm_tracker_load(tracker, runtime, error));
    MM_TRY(depart(&j, &tracker->config, request->video->count, request->grid, error));
    mm_status status = refine(tracker, runtime, request, &j.points, error);
    if (status == MM_OK)
        status = arrive(&j, &tracker->config, request, out, error);
    if (status != MM_OK)
        mm_tracks_free(out);
    mm_free(j.memory);
    return status;
}

/* The feature maps are there twice for a moment: as read, and as the iterations' input. */
mm_status mm_tracker_plan(mm_tracker *tracker, mm_backend *backend, const mm_tracker_size *size,
                          size_t *bytes, mm_error *error)
{
    mm_tracker_iteration *iteration;
    size_t reading, pyramid = mm_tracker_pyramid_bytes(&tracker->config, size->frames);
    MM_TRY(mm_tracker_plan_reading(tracker, backend, size->height, size->width, &reading, error));
    MM_TRY(mm_tracker_iteration_create(&iteration, tracker, backend, size->frames,
                                       size->grid * size->grid, error));
    size_t refining = mm_tracker_iteration_bytes(iteration);
    mm_tracker_iteration_free(&iteration);
    *bytes = pyramid + (reading > refining ? reading : refining);
    return MM_OK;
}

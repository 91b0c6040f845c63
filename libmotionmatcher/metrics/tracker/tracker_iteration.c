/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "metrics/tracker/tracker_passes.h"

#define CORRELATION_BYTES ((int64_t)64 << 20) /* of a chunk of points, about */

/* A compiled network with its inputs and outputs. */
typedef struct pass {
    mm_graph *graph;
    mm_executable *executable;
} pass;

struct mm_tracker_iteration {
    mm_tracker_config config;
    int64_t frames, points, chunk; /* points at a time */
    pass tokens, update;
    mm_tracker_token_inputs inputs;
    mm_node *token;      /* of a chunk */
    mm_node *all_tokens; /* of all points */
    mm_tracker_units units;
    mm_tracker_update change;
    size_t bytes;
    int32_t threads;
    /* Of a chunk. */
    float *places, *state, *motion, *origins, *chunk_tokens;
    /* Of all points. */
    float *hidden, *flow, *state_change;
};

/* As many points as fill the wanted memory, in chunks of about one size. */
static int64_t choose_chunk(const mm_tracker_config *c, int64_t frames, int64_t points)
{
    int64_t side = 2 * c->radius + 1, row = side * side * side * side;
    int64_t most = CORRELATION_BYTES / (frames * row * (int64_t)sizeof(float));
    most = most < 1 ? 1 : most;
    int64_t chunks = (points + most - 1) / most;
    return (points + chunks - 1) / chunks;
}

static mm_status compile(pass *p, mm_node *const *outputs, int32_t count, mm_backend *backend,
                         size_t *bytes, mm_error *error)
{
    mm_plan_summary summary;
    MM_TRY(mm_graph_status(p->graph, error));
    MM_TRY(mm_executable_create(&p->executable, p->graph, outputs, count, backend,
                                &(mm_compile_options){0}, error));
    mm_executable_summary(p->executable, &summary);
    *bytes += summary.arena_bytes;
    return MM_OK;
}

static mm_status build_tokens(mm_tracker_iteration *it, mm_weight_set *weights, mm_backend *backend,
                              mm_error *error)
{
    MM_TRY(mm_graph_create(&it->tokens.graph, MM_F32, error));
    mm_builder builder = {.graph = it->tokens.graph, .weights = weights, .path = ""};
    it->inputs = mm_tracker_token_inputs_create(&builder, &it->config, it->frames, it->chunk);
    it->token = mm_tracker_build_tokens(&builder, &it->config, &it->inputs);
    return compile(&it->tokens, &it->token, 1, backend, &it->bytes, error);
}

static mm_status build_update(mm_tracker_iteration *it, mm_weight_set *weights, mm_backend *backend,
                              mm_error *error)
{
    MM_TRY(mm_graph_create(&it->update.graph, MM_F32, error));
    mm_builder builder = {.graph = it->update.graph, .weights = weights, .path = ""};
    it->all_tokens = mm_input(it->update.graph, "tokens", MM_F32,
                              &MM_SHAPE(it->frames, it->points, it->config.hidden));
    it->units = mm_tracker_build_units(&builder, &it->config);
    it->change = mm_tracker_build_update(&builder, &it->config, it->units, it->all_tokens);
    mm_node *outputs[] = {it->change.flow, it->change.state};
    return compile(&it->update, outputs, 2, backend, &it->bytes, error);
}

static size_t host_floats(const mm_tracker_iteration *it)
{
    int64_t of_chunk = 2 + MM_TRACKER_STATE + MM_TRACKER_MOTION + it->config.hidden;
    int64_t of_point = it->config.hidden + 2 + MM_TRACKER_STATE;
    return (size_t)(it->frames * (it->chunk * of_chunk + it->points * of_point) + 2 * it->chunk);
}

mm_status mm_tracker_iteration_create(mm_tracker_iteration **out, mm_tracker *tracker,
                                      mm_backend *backend, int64_t frames, int64_t points,
                                      mm_error *error)
{
    *out = NULL;
    mm_tracker_iteration *it = mm_calloc(1, sizeof(*it));
    if (!it)
        return mm_fail_memory(error, "the tracker", sizeof(*it));
    it->config = tracker->config;
    it->frames = frames;
    it->points = points;
    it->threads = backend->threads;
    it->chunk = choose_chunk(&it->config, frames, points);
    mm_status status = build_tokens(it, &tracker->component.weights, backend, error);
    if (status == MM_OK)
        status = build_update(it, &tracker->component.weights, backend, error);
    it->bytes += host_floats(it) * sizeof(float);
    if (status != MM_OK)
        mm_tracker_iteration_free(&it);
    *out = it;
    return status;
}

static void pass_free(pass *p)
{
    mm_executable_free(&p->executable);
    mm_graph_free(&p->graph);
}

void mm_tracker_iteration_free(mm_tracker_iteration **iteration)
{
    mm_tracker_iteration *it = *iteration;
    if (!it)
        return;
    pass_free(&it->tokens);
    pass_free(&it->update);
    mm_free(it->places);
    mm_free(it);
    *iteration = NULL;
}

size_t mm_tracker_iteration_bytes(const mm_tracker_iteration *it)
{
    return it->bytes;
}

static float *take(float **at, int64_t count)
{
    float *piece = *at;
    *at += count;
    return piece;
}

static mm_status allocate(mm_tracker_iteration *it, mm_error *error)
{
    int64_t of_chunk = it->frames * it->chunk, of_all = it->frames * it->points;
    float *at = mm_calloc(host_floats(it), sizeof(*at));
    if (!at)
        return mm_fail_memory(error, "the tracker's points", host_floats(it) * sizeof(*at));
    it->places = take(&at, of_chunk * 2); /* the block that is freed */
    it->state = take(&at, of_chunk * MM_TRACKER_STATE);
    it->motion = take(&at, of_chunk * MM_TRACKER_MOTION);
    it->origins = take(&at, it->chunk * 2);
    it->chunk_tokens = take(&at, of_chunk * it->config.hidden);
    it->hidden = take(&at, of_all * it->config.hidden);
    it->flow = take(&at, of_all * 2);
    it->state_change = take(&at, of_all * MM_TRACKER_STATE);
    return MM_OK;
}

/* The stored embedding at this video's length: linear between frames, whose middles are aligned. */
static void resize_time(const mm_tracker *tracker, int64_t frames, float *out)
{
    int64_t window = tracker->config.window, width = tracker->config.token;
    float step = (float)window / (float)frames;
    for (int64_t t = 0; t < frames; t++) {
        float at = step * ((float)t + 0.5f) - 0.5f;
        at = at > 0.0f ? at : 0.0f;
        int64_t below = (int64_t)at < window ? (int64_t)at : window - 1;
        int64_t above = below + 1 < window ? below + 1 : below;
        float part = at - (float)below;
        for (int64_t c = 0; c < width; c++)
            out[t * width + c] = (1.0f - part) * tracker->time[below * width + c] +
                                 part * tracker->time[above * width + c];
    }
}

static mm_status write_time(mm_tracker_iteration *it, const mm_tracker *tracker, mm_error *error)
{
    size_t bytes = mm_node_bytes(it->inputs.time);
    float *time = mm_malloc(bytes);
    if (!time)
        return mm_fail_memory(error, "the time embedding", bytes);
    resize_time(tracker, it->frames, time);
    mm_status status =
        mm_executable_write(it->tokens.executable, it->inputs.time, time, bytes, error);
    mm_free(time);
    return status;
}

mm_status mm_tracker_iteration_begin(mm_tracker_iteration *it, mm_tracker *tracker,
                                     const mm_tracker_pyramid *pyramid, mm_error *error)
{
    if (!it->places)
        MM_TRY(allocate(it, error));
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++)
        MM_TRY(mm_executable_write(it->tokens.executable, it->inputs.map[level],
                                   pyramid->map[level], mm_node_bytes(it->inputs.map[level]),
                                   error));
    MM_TRY(write_time(it, tracker, error));
    return mm_tracker_write_units(it->update.executable, it->units, error);
}

/* r, then the sines of r 2^k for all k, then the same a quarter period on, all in single precision:
   the sines' arguments are large enough for their rounding to show. */
static void describe_motion(const float r[4], float *out)
{
    const float quarter = 1.57079632679489662f;
    memcpy(out, r, 4 * sizeof(*r));
    for (int k = 0; k < MM_TRACKER_FREQUENCIES; k++) {
        for (int i = 0; i < 4; i++) {
            float angle = r[i] * (float)(1 << k);
            out[4 + 4 * k + i] = sinf(angle);
            out[4 + 4 * (MM_TRACKER_FREQUENCIES + k) + i] = sinf(angle + quarter);
        }
    }
}

/* Displacements to the next and the previous place, in parts of the map's sides. */
static void measure_motion(const mm_tracker_iteration *it, const mm_tracker_points *p,
                           int64_t frame, int64_t point, float *out)
{
    float side[] = {(float)mm_tracker_map_side(it->config.width, 0),
                    (float)mm_tracker_map_side(it->config.height, 0)};
    const float *here = p->places + (frame * p->count + point) * 2;
    float r[4] = {0};
    for (int i = 0; i < 2; i++) {
        if (frame + 1 < p->frames)
            r[i] = (here[i] - here[2 * p->count + i]) / side[i];
        if (frame > 0)
            r[2 + i] = (here[i] - here[i - 2 * p->count]) / side[i];
    }
    describe_motion(r, out);
}

static void gather(mm_tracker_iteration *it, const mm_tracker_points *p, int64_t first,
                   int64_t count)
{
    memcpy(it->origins, p->origins + first * 2, (size_t)count * 2 * sizeof(float));
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(it->threads)
#endif
    for (int64_t frame = 0; frame < it->frames; frame++) {
        for (int64_t i = 0; i < count; i++) {
            int64_t to = frame * it->chunk + i, from = frame * p->count + first + i;
            memcpy(it->places + to * 2, p->places + from * 2, 2 * sizeof(float));
            memcpy(it->state + to * 2, p->state + from * 2, 2 * sizeof(float));
            measure_motion(it, p, frame, first + i, it->motion + to * MM_TRACKER_MOTION);
        }
    }
}

/* A last chunk that is not full runs with whatever the rest held; points are independent here. */
static mm_status run_chunk(mm_tracker_iteration *it, const mm_tracker_points *p, int64_t first,
                           int64_t count, const mm_run_control *control, mm_error *error)
{
    mm_executable *e = it->tokens.executable;
    int64_t width = it->config.hidden;
    gather(it, p, first, count);
    const struct {
        const mm_node *node;
        const float *data;
    } input[] = {{it->inputs.origins, it->origins},
                 {it->inputs.places, it->places},
                 {it->inputs.state, it->state},
                 {it->inputs.motion, it->motion}};
    for (size_t i = 0; i < sizeof(input) / sizeof(*input); i++)
        MM_TRY(mm_executable_write(e, input[i].node, input[i].data, mm_node_bytes(input[i].node),
                                   error));
    MM_TRY(mm_executable_run(e, control, error));
    MM_TRY(mm_executable_read(e, it->token, it->chunk_tokens, mm_node_bytes(it->token), error));
    for (int64_t frame = 0; frame < it->frames; frame++)
        memcpy(it->hidden + (frame * p->count + first) * width,
               it->chunk_tokens + frame * it->chunk * width,
               (size_t)(count * width) * sizeof(float));
    return MM_OK;
}

static mm_status read_change(mm_tracker_iteration *it, const mm_tracker_points *p, mm_error *error)
{
    mm_executable *e = it->update.executable;
    size_t bytes = mm_node_bytes(it->change.flow);
    MM_TRY(mm_executable_read(e, it->change.flow, it->flow, bytes, error));
    MM_TRY(mm_executable_read(e, it->change.state, it->state_change, bytes, error));
    for (int64_t i = 0; i < p->frames * p->count * 2; i++) {
        p->places[i] += it->flow[i];
        p->state[i] += it->state_change[i];
    }
    return MM_OK;
}

mm_status mm_tracker_iteration_run(mm_tracker_iteration *it, const mm_tracker_points *p,
                                   const atomic_int *cancel, mm_error *error)
{
    mm_run_control control = {.cancel = cancel};
    for (int64_t first = 0; first < p->count; first += it->chunk) {
        int64_t left = p->count - first;
        MM_TRY(run_chunk(it, p, first, left < it->chunk ? left : it->chunk, &control, error));
    }
    MM_TRY(mm_executable_write(it->update.executable, it->all_tokens, it->hidden,
                               mm_node_bytes(it->all_tokens), error));
    MM_TRY(mm_executable_run(it->update.executable, &control, error));
    return read_change(it, p, error);
}

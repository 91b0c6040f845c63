/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>

#include "base/memory.h"
#include "metrics/tracker/tracker_passes.h"

/* A network that reads one frame. */
typedef struct reader {
    mm_graph *graph;
    mm_executable *executable;
    mm_node *pixels, *features;
    mm_tracker_units units;
} reader;

static int64_t map_places(const mm_tracker_config *c, int32_t level)
{
    return mm_tracker_map_side(c->height, level) * mm_tracker_map_side(c->width, level);
}

size_t mm_tracker_pyramid_bytes(const mm_tracker_config *c, int64_t frames)
{
    size_t bytes = 0;
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++)
        bytes += (size_t)(frames * map_places(c, level) * c->features) * sizeof(float);
    return bytes;
}

mm_status mm_tracker_pyramid_create(mm_tracker_pyramid *out, const mm_tracker_config *c,
                                    int64_t frames, mm_error *error)
{
    *out = (mm_tracker_pyramid){0};
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++) {
        size_t bytes = (size_t)(frames * map_places(c, level) * c->features) * sizeof(float);
        out->map[level] = mm_malloc(bytes);
        if (!out->map[level]) {
            mm_tracker_pyramid_free(out);
            return mm_fail_memory(error, "the tracker's feature maps", bytes);
        }
    }
    return MM_OK;
}

void mm_tracker_pyramid_free(mm_tracker_pyramid *pyramid)
{
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++)
        mm_free(pyramid->map[level]);
    *pyramid = (mm_tracker_pyramid){0};
}

static void reader_free(reader *r)
{
    mm_executable_free(&r->executable);
    mm_graph_free(&r->graph);
}

static mm_status reader_create(reader *r, mm_tracker *tracker, mm_backend *backend, int64_t height,
                               int64_t width, mm_error *error)
{
    *r = (reader){0};
    MM_TRY(mm_graph_create(&r->graph, MM_F32, error));
    mm_builder builder = {.graph = r->graph, .weights = &tracker->component.weights, .path = ""};
    r->units = mm_tracker_build_units(&builder, &tracker->config);
    r->pixels = mm_input(r->graph, "pixels", MM_F32, &MM_SHAPE(1, height, width, 3));
    r->features = mm_tracker_build_features(&builder, &tracker->config, r->units, r->pixels);
    mm_status status = mm_graph_status(r->graph, error);
    if (status == MM_OK)
        status = mm_executable_create(&r->executable, r->graph, &r->features, 1, backend,
                                      &(mm_compile_options){0}, error);
    if (status != MM_OK)
        reader_free(r);
    return status;
}

/* Each place's channels divided by their length. */
static void normalise(float *map, int64_t places, int64_t channels)
{
    for (int64_t i = 0; i < places; i++, map += channels) {
        double squares = 0.0;
        for (int64_t c = 0; c < channels; c++)
            squares += (double)map[c] * (double)map[c];
        float inverse = (float)(1.0 / sqrt(squares > 1e-12 ? squares : 1e-12));
        for (int64_t c = 0; c < channels; c++)
            map[c] *= inverse;
    }
}

/* Means of two by two places; a last odd row or column is dropped. */
static void halve(const float *from, int64_t from_width, float *to, int64_t height, int64_t width,
                  int64_t channels)
{
    for (int64_t i = 0; i < height * width; i++, to += channels) {
        const float *a = from + (i / width * 2 * from_width + i % width * 2) * channels;
        const float *b = a + from_width * channels;
        for (int64_t c = 0; c < channels; c++)
            to[c] = ((a[c] + a[channels + c]) + (b[c] + b[channels + c])) * 0.25f;
    }
}

static void fill_levels(const mm_tracker_config *c, mm_tracker_pyramid *pyramid, int64_t frame)
{
    float *map = pyramid->map[0] + frame * map_places(c, 0) * c->features;
    normalise(map, map_places(c, 0), c->features);
    for (int32_t level = 1; level < MM_TRACKER_LEVELS; level++) {
        float *smaller = pyramid->map[level] + frame * map_places(c, level) * c->features;
        halve(map, mm_tracker_map_side(c->width, level - 1), smaller,
              mm_tracker_map_side(c->height, level), mm_tracker_map_side(c->width, level),
              c->features);
        map = smaller;
    }
}

static mm_status read_frame(reader *r, const mm_tracker_config *c, const uint8_t *rgb,
                            float *pixels, float *map, const atomic_int *cancel, mm_error *error)
{
    for (int64_t i = 0; i < mm_node_elements(r->pixels); i++)
        pixels[i] = 2.0f * ((float)rgb[i] / 255.0f) - 1.0f;
    MM_TRY(mm_executable_write(r->executable, r->pixels, pixels, mm_node_bytes(r->pixels), error));
    MM_TRY(mm_executable_run(r->executable, &(mm_run_control){.cancel = cancel}, error));
    return mm_executable_read(r->executable, r->features, map,
                              (size_t)(map_places(c, 0) * c->features) * sizeof(float), error);
}

mm_status mm_tracker_write_units(mm_executable *executable, mm_tracker_units units, mm_error *error)
{
    int64_t count = mm_node_elements(units.one);
    float *values = mm_calloc(2 * (size_t)count, sizeof(*values));
    if (!values)
        return mm_fail_memory(error, "constants", 2 * (size_t)count * sizeof(*values));
    for (int64_t i = 0; i < count; i++)
        values[i] = 1.0f;
    mm_status status =
        mm_executable_write(executable, units.one, values, mm_node_bytes(units.one), error);
    if (status == MM_OK)
        status = mm_executable_write(executable, units.zero, values + count,
                                     mm_node_bytes(units.zero), error);
    mm_free(values);
    return status;
}

mm_status mm_tracker_read_video(mm_tracker *tracker, const mm_runtime *runtime,
                                const mm_frames *video, mm_tracker_pyramid *out, mm_error *error)
{
    const mm_tracker_config *c = &tracker->config;
    int64_t values = (int64_t)video->height * video->width * 3;
    reader r;
    MM_TRY(reader_create(&r, tracker, runtime->backend, video->height, video->width, error));
    float *pixels = mm_malloc((size_t)values * sizeof(*pixels));
    mm_status status = pixels ? mm_tracker_write_units(r.executable, r.units, error)
                              : mm_fail_memory(error, "a frame", (size_t)values * sizeof(*pixels));
    for (int64_t frame = 0; status == MM_OK && frame < video->count; frame++) {
        status = read_frame(&r, c, video->data + frame * values, pixels,
                            out->map[0] + frame * map_places(c, 0) * c->features, runtime->cancel,
                            error);
        if (status == MM_OK)
            fill_levels(c, out, frame);
    }
    mm_free(pixels);
    reader_free(&r);
    return status;
}

mm_status mm_tracker_plan_reading(mm_tracker *tracker, mm_backend *backend, int64_t height,
                                  int64_t width, size_t *bytes, mm_error *error)
{
    reader r;
    mm_plan_summary summary;
    MM_TRY(reader_create(&r, tracker, backend, height, width, error));
    mm_executable_summary(r.executable, &summary);
    *bytes = summary.arena_bytes + (size_t)(height * width * 3) * sizeof(float);
    reader_free(&r);
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracker on small models against PyTorch in float64. */
#include "check.h"

#include "backends/cpu/cpu.h"
#include "metrics/tracker/tracker_passes.h"
#include "motionmatcher/evaluator.h"
#include "motionmatcher/video.h"

static mm_error error;
static mm_backend *backend;
static mm_runtime runtime;
static char *folder;

#define MUST(call)                      \
    do {                                \
        if ((call) != MM_OK)            \
            fail_msg("%s", error.text); \
    } while (0)

typedef struct model {
    const char *name;
    uint32_t seed;
    int64_t grid;
    mm_tracker_config config;
} model;

static const model models[] = {
    {"small",
     1,
     5,
     {.width = 96,
      .height = 64,
      .stem = 8,
      .stage = {8, 12, 16, 16},
      .fused = 24,
      .features = 16,
      .radius = 3,
      .correlation_hidden = 20,
      .correlation = 12,
      .window = 5,
      .token = 2 + 48 + 84,
      .hidden = 96,
      .feed_forward = 56,
      .virtual_tracks = 5,
      .depth = 2}},
    {"narrow",
     2,
     4,
     {.width = 64,
      .height = 96,
      .stem = 4,
      .stage = {4, 6, 8, 8},
      .fused = 16,
      .features = 8,
      .radius = 2,
      .correlation_hidden = 16,
      .correlation = 8,
      .window = 4,
      .token = 2 + 32 + 84,
      .hidden = 48,
      .feed_forward = 32,
      .virtual_tracks = 3,
      .depth = 3}},
};
enum { model_count = sizeof(models) / sizeof(*models) };

/* Numbers in -1..1 that depend on name, seed and index alone; make_tracker.py has the same. */
static double hashed(const char *name, uint32_t seed, int64_t index)
{
    uint32_t start = 2166136261u ^ seed;
    for (; *name; name++)
        start = (start ^ (unsigned char)*name) * 16777619u;
    uint32_t x = (uint32_t)index * 2654435761u + start;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return (double)((x ^ x >> 16) >> 8) * 0x1p-23 - 1.0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void fill(const mm_weight_part *part, uint32_t seed, float *out)
{
    int64_t count = mm_shape_elements(&part->shape);
    double scale = 1.0, offset = 0.0;
    if (part->shape.rank == 1) {
        scale = 0.1;
        offset = ends_with(part->name, "norm_context.weight") ? 1.0 : 0.0;
    } else if (ends_with(part->name, ".weight")) {
        scale = (double)(float)sqrt(3.0 / (double)(count / part->shape.dim[0]));
        scale *= strstr(part->name, "flow_head") ? 0.125 : 1.0;
    }
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)(hashed(part->name, seed, i) * scale + offset);
}

/* Writes the weights that a config asks for; one may be left out, one have a row too many. */
static char *write_model(const model *m, const char *without, const char *longer)
{
    mm_weight_set set;
    static mm_tensor_entry entry[512];
    size_t count = 0;
    char *path = mm_format("%s/%s.safetensors", folder, m->name);
    mm_weight_set_init(&set, MM_F32);
    MUST(mm_tracker_declare(&m->config, &set, &error));
    for (int32_t i = 0; i < set.count; i++) {
        for (int32_t p = 0; p < set.weight[i]->part_count; p++) {
            const mm_weight_part *part = &set.weight[i]->part[p];
            if (without && strcmp(part->name, without) == 0)
                continue;
            mm_weight_part stored = *part;
            stored.shape.dim[0] += longer && strcmp(part->name, longer) == 0;
            float *data = malloc((size_t)mm_shape_elements(&stored.shape) * sizeof(*data));
            fill(&stored, m->seed, data);
            entry[count++] = (mm_tensor_entry){part->name, MM_F32, stored.shape, data};
        }
    }
    MUST(mm_safetensors_write(path, entry, count, NULL, 0, &error));
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entry[i].data);
    mm_weight_set_free(&set);
    return path;
}

static mm_tensor_file *open_expected(const model *m)
{
    char *path = mm_format("%s/tracker/%s.safetensors", FIXTURES, m->name);
    mm_tensor_file *file = check_open(path);
    mm_free(path);
    return file;
}

static mm_frames read_video(const mm_tensor_file *file)
{
    size_t index = (size_t)mm_tensor_file_find(file, "video");
    const int64_t *dim = mm_tensor_file_info(file, index)->shape.dim;
    int64_t count = dim[0] * dim[1] * dim[2] * 3;
    mm_frames frames = {dim[0], (int32_t)dim[2], (int32_t)dim[1], 8.0, mm_malloc((size_t)count)};
    MUST(mm_tensor_file_read_raw(file, index, 0, count, frames.data, &error));
    return frames;
}

static double against(const mm_tensor_file *file, const char *name, const float *have)
{
    size_t count;
    float *want = check_read(file, name, &count);
    double difference = check_difference(have, want, count);
    free(want);
    return difference;
}

static void check_pyramid(mm_tracker *tracker, const mm_tensor_file *file, const mm_frames *video)
{
    mm_tracker_pyramid pyramid;
    MUST(mm_tracker_load(tracker, &runtime, &error));
    MUST(mm_tracker_pyramid_create(&pyramid, &tracker->config, video->count, &error));
    MUST(mm_tracker_read_video(tracker, &runtime, video, &pyramid, &error));
    for (int32_t level = 0; level < MM_TRACKER_LEVELS; level++) {
        char name[16];
        const mm_tracker_config *c = &tracker->config;
        int64_t frame = mm_tracker_map_side(c->height, level) *
                        mm_tracker_map_side(c->width, level) * c->features;
        snprintf(name, sizeof(name), "map.%d", level);
        double difference = against(file, name, pyramid.map[level] + (level < 2 ? 2 * frame : 0));
        print_message("level %d: %.2g\n", level, difference);
        assert_true(difference < 1e-4);
    }
    mm_tracker_pyramid_free(&pyramid);
}

typedef struct watch {
    const mm_tensor_file *file;
    int32_t seen;
} watch;

/* The first iteration by its largest displacement, the last in pixels of the scaled video. */
static int32_t watch_iteration(void *user, const mm_tracker_step *step)
{
    int32_t iteration = step->iteration;
    const float *places = step->places;
    watch *w = user;
    size_t count;
    assert_int_equal(iteration, ++w->seen);
    if (iteration == 1) {
        double difference = against(w->file, "places.1", places);
        print_message("first iteration: %.2g\n", difference);
        assert_true(difference < 1e-4);
    } else if (iteration == MM_TRACKER_ITERATIONS) {
        float *want = check_read(w->file, "places.6", &count);
        double worst = 0.0;
        for (size_t i = 0; i < count; i++)
            worst = fmax(worst, MM_TRACKER_STRIDE * fabs((double)places[i] - (double)want[i]));
        print_message("sixth iteration: %.2g px\n", worst);
        assert_true(worst < 1e-2);
        free(want);
    }
    return 0;
}

static void check_tracks(const mm_tensor_file *file, const mm_tracks *tracks)
{
    size_t count;
    float *want = check_read(file, "tracks", &count);
    assert_int_equal(count, tracks->frames * tracks->points * 2);
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(tracks->place[i] - want[i]) < 1e-2f);
    free(want);
    int64_t points = tracks->frames * tracks->points;
    uint8_t *visible = malloc((size_t)points);
    MUST(mm_tensor_file_read_raw(file, (size_t)mm_tensor_file_find(file, "visible"), 0, points,
                                 visible, &error));
    assert_memory_equal(visible, tracks->visible, (size_t)points);
    free(visible);
}

static mm_tracker *open_model(const model *m)
{
    mm_tracker *tracker;
    char *path = write_model(m, NULL, NULL);
    MUST(mm_tracker_open(&tracker, path, m->config.width, m->config.height, NULL, &error));
    mm_free(path);
    return tracker;
}

static void test_parity(void **state)
{
    (void)state;
    for (int i = 0; i < model_count; i++) {
        const model *m = &models[i];
        mm_tracker *tracker = open_model(m);
        assert_memory_equal(&tracker->config, &m->config, sizeof(m->config));
        mm_tensor_file *file = open_expected(m);
        mm_frames video = read_video(file);
        check_pyramid(tracker, file, &video);
        watch w = {.file = file};
        mm_tracks tracks;
        MUST(mm_tracker_run(tracker, &runtime,
                            &(mm_tracker_request){&video, m->grid, watch_iteration, &w}, &tracks,
                            &error));
        assert_int_equal(w.seen, MM_TRACKER_ITERATIONS);
        check_tracks(file, &tracks);
        mm_tracks_free(&tracks);
        mm_frames_free(&video);
        mm_tensor_file_close(&file);
        mm_tracker_free(&tracker, backend);
    }
}

static int32_t cancel_at_once(void *user, const mm_tracker_step *step)
{
    (void)user;
    (void)step;
    return 1;
}

static void test_videos(void **state)
{
    (void)state;
    mm_tracks tracks;
    mm_tracker *tracker = open_model(&models[1]);
    uint8_t data[2 * 8 * 8 * 3] = {0};
    mm_frames video = {.count = 1, .width = 8, .height = 8, .data = data};
    mm_tracker_request request = {.video = &video, .grid = 2};
    assert_int_equal(mm_tracker_run(tracker, &runtime, &request, &tracks, &error), MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "one frame"));
    video.count = 2;
    request.grid = 0;
    assert_int_equal(mm_tracker_run(tracker, &runtime, &request, &tracks, &error), MM_ERR_USAGE);
    request.grid = 1; /* black frames: instance norms of constants */
    MUST(mm_tracker_run(tracker, &runtime, &request, &tracks, &error));
    assert_true(fabsf(tracks.place[0] - 32.0f * 7 / 63) < 1e-5f && tracks.visible[0] == 1);
    mm_tracks_free(&tracks);
    request.progress = cancel_at_once;
    assert_int_equal(mm_tracker_run(tracker, &runtime, &request, &tracks, &error),
                     MM_ERR_CANCELLED);
    mm_tracker_free(&tracker, backend);
}

static void refuse(const char *path, const char *text)
{
    mm_tracker *tracker;
    mm_status status = mm_tracker_open(&tracker, path, 64, 96, NULL, &error);
    if (status != MM_ERR_INPUT || !strstr(error.text, text))
        fail_msg("status %d, \"%s\" lacks \"%s\"", status, error.text, text);
    assert_null(tracker);
}

static void test_files(void **state)
{
    (void)state;
    mm_tracker *tracker;
    assert_int_equal(mm_tracker_open(&tracker, "nowhere", 100, 96, NULL, &error), MM_ERR_USAGE);
    refuse("nowhere", "nowhere");
    refuse(FIXTURES, "a directory");
    refuse(FIXTURES "/tracker/small.safetensors", "not the weights of CoTracker3");
    static const char *const some[] = {"time_emb", "fnet.layer3.0.downsample.0.bias",
                                       "updateformer.space_virtual_blocks.2.attn.to_kv.weight"};
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
        char *path = write_model(&models[1], some[i], NULL);
        refuse(path, some[i]);
        mm_free(path);
    }
    static const char *const misshapen[][2] = {
        {"corr_mlp.fc2.weight", "tokens of 118 values"},
        {"updateformer.input_transform.weight", "heads of 48"},
        {"fnet.layer1.1.conv2.weight", "fnet.layer1.1.conv2.weight"},
        {"updateformer.time_blocks.1.mlp.fc1.bias", "updateformer.time_blocks.1.mlp.fc1.bias"}};
    for (size_t i = 0; i < sizeof(misshapen) / sizeof(*misshapen); i++) {
        char *path = write_model(&models[1], NULL, misshapen[i][0]);
        refuse(path, misshapen[i][1]);
        mm_free(path);
    }
}

static int32_t keep_value(void *user, const mm_score *score)
{
    double **next = user;
    if (score->path)
        *(*next)++ = score->status == MM_OK ? score->values[0] : NAN;
    return 0;
}

/* A reference that cannot be followed leaves nothing behind for the next video. */
static void test_references_of_videos(void **state)
{
    (void)state;
    static const char video[] = FIXTURES "/evaluation/moving.mkv";
    static const char *const references[] = {video, FIXTURES "/evaluation/still.png", video};
    double values[3], *next = values;
    mm_context *context;
    mm_evaluator *evaluator;
    if (strcmp(mm_video_backend_versions(), "none") == 0)
        skip();
    char *path = write_model(&models[1], NULL, NULL);
    mm_options *options = check_options("evaluate", "tracker_model", path, "tracker_size", "64x96",
                                        "grid", "2", NULL);
    OK(mm_context_create(&context, NULL));
    OK(mm_evaluator_create(&evaluator, context, options));
    for (int i = 0; i < 3; i++)
        OK(mm_evaluator_add_pair(evaluator, video, NULL, references[i]));
    FAILS(mm_evaluator_run(evaluator, keep_value, &next), MM_ERR_RUNTIME, "1 of 3 videos");
    assert_ptr_equal(next, values + 3);
    assert_true(values[0] == 0.0 && isnan(values[1]) && values[2] == 0.0);
    mm_evaluator_free(&evaluator);
    mm_context_free(&context);
    mm_options_free(&options);
    mm_free(path);
}

static mm_status open_and_run(const char *path, const mm_frames *video)
{
    mm_tracker *tracker;
    mm_tracks tracks = {0};
    mm_tracker_request request = {.video = video, .grid = 2};
    mm_status status = mm_tracker_open(&tracker, path, 64, 96, NULL, &error);
    if (status == MM_OK)
        status = mm_tracker_run(tracker, &runtime, &request, &tracks, &error);
    mm_tracks_free(&tracks);
    mm_tracker_free(&tracker, backend);
    return status;
}

/* Whatever allocation fails, alone or with all after it, the call says so. Early ones are tried
   one by one, later ones further and further apart. */
static void test_failing_allocations(void **state)
{
    (void)state;
    uint8_t data[2 * 8 * 8 * 3] = {0};
    mm_frames video = {.count = 2, .width = 8, .height = 8, .data = data};
    char *path = write_model(&models[1], NULL, NULL);
    for (int forever = 0; forever < 2; forever++) {
        mm_status status = MM_ERR_MEMORY;
        for (uint64_t n = 1; status != MM_OK; n += 1 + n / 16) {
            mm_memory_fail_after(n, forever);
            status = open_and_run(path, &video);
            mm_memory_fail_after(0, false);
            assert_true(status == MM_OK || status == MM_ERR_MEMORY);
        }
    }
    mm_free(path);
}

/* Full size: 2500 points of 16 frames fit into 3 GiB with the weights. */
static void test_memory(void **state)
{
    (void)state;
    mm_tracker tracker = {.config = {.width = MM_TRACKER_WIDTH,
                                     .height = MM_TRACKER_HEIGHT,
                                     .stem = 64,
                                     .stage = {64, 96, 128, 128},
                                     .fused = 256,
                                     .features = 128,
                                     .radius = 3,
                                     .correlation_hidden = 384,
                                     .correlation = 256,
                                     .window = 60,
                                     .token = 1110,
                                     .hidden = 384,
                                     .feed_forward = 1536,
                                     .virtual_tracks = 64,
                                     .depth = 3}};
    size_t bytes;
    mm_weight_set_init(&tracker.component.weights, MM_F32);
    MUST(mm_tracker_declare(&tracker.config, &tracker.component.weights, &error));
    assert_int_equal(mm_weight_set_bytes(&tracker.component.weights), 25452300 * sizeof(float));
    MUST(mm_tracker_plan(&tracker, backend, &(mm_tracker_size){16, 384, 384, 50}, &bytes, &error));
    print_message("2500 points in 16 frames: %zu MiB and %zu MiB of weights\n", bytes >> 20,
                  mm_tracker_weight_bytes(&tracker, backend) >> 20);
    assert_true(bytes + mm_tracker_weight_bytes(&tracker, backend) < (size_t)3 << 30);
    mm_weight_set_free(&tracker.component.weights);
}

static int begin(void **state)
{
    (void)state;
    folder = check_directory();
    MUST(mm_cpu_backend_create(&backend, 1, NULL, &error));
    runtime.backend = backend;
    return 0;
}

static int end(void **state)
{
    (void)state;
    backend->table->free(backend);
    check_remove(folder);
    return 0;
}

/* With a folder as argument: leaves the second model's weights there. */
int main(int argc, char **argv)
{
    if (argc > 1) {
        folder = argv[1];
        mm_free(write_model(&models[1], NULL, NULL));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity), cmocka_unit_test(test_videos),
        cmocka_unit_test(test_files),  cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_references_of_videos),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

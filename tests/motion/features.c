/* SPDX-License-Identifier: BSD-2-Clause */
/* The extractor through its public handle, against PyTorch in float64
   (tests/parity/make_fixtures.py), and what its header promises. */
#include "in_f32.h"

#include "api/latents.h"
#include "api/model_internal.h"
#include "motionmatcher/extractor.h"

static const char prompt[] = "A dog is sitting in the snow.";

/* A committed model, its fixture, and the clip in it. */
typedef struct subject {
    const char *name;
    mm_model *model;
    char *path;
    mm_tensor_file *file;
    uint8_t *frames_data;
    mm_video *video;
    char width[8], height[8], frames[8];
} subject;

static void open_subject(subject *s, const char *name)
{
    mm_error error = {0};
    char *directory = mm_format("%s/%s", FIXTURES, name);
    *s = (subject){.name = name,
                   .path = mm_format("%s/parity/%s-features.safetensors", FIXTURES, name)};
    OK(mm_model_open(&s->model, context, directory));
    s->file = check_open(s->path);
    int64_t index = mm_tensor_file_find(s->file, "frames");
    const int64_t *dim = mm_tensor_file_info(s->file, (size_t)index)->shape.dim;
    size_t bytes = (size_t)(dim[0] * dim[1] * dim[2] * 3);
    uint8_t *data = malloc(bytes);
    assert_int_equal(
        mm_tensor_file_read_raw(s->file, (size_t)index, 0, (int64_t)bytes, data, &error), MM_OK);
    OK(check_video(&s->video, data, dim[0], dim[1], dim[2]));
    s->frames_data = data;
    snprintf(s->frames, sizeof(s->frames), "%d", (int)dim[0]);
    snprintf(s->height, sizeof(s->height), "%d", (int)dim[1]);
    snprintf(s->width, sizeof(s->width), "%d", (int)dim[2]);
    mm_free(directory);
}

static void close_subject(subject *s)
{
    mm_video_free(&s->video);
    free(s->frames_data);
    mm_tensor_file_close(&s->file);
    mm_model_free(&s->model);
    mm_free(s->path);
}

static mm_options *subject_options(const subject *s, const char *spatial, const char *temporal)
{
    return check_options("features", "width", s->width, "height", s->height, "num_frames",
                         s->frames, "spatial_scale_factor", spatial, "temporal_scale_factor",
                         temporal, "timestep", "417", "seed", "5", NULL);
}

/* An extractor with the subject's clip, at scale 4. */
static mm_extractor *look(const subject *s)
{
    mm_options *options = subject_options(s, "4", "4");
    mm_extractor *extractor = NULL;
    OK(mm_extractor_create(&extractor, s->model, options));
    OK(mm_extractor_set_video(extractor, s->video, prompt));
    mm_options_free(&options);
    return extractor;
}

static size_t elements(const mm_tensor *map)
{
    const int64_t *shape = mm_tensor_shape(map);
    assert_int_equal(mm_tensor_rank(map), 4);
    return (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
}

static mm_tensor *ca_of(const mm_extractor *extractor)
{
    mm_tensor *ca = NULL;
    OK(mm_extractor_ca(extractor, &ca));
    return ca;
}

static mm_tensor *tsa_of(const mm_extractor *extractor)
{
    mm_tensor *tsa = NULL;
    OK(mm_extractor_tsa(extractor, &tsa));
    return tsa;
}

static void compare(const subject *s, const char *kind, const char *scale, const mm_tensor *have)
{
    char *name = mm_format("%s.%s", kind, scale);
    size_t count;
    float *want = check_read(s->file, name, &count);
    assert_int_equal(elements(have), count);
    double difference = check_difference(mm_tensor_data(have), want, count);
    if (difference > 2e-6)
        fail_msg("%s %s differs by %g", s->name, name, difference);
    free(want);
    mm_free(name);
}

static void compare_at(const subject *s, const char *spatial, const char *temporal)
{
    mm_options *options = subject_options(s, spatial, temporal);
    OK(mm_options_set(options, "noise", s->path, MM_SOURCE_SET));
    mm_extractor *extractor = NULL;
    mm_tensor *ca = (mm_tensor *)1, *tsa = NULL;
    OK(mm_extractor_create(&extractor, s->model, options));
    OK(mm_extractor_set_video(extractor, s->video, prompt));
    FAILS(mm_extractor_ca(extractor, &ca), MM_ERR_USAGE, "no maps");
    assert_null(ca);
    OK(mm_extractor_run(extractor));
    ca = ca_of(extractor);
    tsa = tsa_of(extractor);
    mm_extractor_free(&extractor);
    compare(s, "ca", spatial, ca);
    compare(s, "tsa", temporal, tsa);
    assert_int_equal(mm_tensor_shape(ca)[0], mm_tensor_shape(tsa)[2]);
    assert_int_equal(mm_tensor_shape(ca)[3], 77);
    mm_tensor_free(&ca);
    mm_tensor_free(&tsa);
    mm_options_free(&options);
}

static void test_parity(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"quickstart-model", "4", "4"},
                                           {"quickstart-model", "2", "4"},
                                           {"tiny-v-model", "4", "1"},
                                           {"tiny-v-model", "1", "4"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        subject s;
        open_subject(&s, cases[i][0]);
        compare_at(&s, cases[i][1], cases[i][2]);
        close_subject(&s);
    }
}

static void check_sums(mm_tensor *tensor)
{
    const float *map = mm_tensor_data(tensor);
    const size_t last = (size_t)mm_tensor_shape(tensor)[3];
    for (size_t i = 0; i < elements(tensor); i += last) {
        double sum = 0.0;
        for (size_t k = 0; k < last; k++)
            sum += (double)map[i + k];
        assert_float_equal(sum, 1.0, 1e-5);
    }
    mm_tensor_free(&tensor);
}

static void test_probabilities_and_tokens(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "quickstart-model");
    mm_extractor *extractor = look(&s);
    OK(mm_extractor_run(extractor));
    check_sums(ca_of(extractor));
    check_sums(tsa_of(extractor));

    int64_t ids[77], count = mm_extractor_tokens(extractor);
    OK(mm_model_tokenize(s.model, prompt, ids));
    assert_true(count > 2 && count < 77);
    assert_string_equal(mm_extractor_token(extractor, 0), "<|startoftext|>");
    assert_string_equal(mm_extractor_token(extractor, count - 1), "<|endoftext|>");
    assert_null(mm_extractor_token(extractor, count));
    assert_null(mm_extractor_token(extractor, -1));
    mm_extractor_free(&extractor);
    close_subject(&s);
}

static bool same_ca(const mm_extractor *extractor, const mm_tensor *ca)
{
    mm_tensor *have = ca_of(extractor);
    const size_t bytes = elements(ca) * sizeof(float);
    bool same = memcmp(mm_tensor_data(have), mm_tensor_data(ca), bytes) == 0;
    mm_tensor_free(&have);
    return same;
}

/* Numbers as latents of the subject's clip. */
static mm_tensor *wrap(const float *values, int32_t rank)
{
    static const int64_t shape[] = {1, 4, 3, 6, 10};
    mm_tensor *tensor = NULL;
    OK(mm_tensor_wrap(&tensor, values, "f32", rank, shape + 5 - rank, NULL, NULL, NULL));
    return tensor;
}

/* The seed and the timestep decide, whatever was run before, and so does given noise. */
static void test_what_the_noise_comes_from(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "quickstart-model");
    mm_extractor *first = look(&s), *second = look(&s);
    size_t noises;
    float *values = check_read(s.file, "noise", &noises);
    mm_tensor *noise = wrap(values, 5), *flat = wrap(values, 2);
    OK(mm_extractor_run(first));
    mm_tensor *ca = ca_of(first);
    OK(mm_extractor_run_at(second, 900, NULL));
    assert_false(same_ca(second, ca));
    OK(mm_extractor_run_at(second, 417, noise));
    assert_false(same_ca(second, ca));
    OK(mm_extractor_set_video(second, s.video, prompt));
    OK(mm_extractor_run(second));
    assert_true(same_ca(second, ca));
    OK(mm_extractor_set_video(second, s.video, "a cat"));
    OK(mm_extractor_run(second));
    assert_false(same_ca(second, ca));
    mm_extractor_free(&first);
    FAILS(mm_extractor_run_at(second, 417, flat), MM_ERR_USAGE, "noise");
    mm_extractor_free(&second);
    mm_tensor_free(&noise);
    mm_tensor_free(&flat);
    mm_tensor_free(&ca);
    free(values);
    close_subject(&s);
}

/* The latents that a video is encoded to give what the video gives. */
static void test_latents(void **state)
{
    (void)state;
    subject s;
    mm_error error = {0};
    open_subject(&s, "quickstart-model");
    mm_extractor *extractor = look(&s);
    mm_latent_shape shape = {3, 6, 10, 4};
    OK(mm_extractor_run(extractor));
    mm_tensor *ca = ca_of(extractor), *other = NULL;
    float *latents = NULL;
    assert_int_equal(mm_model_encode_video(s.model, s.video, &latents, &error), MM_OK);
    float *stored = malloc(mm_latent_elements(&shape) * sizeof(float));
    mm_latents_to_file(&shape, latents, stored);
    mm_tensor *wrong = wrap(stored, 3), *packed = wrap(stored, 4);
    FAILS(mm_extractor_set_latents(extractor, wrong, prompt), MM_ERR_USAGE, "needed");
    FAILS(mm_extractor_run(extractor), MM_ERR_USAGE, "no clip");
    OK(mm_extractor_set_latents(extractor, packed, prompt));
    OK(mm_extractor_run(extractor));
    assert_true(same_ca(extractor, ca));
    /* Channels last in memory, as a sampler's are. */
    assert_int_equal(mm_latents_wrap(&other, &shape, latents, &error), MM_OK);
    OK(mm_extractor_set_latents(extractor, other, prompt));
    OK(mm_extractor_run(extractor));
    assert_true(same_ca(extractor, ca));
    mm_tensor_free(&other);
    mm_tensor_free(&wrong);
    mm_tensor_free(&packed);
    mm_tensor_free(&ca);
    free(stored);
    mm_extractor_free(&extractor);
    close_subject(&s);
}

static void test_wrong_use(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "quickstart-model");
    mm_options *options = subject_options(&s, "4", "4"), *train = check_options("train", NULL);
    mm_extractor *extractor = (mm_extractor *)1;
    FAILS(mm_extractor_create(&extractor, s.model, train), MM_ERR_USAGE, "features");
    FAILS(mm_extractor_create(NULL, s.model, options), MM_ERR_USAGE, "out");
    OK(mm_extractor_create(&extractor, s.model, options));
    FAILS(mm_extractor_run(extractor), MM_ERR_USAGE, "no clip");
    FAILS(mm_extractor_write(extractor, "x"), MM_ERR_USAGE, "no maps");
    FAILS(mm_extractor_write_pictures(extractor, "x"), MM_ERR_USAGE, "no maps");
    FAILS(mm_extractor_set_video(extractor, s.video, "\xff"), MM_ERR_USAGE, "UTF-8");
    OK(mm_extractor_set_video(extractor, s.video, prompt));
    FAILS(mm_extractor_run_at(extractor, 1000, NULL), MM_ERR_USAGE, "0..999");
    FAILS(mm_extractor_run_at(extractor, -1, NULL), MM_ERR_USAGE, "0..999");
    FAILS(mm_extractor_run(NULL), MM_ERR_USAGE, "NULL");
    mm_extractor_free(&extractor);
    assert_null(extractor);
    mm_extractor_free(&extractor);
    mm_extractor_free(NULL);
    mm_options_free(&options);

    options = check_options("features", "width", s.width, "height", s.height, "num_frames",
                            s.frames, NULL);
    OK(mm_extractor_create(&extractor, s.model, options));
    OK(mm_extractor_set_video(extractor, s.video, prompt));
    FAILS(mm_extractor_run(extractor), MM_ERR_USAGE, "timestep");
    mm_extractor_free(&extractor);
    OK(mm_options_set(options, "num_frames", "2", MM_SOURCE_SET));
    OK(mm_extractor_create(&extractor, s.model, options));
    FAILS(mm_extractor_set_video(extractor, s.video, prompt), MM_ERR_USAGE, "frames");
    mm_extractor_free(&extractor);
    mm_options_free(&options);
    mm_options_free(&train);
    close_subject(&s);
}

static int32_t stop_at_stage(void *user, const mm_event *event)
{
    int *stages = user;
    return event->kind == MM_EVENT_STAGE && --*stages == 0;
}

static void test_cancelling(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "quickstart-model");
    mm_extractor *extractor = look(&s);
    mm_context_cancel(context);
    FAILS(mm_extractor_run(extractor), MM_ERR_CANCELLED, "");
    FAILS(mm_extractor_set_video(extractor, s.video, prompt), MM_ERR_CANCELLED, "");
    mm_context_resume(context);
    int stages = 2; /* the text, then the frames */
    mm_context_set_events(context, stop_at_stage, &stages);
    OK(mm_extractor_set_video(extractor, s.video, prompt));
    FAILS(mm_extractor_run(extractor), MM_ERR_CANCELLED, "");
    mm_tensor *ca = NULL;
    FAILS(mm_extractor_ca(extractor, &ca), MM_ERR_USAGE, "no maps");
    mm_context_set_events(context, NULL, NULL);
    mm_context_resume(context);
    OK(mm_extractor_run(extractor));
    mm_extractor_free(&extractor);
    close_subject(&s);
}

static void expect_metadata(const mm_tensor_file *file, const char *key, const char *value)
{
    const char *have = mm_tensor_file_metadata(file, key);
    assert_non_null(have);
    assert_string_equal(have, value);
}

static void test_file(void **state)
{
    (void)state;
    subject s;
    open_subject(&s, "tiny-v-model");
    mm_extractor *extractor = look(&s);
    char *path = mm_format("%s/features.safetensors", scratch);
    OK(mm_extractor_run(extractor));
    OK(mm_extractor_write(extractor, path));
    mm_tensor_file *file = check_open(path);
    size_t count;
    float *ca = check_read(file, "ca", &count);
    mm_tensor *map = ca_of(extractor);
    assert_memory_equal(mm_tensor_data(map), ca, count * sizeof(float));
    mm_tensor_free(&map);
    int64_t index = mm_tensor_file_find(file, "tsa");
    assert_true(
        mm_shape_equal(&mm_tensor_file_info(file, (size_t)index)->shape, &MM_SHAPE(6, 4, 4)));
    expect_metadata(file, "mm_prompt", prompt);
    expect_metadata(file, "mm_timestep", "417");
    expect_metadata(file, "mm_seed", "5");
    expect_metadata(file, "mm_temporal_scale_factor", "4");
    assert_non_null(strstr(mm_tensor_file_metadata(file, "mm_tokens"), "[\"<|startoftext|>\",\""));
    mm_tensor_file_close(&file);

    size_t noises;
    float *values = check_read(s.file, "noise", &noises);
    const int64_t shape[] = {4, 4, 9, 7};
    mm_tensor *noise = NULL;
    OK(mm_tensor_wrap(&noise, values, "f32", 4, shape, NULL, NULL, NULL));
    OK(mm_extractor_run_at(extractor, 3, noise));
    mm_tensor_free(&noise);
    OK(mm_extractor_write(extractor, path));
    file = check_open(path);
    expect_metadata(file, "mm_timestep", "3");
    assert_null(mm_tensor_file_metadata(file, "mm_seed"));
    mm_tensor_file_close(&file);
    free(values);
    free(ca);
    mm_free(path);
    mm_extractor_free(&extractor);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity),
        cmocka_unit_test(test_probabilities_and_tokens),
        cmocka_unit_test(test_what_the_noise_comes_from),
        cmocka_unit_test(test_latents),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}

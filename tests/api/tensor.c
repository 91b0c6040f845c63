/* SPDX-License-Identifier: BSD-2-Clause */
/* Tensors: what they refer to, who releases it and when, and their way through DLPack. */
#include "api/dlpack.h"
#include "base/tensor.h"
#include "check.h"
#include "motionmatcher/lora.h"
#include "motionmatcher/sampler.h"
#include "motionmatcher/trainer.h"

static const int64_t shape[] = {2, 3};

static void count_release(void *user)
{
    ++*(int *)user;
}

static void test_wrapping(void **state)
{
    (void)state;
    const float values[] = {1, 2, 3, 4, 5, 6};
    int released = 0;
    mm_tensor *tensor = NULL;
    OK(mm_tensor_wrap(&tensor, values, "f32", 2, shape, NULL, count_release, &released));
    assert_ptr_equal(mm_tensor_data(tensor), values);
    assert_string_equal(mm_tensor_dtype(tensor), "f32");
    assert_int_equal(mm_tensor_rank(tensor), 2);
    assert_memory_equal(mm_tensor_shape(tensor), shape, sizeof(shape));
    assert_int_equal(mm_tensor_strides(tensor)[0], 3);
    assert_int_equal(mm_tensor_strides(tensor)[1], 1);
    assert_int_equal(released, 0);
    mm_tensor_free(&tensor);
    assert_null(tensor);
    assert_int_equal(released, 1);
    mm_tensor_free(&tensor);
    mm_tensor_free(NULL);
}

static void test_wrong_wrapping(void **state)
{
    (void)state;
    const int64_t negative[] = {2, -1}, huge[] = {INT64_MAX, 2}, none[] = {0, 5};
    const float value = 1;
    int released = 0;
    mm_tensor *t = (mm_tensor *)1;
    FAILS(mm_tensor_wrap(NULL, &value, "f32", 0, NULL, NULL, NULL, NULL), MM_ERR_USAGE, "out");
    FAILS(mm_tensor_wrap(&t, &value, "f8", 0, NULL, NULL, NULL, NULL), MM_ERR_USAGE, "dtype");
    assert_null(t);
    FAILS(mm_tensor_wrap(&t, &value, NULL, 0, NULL, NULL, NULL, NULL), MM_ERR_USAGE, "dtype");
    FAILS(mm_tensor_wrap(&t, &value, "f32", 7, shape, NULL, NULL, NULL), MM_ERR_USAGE, "rank 7");
    FAILS(mm_tensor_wrap(&t, &value, "f32", -1, shape, NULL, NULL, NULL), MM_ERR_USAGE, "rank");
    FAILS(mm_tensor_wrap(&t, &value, "f32", 2, NULL, NULL, NULL, NULL), MM_ERR_USAGE, "shape");
    FAILS(mm_tensor_wrap(&t, &value, "f32", 2, negative, NULL, NULL, NULL), MM_ERR_USAGE, "-1");
    FAILS(mm_tensor_wrap(&t, &value, "f64", 2, huge, NULL, NULL, NULL), MM_ERR_USAGE, "shape");
    FAILS(mm_tensor_wrap(&t, NULL, "f32", 2, shape, NULL, count_release, &released), MM_ERR_USAGE,
          "data");
    assert_int_equal(released, 0);
    OK(mm_tensor_wrap(&t, NULL, "f32", 2, none, NULL, NULL, NULL));
    mm_tensor_free(&t);
    OK(mm_tensor_wrap(&t, &value, "f32", 0, NULL, NULL, NULL, NULL));
    mm_tensor_free(&t);
    assert_int_equal(mm_tensor_rank(NULL), -1);
    assert_string_equal(mm_tensor_dtype(NULL), "");
    assert_null(mm_tensor_data(NULL));
    assert_null(mm_tensor_shape(NULL));
    assert_null(mm_tensor_strides(NULL));
}

/* Out and in again: the same memory, which is released when both are gone. */
static void test_dlpack(void **state)
{
    (void)state;
    const float values[] = {1, 2, 3, 4, 5, 6};
    int released = 0;
    mm_tensor *tensor = NULL, *back = NULL;
    struct DLManagedTensorVersioned *managed = NULL;
    OK(mm_tensor_wrap(&tensor, values, "f32", 2, shape, NULL, count_release, &released));
    OK(mm_tensor_to_dlpack(tensor, &managed));
    mm_tensor_free(&tensor);
    assert_int_equal(managed->major, 1);
    assert_int_equal(managed->flags, 1); /* read-only */
    assert_ptr_equal(managed->dl_tensor.data, values);
    assert_int_equal(managed->dl_tensor.code, 2);
    assert_int_equal(managed->dl_tensor.bits, 32);
    assert_int_equal(managed->dl_tensor.lanes, 1);
    assert_int_equal(managed->dl_tensor.device_type, 1);
    assert_memory_equal(managed->dl_tensor.shape, shape, sizeof(shape));
    OK(mm_tensor_from_dlpack(&back, managed));
    assert_ptr_equal(mm_tensor_data(back), values);
    assert_string_equal(mm_tensor_dtype(back), "f32");
    assert_int_equal(released, 0);
    mm_tensor_free(&back);
    assert_int_equal(released, 1);
}

static void test_old_dlpack(void **state)
{
    (void)state;
    const uint16_t values[] = {1, 2, 3, 4, 5, 6};
    int released = 0;
    mm_tensor *tensor = NULL, *back = NULL;
    struct DLManagedTensor *managed = NULL;
    OK(mm_tensor_wrap(&tensor, values, "bf16", 2, shape, NULL, count_release, &released));
    OK(mm_tensor_to_old_dlpack(tensor, &managed));
    mm_tensor_free(&tensor);
    assert_int_equal(managed->dl_tensor.code, 4);
    OK(mm_tensor_from_old_dlpack(&back, managed));
    assert_string_equal(mm_tensor_dtype(back), "bf16");
    mm_tensor_free(&back);
    assert_int_equal(released, 1);
}

static void note_deletion(struct DLManagedTensorVersioned *self)
{
    ++*(int *)self->manager_ctx;
}

/* What is refused stays the caller's. */
static void test_foreign_dlpack(void **state)
{
    (void)state;
    int64_t size[] = {2}, strides[] = {3};
    double values[] = {0, 1, 2, 3, 4};
    int deleted = 0;
    struct DLManagedTensorVersioned given = {
        .major = 1,
        .manager_ctx = &deleted,
        .deleter = note_deletion,
        .dl_tensor = {.data = values,
                      .device_type = MM_DL_CPU,
                      .ndim = 1,
                      .code = MM_DL_FLOAT,
                      .bits = 64,
                      .lanes = 1,
                      .shape = size,
                      .strides = strides,
                      .byte_offset = sizeof(double)},
    };
    struct DLManagedTensorVersioned wrong = given;
    mm_tensor *tensor = NULL;
    wrong.major = 2;
    FAILS(mm_tensor_from_dlpack(&tensor, &wrong), MM_ERR_UNSUPPORTED, "version 2");
    wrong = given;
    wrong.dl_tensor.device_type = 2;
    FAILS(mm_tensor_from_dlpack(&tensor, &wrong), MM_ERR_USAGE, "CPU");
    wrong = given;
    wrong.dl_tensor.lanes = 4;
    FAILS(mm_tensor_from_dlpack(&tensor, &wrong), MM_ERR_USAGE, "lanes");
    wrong.dl_tensor.lanes = 1;
    wrong.dl_tensor.bits = 128;
    FAILS(mm_tensor_from_dlpack(&tensor, &wrong), MM_ERR_USAGE, "128 bits");
    wrong = given;
    wrong.dl_tensor.ndim = 99;
    FAILS(mm_tensor_from_dlpack(&tensor, &wrong), MM_ERR_USAGE, "rank 99");
    FAILS(mm_tensor_from_dlpack(&tensor, NULL), MM_ERR_USAGE, "NULL");
    FAILS(mm_tensor_from_dlpack(NULL, &given), MM_ERR_USAGE, "NULL");
    assert_int_equal(deleted, 0);
    OK(mm_tensor_from_dlpack(&tensor, &given));
    float *floats = mm_tensor_floats(tensor);
    assert_float_equal(floats[0], 1, 0);
    assert_float_equal(floats[1], 4, 0);
    mm_free(floats);
    mm_tensor_free(&tensor);
    assert_int_equal(deleted, 1);
}

/* Packed frames are the video's own; others are gathered. */
static void test_video(void **state)
{
    (void)state;
    uint8_t frames[2 * 2 * 2 * 3];
    for (size_t i = 0; i < sizeof(frames); i++)
        frames[i] = (uint8_t)i;
    const int64_t whole[] = {2, 2, 2, 3}, one[] = {1, 2, 2, 3}, strides[] = {12, 3, 6, 1};
    mm_tensor *tensor = NULL, *out = NULL;
    mm_video *video = NULL;
    OK(mm_tensor_wrap(&tensor, frames, "u8", 4, whole, NULL, NULL, NULL));
    OK(mm_video_from_tensor(&video, tensor, 12));
    mm_tensor_free(&tensor);
    OK(mm_video_tensor(video, &out));
    assert_float_equal(mm_video_fps(video), 12, 0);
    mm_video_free(&video);
    assert_ptr_equal(mm_tensor_data(out), frames);
    mm_tensor_free(&out);

    OK(mm_tensor_wrap(&tensor, frames, "u8", 4, one, strides, NULL, NULL));
    OK(mm_video_from_tensor(&video, tensor, 0));
    OK(mm_video_tensor(video, &out));
    const uint8_t *turned = mm_tensor_data(out), want[] = {0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11};
    assert_memory_equal(turned, want, sizeof(want));
    mm_tensor_free(&out);
    mm_video_free(&video);
    FAILS(mm_video_from_tensor(&video, tensor, NAN), MM_ERR_USAGE, "fps");
    FAILS(mm_video_from_tensor(&video, tensor, -1), MM_ERR_USAGE, "fps");
    FAILS(mm_video_from_tensor(&video, NULL, 8), MM_ERR_USAGE, "NULL");
    FAILS(mm_video_tensor(NULL, &out), MM_ERR_USAGE, "NULL");
    mm_tensor_free(&tensor);
    OK(mm_tensor_wrap(&tensor, frames, "u8", 2, shape, NULL, NULL, NULL));
    FAILS(mm_video_from_tensor(&video, tensor, 8), MM_ERR_USAGE, "[2, 3]");
    mm_tensor_free(&tensor);
}

typedef struct subject {
    mm_context *context;
    mm_model *model;
} subject;

static void open_subject(subject *s)
{
    mm_options *options = check_options("context", "threads", "1", NULL);
    OK(mm_context_create(&s->context, options));
    OK(mm_model_open(&s->model, s->context, FIXTURES "/quickstart-model"));
    mm_options_free(&options);
}

static void close_subject(subject *s)
{
    mm_model_free(&s->model);
    mm_context_free(&s->context);
}

/* Takes a LoRA apart and makes another one of its matrices, which stay where they are. */
static void test_lora(void **state)
{
    (void)state;
    subject s;
    open_subject(&s);
    mm_lora *lora = NULL, *again = NULL;
    mm_tensor *down = NULL, *up = NULL, *same = NULL;
    OK(mm_lora_open(&lora, s.model, FIXTURES "/lora/diffusers.safetensors"));
    OK(mm_lora_create(&again, s.model));
    assert_int_equal(mm_lora_modules(again), 0);
    for (int64_t i = mm_lora_modules(lora); i-- > 0;) {
        mm_lora_layer_info info = {.struct_size = sizeof(info)};
        OK(mm_lora_describe(lora, i, &info));
        OK(mm_lora_matrices(lora, i, &down, &up));
        assert_int_equal(mm_tensor_shape(down)[0], info.rank);
        OK(mm_lora_add_layer(again, info.path, down, up, info.alpha));
        FAILS(mm_lora_add_layer(again, info.path, down, up, 1), MM_ERR_USAGE, "there already");
        FAILS(mm_lora_add_layer(again, info.path, up, down, 1), MM_ERR_USAGE, "rank");
        FAILS(mm_lora_add_layer(again, "no.such", down, up, 1), MM_ERR_INPUT, "no.such");
        FAILS(mm_lora_add_layer(again, "conv_in", down, up, 1), MM_ERR_INPUT, "another model");
        FAILS(mm_lora_add_layer(again, "x", down, up, INFINITY), MM_ERR_USAGE, "alpha");
        mm_tensor_free(&down);
        mm_tensor_free(&up);
    }
    assert_int_equal(mm_lora_modules(again), mm_lora_modules(lora));
    OK(mm_lora_matrices(lora, 0, &down, NULL));
    OK(mm_lora_matrices(again, 0, &same, &up));
    assert_ptr_equal(mm_tensor_data(down), mm_tensor_data(same));
    mm_lora_layer_info have = {.struct_size = sizeof(have)}, want = have;
    OK(mm_lora_describe(lora, 0, &want));
    OK(mm_lora_describe(again, 0, &have));
    assert_string_equal(have.path, want.path);
    assert_float_equal(have.norm, want.norm, 0);

    /* Scaling leaves alone what was given out. */
    const float before = *(const float *)mm_tensor_data(up);
    OK(mm_lora_put_metadata(again, "mm_min_timestep", "300"));
    assert_string_equal(mm_lora_metadata(again, "mm_min_timestep"), "300");
    FAILS(mm_lora_put_metadata(again, "x", "\xff"), MM_ERR_USAGE, "UTF-8");
    OK(mm_lora_scale(again, 2));
    assert_float_equal(*(const float *)mm_tensor_data(up), before, 0);
    mm_lora_free(&again);
    mm_lora_free(&lora);
    assert_float_equal(*(const float *)mm_tensor_data(up), before, 0);
    mm_tensor_free(&down);
    mm_tensor_free(&up);
    mm_tensor_free(&same);
    FAILS(mm_lora_matrices(NULL, 0, &down, &up), MM_ERR_USAGE, "no such layer");
    FAILS(mm_lora_create(&lora, NULL), MM_ERR_USAGE, "NULL");
    close_subject(&s);
}

/* A video without any file, drawn again from its own start. */
static void test_sampling(void **state)
{
    (void)state;
    subject s;
    open_subject(&s);
    mm_options *options = check_options("sample", "prompt", "a circle", "width", "16", "height",
                                        "16", "num_frames", "2", "num_steps", "2", NULL);
    mm_sampler *sampler = NULL;
    mm_video *video = NULL, *other_video = NULL;
    mm_tensor *first = NULL, *start = NULL, *second = NULL, *frames = NULL;
    OK(mm_sampler_create(&sampler, s.model, options));
    FAILS(mm_sampler_latents(sampler, &first), MM_ERR_USAGE, "nothing was drawn");
    FAILS(mm_sampler_inversion(sampler, &first), MM_ERR_USAGE, "nothing was inverted");
    OK(mm_sampler_run(sampler, &video));
    OK(mm_sampler_latents(sampler, &first));
    OK(mm_video_tensor(video, &frames));
    const int64_t *size = mm_tensor_shape(first);
    assert_int_equal(mm_tensor_rank(first), 5);
    assert_int_equal(size[1], 4);
    assert_int_equal(size[2], 2);
    assert_int_equal(mm_tensor_strides(first)[1], 1);
    assert_int_equal(mm_tensor_shape(frames)[1], 16);

    /* Another start, other latents; the first ones stay. */
    float *before = mm_tensor_floats(first);
    OK(mm_tensor_wrap(&start, before, "f32", 5, size, NULL, NULL, NULL));
    OK(mm_sampler_set_init_latents(sampler, start));
    OK(mm_sampler_run(sampler, &other_video));
    mm_video_free(&other_video);
    OK(mm_sampler_latents(sampler, &second));
    float *after = mm_tensor_floats(first), *other = mm_tensor_floats(second);
    const size_t bytes = (size_t)mm_shape_elements(&first->shape) * sizeof(float);
    assert_memory_equal(before, after, bytes);
    assert_memory_not_equal(before, other, bytes);
    mm_free(other);

    OK(mm_sampler_set_init_latents(sampler, NULL));
    OK(mm_sampler_run(sampler, &other_video));
    mm_video_free(&other_video);
    mm_tensor_free(&second);
    OK(mm_sampler_latents(sampler, &second));
    other = mm_tensor_floats(second);
    assert_memory_equal(before, other, bytes);
    mm_tensor_free(&start);
    OK(mm_tensor_wrap(&start, before, "f32", 2, size, NULL, NULL, NULL));
    FAILS(mm_sampler_set_init_latents(sampler, start), MM_ERR_USAGE, "init latents");

    mm_free(before);
    mm_free(after);
    mm_free(other);
    mm_tensor_free(&first);
    mm_tensor_free(&second);
    mm_tensor_free(&start);
    mm_tensor_free(&frames);
    mm_video_free(&video);
    mm_sampler_free(&sampler);
    mm_options_free(&options);
    close_subject(&s);
}

typedef struct steps {
    int count;
    double spatial, loss, temporal;
    int64_t timestep;
} steps;

static int32_t note_step(void *user, const mm_event *event)
{
    steps *seen = user;
    if (event->kind != MM_EVENT_STEP)
        return 0;
    *seen = (steps){seen->count + 1, event->loss_spatial, event->loss, event->loss_temporal,
                    event->timestep};
    return seen->count == 2;
}

/* Trains without a directory: the LoRA comes from the trainer, and says what it was trained for. */
static void test_training(void **state)
{
    (void)state;
    subject s;
    open_subject(&s);
    static const uint8_t frames[2 * 16 * 16 * 3];
    mm_options *options = check_options("train", "width", "16", "height", "16", "num_frames", "2",
                                        "rank", "2", "steps", "9", "validation_every", "0", NULL);
    steps seen = {0};
    mm_trainer *trainer = NULL;
    mm_video *video = NULL;
    mm_lora *before = NULL, *after = NULL;
    OK(mm_trainer_create(&trainer, s.model, options));
    OK(mm_trainer_lora(trainer, &before));
    assert_null(mm_lora_metadata(before, "mm_prompt"));
    OK(check_video(&video, frames, 2, 16, 16));
    OK(mm_trainer_add_clip(trainer, video, "a test"));
    mm_context_set_events(s.context, note_step, &seen);
    FAILS(mm_trainer_run(trainer), MM_ERR_CANCELLED, "step 2");
    assert_int_equal(seen.count, 2);
    assert_float_equal(seen.loss, seen.spatial + seen.temporal, 1e-6 * fabs(seen.loss));
    assert_true(seen.timestep >= 500 && seen.timestep < 1000);
    OK(mm_trainer_lora(trainer, &after));
    mm_trainer_free(&trainer);
    assert_string_equal(mm_lora_metadata(after, "mm_prompt"), "a test");
    assert_string_equal(mm_lora_metadata(after, "mm_min_timestep"), "500");
    assert_int_equal(mm_lora_modules(before), mm_lora_modules(after));
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    OK(mm_lora_describe(before, 0, &info));
    assert_float_equal(info.norm, 0, 0);
    OK(mm_lora_describe(after, 0, &info));
    assert_true(info.norm > 0);
    mm_lora_free(&before);
    mm_lora_free(&after);
    mm_video_free(&video);
    mm_options_free(&options);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrapping),       cmocka_unit_test(test_wrong_wrapping),
        cmocka_unit_test(test_dlpack),         cmocka_unit_test(test_old_dlpack),
        cmocka_unit_test(test_foreign_dlpack), cmocka_unit_test(test_video),
        cmocka_unit_test(test_lora),           cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

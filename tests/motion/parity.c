/* SPDX-License-Identifier: BSD-2-Clause */
/* Training steps, sampling and inversion through the public handles, against PyTorch in float64
   (tests/parity/make_fixtures.py). */
#include "in_f32.h"

#include "motionmatcher/sampler.h"
#include "motionmatcher/trainer.h"

#define PARITY FIXTURES "/parity/"

static mm_model *open_model(const char *name)
{
    mm_model *model = NULL;
    char *path = mm_format("%s/%s", FIXTURES, name);
    OK(mm_model_open(&model, context, path));
    mm_free(path);
    return model;
}

/* Largest difference of one kind of tensor, and of all its tensors together in norm. */
static void compare_kind(const mm_tensor_file *have, const mm_tensor_file *want, const char *prefix,
                         double each, double together)
{
    double squares = 0.0, differences = 0.0;
    for (size_t i = 0; i < mm_tensor_file_count(want); i++) {
        const char *name = mm_tensor_file_info(want, i)->name;
        if (strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        size_t n, m;
        float *a = check_read(have, name, &n), *b = check_read(want, name, &m);
        assert_int_equal(n, m);
        if (check_difference(a, b, n) > each)
            fail_msg("%s differs by %g", name, check_difference(a, b, n));
        for (size_t k = 0; k < n; k++) {
            squares += (double)b[k] * b[k];
            differences += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
        }
        free(a);
        free(b);
    }
    if (sqrt(differences) > together * sqrt(squares))
        fail_msg("%s tensors together differ by %g", prefix, sqrt(differences / squares));
}

static bool is_number(const char *name)
{
    return strncmp(name, "grad.", 5) != 0 && strncmp(name, "lora.", 5) != 0 &&
           strcmp(name, "token_ids") != 0;
}

/* Of the loss, and of every other tensor but gradients and LoRA. */
typedef struct limits {
    double loss, tensor;
} limits;

static const limits one_step = {1e-4, 1e-5};

static void compare_replay(const char *have_path, const char *want_path, limits most)
{
    mm_tensor_file *have = check_open(have_path), *want = check_open(want_path);
    for (size_t i = 0; i < mm_tensor_file_count(want); i++) {
        const char *name = mm_tensor_file_info(want, i)->name;
        /* The parts of the loss lose more to cancellation than the loss they add up to. */
        double limit = strncmp(name, "loss_", 5) == 0 ? 3 * most.loss
                       : strcmp(name, "loss") == 0    ? most.loss
                                                      : most.tensor;
        if (is_number(name) && check_tensor(have, want, name) > limit)
            fail_msg("%s differs by %g", name, check_tensor(have, want, name));
    }
    compare_kind(have, want, "grad.", 3e-3, 1e-3);
    compare_kind(have, want, "lora.", 1e-3, 1e-3);
    mm_tensor_file_close(&have);
    mm_tensor_file_close(&want);
}

static void replay(const char *model_name, const char *input, const char *expected,
                   mm_options *options, limits most)
{
    mm_model *model = open_model(model_name);
    mm_trainer *trainer = NULL;
    char *in = mm_format("%s%s.safetensors", PARITY, input);
    char *want = mm_format("%s%s.safetensors", PARITY, expected);
    char *out = mm_format("%s/%s.safetensors", scratch, expected);
    OK(mm_trainer_create(&trainer, model, options));
    OK(mm_trainer_replay(trainer, in, out));
    compare_replay(out, want, most);
    mm_trainer_free(&trainer);
    mm_model_free(&model);
    mm_options_free(&options);
    mm_free(in);
    mm_free(want);
    mm_free(out);
}

static const char prompt[] = "A dog is sitting in the snow.";

static void test_motion_step(void **state)
{
    (void)state;
    replay("quickstart-model", "quickstart-model-replay-in", "quickstart-model-replay-out",
           check_options("train", "prompt", prompt, NULL), one_step);
}

/* The maps of one small DDIM step differ little, so single precision shows: PyTorch's own float32
   losses are off by up to 1.4e-4 on these numbers. */
static void test_five_steps(void **state)
{
    (void)state;
    replay("quickstart-model", "quickstart-model-replay-5-steps-in",
           "quickstart-model-replay-5-steps-out", check_options("train", "prompt", prompt, NULL),
           (limits){2e-4, 3e-5});
}

static void test_velocity_and_scales(void **state)
{
    (void)state;
    replay("tiny-v-model", "tiny-v-model-replay-in", "tiny-v-model-replay-out",
           check_options("train", "prompt", prompt, "spatial_weight", "8000", "temporal_weight",
                         "800", "temporal_scale_factor", "1", "num_denoise_steps", "7", NULL),
           one_step);
}

static void test_ddpm_step(void **state)
{
    (void)state;
    replay("tiny-v-model", "tiny-v-model-replay-in", "tiny-v-model-replay-ddpm-out",
           check_options("train", "prompt", prompt, "objective", "ddpm", NULL), one_step);
}

/* Copies the named tensor of a fixture into a file of its own. */
static char *extract(const char *fixture, const char *name)
{
    mm_error error = {0};
    char *from = mm_format("%s%s.safetensors", PARITY, fixture);
    char *to = mm_format("%s/%s-%s.safetensors", scratch, fixture, name);
    mm_tensor_file *file = check_open(from);
    size_t count;
    float *values = check_read(file, name, &count);
    const mm_tensor_info *info = mm_tensor_file_info(file, (size_t)mm_tensor_file_find(file, name));
    mm_tensor_entry entry = {"latents", MM_F32, info->shape, values};
    assert_int_equal(mm_safetensors_write(to, &entry, 1, NULL, 0, &error), MM_OK);
    mm_tensor_file_close(&file);
    free(values);
    mm_free(from);
    return to;
}

static void compare_output(const char *path, const char *tensor, const char *fixture,
                           const char *expected)
{
    char *want_path = mm_format("%s%s.safetensors", PARITY, fixture);
    mm_tensor_file *have = check_open(path), *want = check_open(want_path);
    size_t n, m;
    float *a = check_read(have, tensor, &n), *b = check_read(want, expected, &m);
    assert_int_equal(n, m);
    if (check_difference(a, b, n) > 1e-4)
        fail_msg("%s differs by %g", expected, check_difference(a, b, n));
    free(a);
    free(b);
    mm_tensor_file_close(&have);
    mm_tensor_file_close(&want);
    mm_free(want_path);
}

/* A file with the LoRA alone: a replay's input holds other tensors too. */
static char *extract_lora(const char *fixture)
{
    mm_error error = {0};
    char *from = mm_format("%s%s.safetensors", PARITY, fixture);
    char *to = mm_format("%s/%s-lora.safetensors", scratch, fixture);
    mm_tensor_file *file = check_open(from);
    mm_tensor_entry entries[1024];
    size_t count = 0, n;
    for (size_t i = 0; i < mm_tensor_file_count(file); i++) {
        const mm_tensor_info *info = mm_tensor_file_info(file, i);
        if (strstr(info->name, ".lora_") && count < 1024)
            entries[count++] = (mm_tensor_entry){info->name, MM_F32, info->shape,
                                                 check_read(file, info->name, &n)};
    }
    assert_int_equal(mm_safetensors_write(to, entries, count, NULL, 0, &error), MM_OK);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entries[i].data);
    mm_tensor_file_close(&file);
    mm_free(from);
    return to;
}

typedef struct geometry {
    const char *width, *height, *frames;
} geometry;

static void sample(const char *name, geometry size)
{
    char *sampling = mm_format("%s-sampling", name), *replay_in = mm_format("%s-replay-in", name);
    char *start = extract(sampling, "init_latents"), *reference = extract(sampling, "latents");
    char *lora = extract_lora(replay_in), *final = mm_format("%s/final.safetensors", scratch);
    char *inverted = mm_format("%s/inverted.safetensors", scratch);
    mm_model *model = open_model(name);
    for (int with_prior = 0; with_prior < 2; with_prior++) {
        mm_options *options = check_options(
            "sample", "prompt", prompt, "num_steps", "6", "guidance_scale", "12", "min_timestep",
            "500", "width", size.width, "height", size.height, "num_frames", size.frames,
            "steps_only", "true", "init_latents", start, "lora", lora, "save_latents", final, NULL);
        if (with_prior) {
            OK(mm_options_set(options, "noise_prior", "0.3", MM_SOURCE_SET));
            OK(mm_options_set(options, "reference_latents", reference, MM_SOURCE_SET));
            OK(mm_options_set(options, "save_inversion", inverted, MM_SOURCE_SET));
        }
        mm_sampler *sampler = NULL;
        OK(mm_sampler_create(&sampler, model, options));
        OK(mm_sampler_run(sampler, NULL));
        compare_output(final, "latents", sampling,
                       with_prior ? "prior_final_latents" : "final_latents");
        mm_sampler_free(&sampler);
        mm_options_free(&options);
    }
    compare_output(inverted, "inversion_noise", sampling, "inversion_noise");
    mm_model_free(&model);
    char *texts[] = {sampling, replay_in, start, reference, lora, final, inverted};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        mm_free(texts[i]);
}

static void test_sampling(void **state)
{
    (void)state;
    sample("quickstart-model", (geometry){"40", "24", "3"});
}

static void test_sampling_velocity(void **state)
{
    (void)state;
    sample("tiny-v-model", (geometry){"14", "18", "4"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_motion_step),
        cmocka_unit_test(test_five_steps),
        cmocka_unit_test(test_velocity_and_scales),
        cmocka_unit_test(test_ddpm_step),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_sampling_velocity),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Model, extractor, sampler and trainer with wrong arguments. */
#include "walk.h"

#include "base/file.h"

void walk_mm_model_open(void)
{
    mm_model *out;
    REFUSED(mm_model_open(NULL, walk_context, WALK_MODEL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_model_open(&out, NULL, WALK_MODEL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_model_open(&out, walk_context, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_model_open(&out, walk_context, walk_missing), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_model_open(&out, walk_context, walk_file), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_model_open(&out, walk_context, walk_scratch), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_model_open(&out, walk_context, ""), MM_ERR_INPUT);
}

void walk_mm_model_free(void)
{
    mm_model *none = NULL;
    mm_model_free(NULL);
    mm_model_free(&none);
}

void walk_mm_model_vae_factor(void)
{
    assert_int_equal(mm_model_vae_factor(NULL), 0);
}

void walk_mm_model_tokenize(void)
{
    int64_t ids[77];
    REFUSED(mm_model_tokenize(NULL, "a", ids), MM_ERR_USAGE);
    REFUSED(mm_model_tokenize(walk_model, NULL, ids), MM_ERR_USAGE);
    REFUSED(mm_model_tokenize(walk_model, "a", NULL), MM_ERR_USAGE);
    REFUSED(mm_model_tokenize(walk_model, NOT_UTF8, ids), MM_ERR_USAGE);
}

static mm_extractor *extractor(void)
{
    mm_options *options = walk_options("features");
    mm_extractor *out = NULL;
    OK(mm_options_set(options, "spatial_scale_factor", "2", MM_SOURCE_SET));
    OK(mm_options_set(options, "temporal_scale_factor", "2", MM_SOURCE_SET));
    OK(mm_extractor_create(&out, walk_model, options));
    mm_options_free(&options);
    return out;
}

/* One setting that does not fit the model or the files. */
static void refuse_features(const char *key, const char *value, mm_status status)
{
    mm_options *options = walk_options("features");
    mm_extractor *out;
    OK(mm_options_set(options, key, value, MM_SOURCE_SET));
    REFUSED_OUT(out, mm_extractor_create(&out, walk_model, options), status);
    mm_options_free(&options);
}

void walk_mm_extractor_create(void)
{
    mm_options *features = walk_options("features"), *train = walk_options("train");
    mm_extractor *out;
    REFUSED(mm_extractor_create(NULL, walk_model, features), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_extractor_create(&out, NULL, features), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_extractor_create(&out, walk_model, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_extractor_create(&out, walk_model, train), MM_ERR_USAGE);
    refuse_features("width", "33", MM_ERR_USAGE);
    refuse_features("timestep", "1000", MM_ERR_USAGE);
    refuse_features("spatial_scale_factor", "128", MM_ERR_USAGE);
    refuse_features("noise", walk_missing, MM_ERR_INPUT);
    refuse_features("noise", walk_scratch, MM_ERR_INPUT);
    refuse_features("noise", walk_garbage, MM_ERR_INPUT);
    refuse_features("noise", walk_noise_i64, MM_ERR_INPUT);
    refuse_features("output", walk_scratch, MM_ERR_RUNTIME);
    mm_options_free(&train);
    mm_options_free(&features);
}

void walk_mm_extractor_free(void)
{
    mm_extractor *none = NULL;
    mm_extractor_free(NULL);
    mm_extractor_free(&none);
}

void walk_mm_extractor_plan(void)
{
    REFUSED(mm_extractor_plan(NULL), MM_ERR_USAGE);
}

void walk_mm_extractor_set_video(void)
{
    static const uint8_t data[3 * 64];
    mm_extractor *x = extractor();
    mm_video *other = NULL;
    OK(check_video(&other, data, 1, 8, 8));
    REFUSED(mm_extractor_set_video(NULL, walk_video, "a"), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_video(x, NULL, "a"), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_video(x, walk_video, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_video(x, walk_video, NOT_UTF8), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_video(x, other, "a"), MM_ERR_USAGE);
    mm_video_free(&other);
    mm_extractor_free(&x);
}

/* Zeros, never read. */
static mm_tensor *tensor(const char *dtype, int32_t rank, const int64_t *shape)
{
    static const float zeros[2 * 4 * 16 * 16 * 2];
    mm_tensor *out = NULL;
    OK(mm_tensor_wrap(&out, zeros, dtype, rank, shape, NULL, NULL, NULL));
    return out;
}

/* Latents of 2 frames of 32x32 that are not. */
static void each_wrong_latents(void (*refuse)(void *user, const mm_tensor *wrong), void *user)
{
    static const int64_t good[] = {1, 4, 2, 16, 16}, short_of_one[] = {1, 4, 2, 16, 15};
    static const int64_t two[] = {2, 4, 2, 16, 8}, turned[] = {4, 2, 256}, none[] = {0};
    mm_tensor *wrong[] = {tensor("i32", 5, good), tensor("f32", 5, short_of_one),
                          tensor("f32", 5, two),  tensor("f32", 3, turned),
                          tensor("f32", 1, none), tensor("f32", 0, NULL)};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        refuse(user, wrong[i]);
        mm_tensor_free(&wrong[i]);
    }
}

static void refuse_latents(void *user, const mm_tensor *wrong)
{
    REFUSED(mm_extractor_set_latents(user, wrong, "a"), MM_ERR_USAGE);
}

void walk_mm_extractor_set_latents(void)
{
    static const int64_t shape[] = {4, 2, 16, 16};
    mm_extractor *x = extractor();
    mm_tensor *latents = tensor("f32", 4, shape);
    REFUSED(mm_extractor_set_latents(NULL, latents, "a"), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_latents(x, NULL, "a"), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_latents(x, latents, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_set_latents(x, latents, NOT_UTF8), MM_ERR_USAGE);
    each_wrong_latents(refuse_latents, x);
    mm_tensor_free(&latents);
    mm_extractor_free(&x);
}

void walk_mm_extractor_run(void)
{
    mm_extractor *x = extractor();
    REFUSED(mm_extractor_run(NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_run(x), MM_ERR_USAGE);
    OK(mm_extractor_set_video(x, walk_video, "a"));
    REFUSED(mm_extractor_run(x), MM_ERR_USAGE);
    mm_extractor_free(&x);
}

static void refuse_noise(void *user, const mm_tensor *wrong)
{
    REFUSED(mm_extractor_run_at(user, 500, wrong), MM_ERR_USAGE);
}

void walk_mm_extractor_run_at(void)
{
    mm_extractor *x = extractor();
    REFUSED(mm_extractor_run_at(NULL, 500, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_run_at(x, 500, NULL), MM_ERR_USAGE);
    OK(mm_extractor_set_video(x, walk_video, "a"));
    REFUSED(mm_extractor_run_at(x, -1, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_run_at(x, 1000, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_run_at(x, INT64_MAX, NULL), MM_ERR_USAGE);
    each_wrong_latents(refuse_noise, x);
    mm_extractor_free(&x);
}

void walk_mm_extractor_ca(void)
{
    mm_extractor *x = extractor();
    mm_tensor *out;
    REFUSED_OUT(out, mm_extractor_ca(NULL, &out), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_extractor_ca(x, &out), MM_ERR_USAGE);
    REFUSED(mm_extractor_ca(x, NULL), MM_ERR_USAGE);
    mm_extractor_free(&x);
}

void walk_mm_extractor_tsa(void)
{
    mm_extractor *x = extractor();
    mm_tensor *out;
    REFUSED_OUT(out, mm_extractor_tsa(NULL, &out), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_extractor_tsa(x, &out), MM_ERR_USAGE);
    REFUSED(mm_extractor_tsa(x, NULL), MM_ERR_USAGE);
    mm_extractor_free(&x);
}

void walk_mm_extractor_tokens(void)
{
    mm_extractor *x = extractor();
    assert_int_equal(mm_extractor_tokens(NULL), 0);
    assert_int_equal(mm_extractor_tokens(x), 0);
    mm_extractor_free(&x);
}

void walk_mm_extractor_token(void)
{
    mm_extractor *x = extractor();
    assert_null(mm_extractor_token(NULL, 0));
    assert_null(mm_extractor_token(x, 0));
    OK(mm_extractor_set_video(x, walk_video, "a"));
    assert_non_null(mm_extractor_token(x, 0));
    assert_null(mm_extractor_token(x, -1));
    assert_null(mm_extractor_token(x, mm_extractor_tokens(x)));
    mm_extractor_free(&x);
}

void walk_mm_extractor_write(void)
{
    mm_extractor *x = extractor();
    char *below_a_file = mm_path_join(walk_file, "maps.safetensors");
    REFUSED(mm_extractor_write(NULL, "maps.safetensors"), MM_ERR_USAGE);
    REFUSED(mm_extractor_write(x, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_write(x, "maps.safetensors"), MM_ERR_USAGE);
    OK(mm_extractor_set_video(x, walk_video, "a"));
    OK(mm_extractor_run_at(x, 500, NULL));
    REFUSED(mm_extractor_write(x, walk_scratch), MM_ERR_RUNTIME);
    REFUSED(mm_extractor_write(x, below_a_file), MM_ERR_RUNTIME);
    REFUSED(mm_extractor_write(x, ""), MM_ERR_RUNTIME);
    mm_free(below_a_file);
    mm_extractor_free(&x);
}

void walk_mm_extractor_write_pictures(void)
{
    mm_extractor *x = extractor();
    bool ffmpeg = strcmp(mm_video_backend_versions(), "none") != 0;
    REFUSED(mm_extractor_write_pictures(NULL, walk_scratch), MM_ERR_USAGE);
    REFUSED(mm_extractor_write_pictures(x, NULL), MM_ERR_USAGE);
    REFUSED(mm_extractor_write_pictures(x, walk_scratch), MM_ERR_USAGE);
    OK(mm_extractor_set_video(x, walk_video, "a"));
    OK(mm_extractor_run_at(x, 500, NULL));
    REFUSED(mm_extractor_write_pictures(x, walk_file),
            ffmpeg ? MM_ERR_RUNTIME : MM_ERR_UNSUPPORTED);
    mm_extractor_free(&x);
}

static mm_options *sample_options(void)
{
    mm_options *options = walk_options("sample");
    OK(mm_options_set(options, "prompt", "a", MM_SOURCE_SET));
    OK(mm_options_set(options, "num_steps", "1", MM_SOURCE_SET));
    return options;
}

static mm_sampler *sampler(void)
{
    mm_options *options = sample_options();
    mm_sampler *out = NULL;
    OK(mm_sampler_create(&out, walk_model, options));
    mm_options_free(&options);
    return out;
}

static void refuse_sample(const char *key, const char *value, mm_status status)
{
    mm_options *options = sample_options();
    mm_sampler *out;
    OK(mm_options_set(options, key, value, MM_SOURCE_SET));
    REFUSED_OUT(out, mm_sampler_create(&out, walk_model, options), status);
    mm_options_free(&options);
}

void walk_mm_sampler_complete_options(void)
{
    mm_options *sample = walk_options("sample"), *train = walk_options("train");
    REFUSED(mm_sampler_complete_options(NULL), MM_ERR_USAGE);
    REFUSED(mm_sampler_complete_options(train), MM_ERR_USAGE);
    OK(mm_sampler_complete_options(sample));
    OK(mm_options_set(sample, "checkpoint_folder", walk_missing, MM_SOURCE_SET));
    REFUSED(mm_sampler_complete_options(sample), MM_ERR_INPUT);
    OK(mm_options_set(sample, "checkpoint_folder", walk_file, MM_SOURCE_SET));
    REFUSED(mm_sampler_complete_options(sample), MM_ERR_INPUT);
    mm_options_free(&train);
    mm_options_free(&sample);
}

void walk_mm_sampler_create(void)
{
    mm_options *sample = sample_options(), *train = walk_options("train");
    mm_options *silent = walk_options("sample");
    mm_sampler *out;
    char *below_a_file = mm_path_join(walk_file, "clip.gif");
    REFUSED(mm_sampler_create(NULL, walk_model, sample), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_sampler_create(&out, NULL, sample), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_sampler_create(&out, walk_model, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_sampler_create(&out, walk_model, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_sampler_create(&out, walk_model, silent), MM_ERR_USAGE);
    refuse_sample("height", "33", MM_ERR_USAGE);
    refuse_sample("lora", walk_missing, MM_ERR_INPUT);
    refuse_sample("lora", walk_garbage, MM_ERR_INPUT);
    refuse_sample("lora", walk_scratch, MM_ERR_INPUT);
    refuse_sample("noise_prior", "0.5", MM_ERR_USAGE);
    refuse_sample("init_latents", walk_noise_i64, MM_ERR_INPUT);
    refuse_sample("init_latents", walk_scratch, MM_ERR_INPUT);
    refuse_sample("save_latents", walk_scratch, MM_ERR_RUNTIME);
    refuse_sample("save_latents", below_a_file, MM_ERR_RUNTIME);
    refuse_sample("output_dir", walk_file, MM_ERR_RUNTIME);
    refuse_sample("checkpoint_folder", walk_file, MM_ERR_INPUT);
    mm_free(below_a_file);
    mm_options_free(&silent);
    mm_options_free(&train);
    mm_options_free(&sample);
}

void walk_mm_sampler_free(void)
{
    mm_sampler *none = NULL;
    mm_sampler_free(NULL);
    mm_sampler_free(&none);
}

void walk_mm_sampler_plan(void)
{
    REFUSED(mm_sampler_plan(NULL), MM_ERR_USAGE);
}

/* A context that was stopped before refuses to begin. */
void walk_mm_sampler_run(void)
{
    mm_sampler *s = sampler();
    mm_video *out;
    REFUSED_OUT(out, mm_sampler_run(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_sampler_run(s, NULL), MM_ERR_USAGE);
    mm_context_cancel(walk_context);
    REFUSED_OUT(out, mm_sampler_run(s, &out), MM_ERR_CANCELLED);
    mm_context_resume(walk_context);
    OK(mm_sampler_run(s, &out));
    assert_int_equal(mm_video_frames(out), WALK_FRAMES);
    mm_video_free(&out);
    mm_sampler_free(&s);
}

static void refuse_start(void *user, const mm_tensor *wrong)
{
    REFUSED(mm_sampler_set_init_latents(user, wrong), MM_ERR_USAGE);
}

void walk_mm_sampler_set_init_latents(void)
{
    mm_sampler *s = sampler();
    REFUSED(mm_sampler_set_init_latents(NULL, NULL), MM_ERR_USAGE);
    each_wrong_latents(refuse_start, s);
    OK(mm_sampler_set_init_latents(s, NULL));
    mm_sampler_free(&s);
}

void walk_mm_sampler_latents(void)
{
    mm_sampler *s = sampler();
    mm_tensor *out;
    REFUSED_OUT(out, mm_sampler_latents(NULL, &out), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_sampler_latents(s, &out), MM_ERR_USAGE);
    REFUSED(mm_sampler_latents(s, NULL), MM_ERR_USAGE);
    mm_sampler_free(&s);
}

void walk_mm_sampler_inversion(void)
{
    mm_sampler *s = sampler();
    mm_tensor *out;
    REFUSED_OUT(out, mm_sampler_inversion(NULL, &out), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_sampler_inversion(s, &out), MM_ERR_USAGE);
    REFUSED(mm_sampler_inversion(s, NULL), MM_ERR_USAGE);
    mm_sampler_free(&s);
}

static mm_trainer *trainer(void)
{
    mm_options *options = walk_options("train");
    mm_trainer *out = NULL;
    OK(mm_options_set(options, "rank", "1", MM_SOURCE_SET));
    OK(mm_options_set(options, "spatial_scale_factor", "2", MM_SOURCE_SET));
    OK(mm_options_set(options, "temporal_scale_factor", "2", MM_SOURCE_SET));
    OK(mm_trainer_create(&out, walk_model, options));
    mm_options_free(&options);
    return out;
}

static void refuse_train(const char *key, const char *value, mm_status status)
{
    mm_options *options = walk_options("train");
    mm_trainer *out;
    OK(mm_options_set(options, key, value, MM_SOURCE_SET));
    REFUSED_OUT(out, mm_trainer_create(&out, walk_model, options), status);
    mm_options_free(&options);
}

void walk_mm_trainer_create(void)
{
    mm_options *train = walk_options("train"), *sample = walk_options("sample");
    mm_trainer *out;
    REFUSED(mm_trainer_create(NULL, walk_model, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_trainer_create(&out, NULL, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_trainer_create(&out, walk_model, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_trainer_create(&out, walk_model, sample), MM_ERR_USAGE);
    refuse_train("width", "33", MM_ERR_USAGE);
    refuse_train("min_timestep", "1000", MM_ERR_USAGE);
    refuse_train("spatial_scale_factor", "128", MM_ERR_USAGE);
    refuse_train("output_dir", walk_file, MM_ERR_RUNTIME);
    mm_options_free(&sample);
    mm_options_free(&train);
}

void walk_mm_trainer_complete_options(void)
{
    mm_options *sample = walk_options("sample");
    REFUSED(mm_trainer_complete_options(NULL), MM_ERR_USAGE);
    REFUSED(mm_trainer_complete_options(sample), MM_ERR_USAGE);
    mm_options_free(&sample);
}

void walk_mm_trainer_load_options(void)
{
    mm_options *train = walk_options("train"), *sample = walk_options("sample");
    REFUSED(mm_trainer_load_options(NULL, walk_scratch), MM_ERR_USAGE);
    REFUSED(mm_trainer_load_options(sample, walk_scratch), MM_ERR_USAGE);
    REFUSED(mm_trainer_load_options(train, NULL), MM_ERR_USAGE);
    REFUSED(mm_trainer_load_options(train, walk_missing), MM_ERR_INPUT);
    REFUSED(mm_trainer_load_options(train, walk_file), MM_ERR_INPUT);
    REFUSED(mm_trainer_load_options(train, walk_scratch), MM_ERR_INPUT);
    mm_options_free(&sample);
    mm_options_free(&train);
}

void walk_mm_trainer_resume(void)
{
    mm_options *train = walk_options("train");
    mm_trainer *out;
    REFUSED_OUT(out, mm_trainer_resume(&out, walk_model, train), MM_ERR_USAGE);
    OK(mm_options_set(train, "output_dir", walk_missing, MM_SOURCE_SET));
    REFUSED(mm_trainer_resume(NULL, walk_model, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_trainer_resume(&out, NULL, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_trainer_resume(&out, walk_model, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_trainer_resume(&out, walk_model, train), MM_ERR_INPUT);
    OK(mm_options_set(train, "output_dir", walk_file, MM_SOURCE_SET));
    REFUSED_OUT(out, mm_trainer_resume(&out, walk_model, train), MM_ERR_INPUT);
    mm_options_free(&train);
}

void walk_mm_trainer_free(void)
{
    mm_trainer *none = NULL;
    mm_trainer_free(NULL);
    mm_trainer_free(&none);
}

void walk_mm_trainer_add_clip(void)
{
    static const uint8_t data[3 * 64];
    mm_trainer *t = trainer();
    mm_video *other = NULL;
    OK(check_video(&other, data, 1, 8, 8));
    REFUSED(mm_trainer_add_clip(NULL, walk_video, "a"), MM_ERR_USAGE);
    REFUSED(mm_trainer_add_clip(t, NULL, "a"), MM_ERR_USAGE);
    REFUSED(mm_trainer_add_clip(t, walk_video, NULL), MM_ERR_USAGE);
    REFUSED(mm_trainer_add_clip(t, walk_video, NOT_UTF8), MM_ERR_USAGE);
    REFUSED(mm_trainer_add_clip(t, other, "a"), MM_ERR_USAGE);
    mm_video_free(&other);
    mm_trainer_free(&t);
}

void walk_mm_trainer_plan(void)
{
    REFUSED(mm_trainer_plan(NULL), MM_ERR_USAGE);
}

void walk_mm_trainer_run(void)
{
    mm_trainer *t = trainer();
    REFUSED(mm_trainer_run(NULL), MM_ERR_USAGE);
    REFUSED(mm_trainer_run(t), MM_ERR_USAGE);
    mm_trainer_free(&t);
}

void walk_mm_trainer_replay(void)
{
    mm_trainer *t = trainer();
    char *out = mm_path_join(walk_scratch, "replay.safetensors");
    REFUSED(mm_trainer_replay(NULL, walk_file, out), MM_ERR_USAGE);
    REFUSED(mm_trainer_replay(t, NULL, out), MM_ERR_USAGE);
    REFUSED(mm_trainer_replay(t, walk_file, NULL), MM_ERR_USAGE);
    REFUSED(mm_trainer_replay(t, walk_missing, out), MM_ERR_INPUT);
    REFUSED(mm_trainer_replay(t, walk_scratch, out), MM_ERR_INPUT);
    REFUSED(mm_trainer_replay(t, walk_garbage, out), MM_ERR_INPUT);
    REFUSED(mm_trainer_replay(t, walk_noise_i64, out), MM_ERR_INPUT);
    assert_false(mm_path_is_file(out));
    mm_free(out);
    mm_trainer_free(&t);
}

void walk_mm_trainer_lora(void)
{
    mm_trainer *t = trainer();
    mm_lora *out;
    REFUSED_OUT(out, mm_trainer_lora(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_trainer_lora(t, NULL), MM_ERR_USAGE);
    mm_trainer_free(&t);
}

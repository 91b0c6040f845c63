/* SPDX-License-Identifier: BSD-2-Clause */
/* LoRAs, evaluation and retrieval with wrong arguments. */
#include "walk.h"

#include "base/file.h"

#define LORA FIXTURES "/lora/diffusers.safetensors"
#define LIST FIXTURES "/lora/temporal.pt"
#define CLIP FIXTURES "/evaluation/clip"

static mm_lora *lora(void)
{
    mm_lora *out = NULL;
    OK(mm_lora_open(&out, walk_model, LORA));
    return out;
}

/* A list without names, which cannot be changed or saved. */
static mm_lora *list(void)
{
    mm_lora *out = NULL;
    OK(mm_lora_open_alone(&out, walk_context, LIST));
    return out;
}

void walk_mm_lora_open(void)
{
    mm_lora *out;
    REFUSED(mm_lora_open(NULL, walk_model, LORA), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_open(&out, NULL, LORA), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_open(&out, walk_model, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_open(&out, walk_model, walk_missing), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_lora_open(&out, walk_model, walk_scratch), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_lora_open(&out, walk_model, walk_garbage), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_lora_open(&out, walk_model, walk_noise_i64), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_lora_open(&out, walk_model, ""), MM_ERR_INPUT);
}

void walk_mm_lora_open_alone(void)
{
    mm_lora *out;
    REFUSED(mm_lora_open_alone(NULL, walk_context, LORA), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_open_alone(&out, NULL, LORA), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_open_alone(&out, walk_context, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_open_alone(&out, walk_context, walk_missing), MM_ERR_INPUT);
    REFUSED_OUT(out, mm_lora_open_alone(&out, walk_context, walk_noise_i64), MM_ERR_INPUT);
}

void walk_mm_lora_create(void)
{
    mm_lora *out;
    REFUSED(mm_lora_create(NULL, walk_model), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_create(&out, NULL), MM_ERR_USAGE);
}

void walk_mm_lora_add_layer(void)
{
    static const float zeros[8];
    static const int64_t wide[] = {1, 7}, tall[] = {7, 1};
    mm_lora *l = NULL, *alone = NULL, *from_file = lora();
    mm_tensor *down = NULL, *up = NULL, *whole = NULL;
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    OK(mm_lora_create(&l, walk_model));
    OK(mm_lora_open_alone(&alone, walk_context, LORA));
    OK(mm_lora_describe(from_file, 0, &info));
    OK(mm_tensor_wrap(&down, zeros, "f32", 2, wide, NULL, NULL, NULL));
    OK(mm_tensor_wrap(&up, zeros, "f32", 2, tall, NULL, NULL, NULL));
    OK(mm_tensor_wrap(&whole, zeros, "i32", 2, wide, NULL, NULL, NULL));
    REFUSED(mm_lora_add_layer(NULL, info.path, down, up, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, NULL, down, up, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, info.path, NULL, up, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, info.path, down, NULL, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(alone, info.path, down, up, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, info.path, up, down, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, info.path, whole, up, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, info.path, down, up, (double)NAN), MM_ERR_USAGE);
    REFUSED(mm_lora_add_layer(l, info.path, down, up, 1.0), MM_ERR_INPUT);
    REFUSED(mm_lora_add_layer(l, "no.such.module", down, up, 1.0), MM_ERR_INPUT);
    assert_int_equal(mm_lora_modules(l), 0);
    mm_tensor_free(&whole);
    mm_tensor_free(&up);
    mm_tensor_free(&down);
    mm_lora_free(&from_file);
    mm_lora_free(&alone);
    mm_lora_free(&l);
}

void walk_mm_lora_matrices(void)
{
    mm_lora *l = lora();
    mm_tensor *down, *up = (void *)1;
    REFUSED_OUT(down, mm_lora_matrices(NULL, 0, &down, &up), MM_ERR_USAGE);
    assert_null(up);
    REFUSED_OUT(down, mm_lora_matrices(l, -1, &down, NULL), MM_ERR_USAGE);
    REFUSED_OUT(up, mm_lora_matrices(l, mm_lora_modules(l), NULL, &up), MM_ERR_USAGE);
    OK(mm_lora_matrices(l, 0, NULL, NULL));
    mm_lora_free(&l);
}

void walk_mm_lora_put_metadata(void)
{
    mm_lora *l = lora();
    REFUSED(mm_lora_put_metadata(NULL, "key", "value"), MM_ERR_USAGE);
    REFUSED(mm_lora_put_metadata(l, NULL, "value"), MM_ERR_USAGE);
    REFUSED(mm_lora_put_metadata(l, "key", NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_put_metadata(l, NOT_UTF8, "value"), MM_ERR_USAGE);
    REFUSED(mm_lora_put_metadata(l, "format", "value"), MM_ERR_USAGE);
    REFUSED(mm_lora_put_metadata(l, "key", NOT_UTF8), MM_ERR_USAGE);
    mm_lora_free(&l);
}

void walk_mm_lora_free(void)
{
    mm_lora *none = NULL;
    mm_lora_free(NULL);
    mm_lora_free(&none);
}

void walk_mm_lora_format(void)
{
    assert_string_equal(mm_lora_format(NULL), "");
}

void walk_mm_lora_modules(void)
{
    assert_int_equal(mm_lora_modules(NULL), 0);
}

void walk_mm_lora_rank(void)
{
    assert_int_equal(mm_lora_rank(NULL), 0);
}

void walk_mm_lora_tensors(void)
{
    assert_int_equal(mm_lora_tensors(NULL), 0);
}

void walk_mm_lora_tensors_applied(void)
{
    assert_int_equal(mm_lora_tensors_applied(NULL), 0);
}

void walk_mm_lora_metadata(void)
{
    mm_lora *l = lora();
    assert_null(mm_lora_metadata(NULL, "mm_step"));
    assert_null(mm_lora_metadata(l, NULL));
    assert_null(mm_lora_metadata(l, "no such key"));
    mm_lora_free(&l);
}

void walk_mm_lora_metadata_key(void)
{
    mm_lora *l = lora();
    assert_null(mm_lora_metadata_key(NULL, 0));
    assert_null(mm_lora_metadata_key(l, SIZE_MAX));
    mm_lora_free(&l);
}

void walk_mm_lora_describe(void)
{
    mm_lora *l = lora();
    mm_lora_layer_info info = {.struct_size = sizeof(info)}, small = {.struct_size = 4};
    REFUSED(mm_lora_describe(NULL, 0, &info), MM_ERR_USAGE);
    REFUSED(mm_lora_describe(l, 0, NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_describe(l, 0, &small), MM_ERR_USAGE);
    REFUSED(mm_lora_describe(l, -1, &info), MM_ERR_USAGE);
    REFUSED(mm_lora_describe(l, mm_lora_modules(l), &info), MM_ERR_USAGE);
    mm_lora_free(&l);
}

void walk_mm_lora_scale(void)
{
    mm_lora *l = lora(), *unnamed = list();
    REFUSED(mm_lora_scale(NULL, 1.0), MM_ERR_USAGE);
    REFUSED(mm_lora_scale(l, (double)NAN), MM_ERR_USAGE);
    REFUSED(mm_lora_scale(l, (double)INFINITY), MM_ERR_USAGE);
    REFUSED(mm_lora_scale(unnamed, 2.0), MM_ERR_USAGE);
    mm_lora_free(&unnamed);
    mm_lora_free(&l);
}

void walk_mm_lora_merge(void)
{
    mm_lora *l = lora(), *unnamed = list(), *out;
    const mm_lora *two[] = {l, NULL}, *bad[] = {unnamed};
    const double weights[] = {1.0, (double)NAN};
    REFUSED(mm_lora_merge(NULL, two, weights, 1), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_merge(&out, NULL, weights, 1), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_merge(&out, two, NULL, 1), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_merge(&out, two, weights, 0), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_merge(&out, two, weights, 2), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_merge(&out, two, weights + 1, 1), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_lora_merge(&out, bad, weights, 1), MM_ERR_USAGE);
    mm_lora_free(&unnamed);
    mm_lora_free(&l);
}

void walk_mm_lora_save(void)
{
    mm_lora *l = lora(), *unnamed = list(), *alone = NULL, *empty = NULL;
    char *good = mm_path_join(walk_scratch, "saved.safetensors");
    char *archive = mm_path_join(walk_scratch, "saved.pt");
    char *below_a_file = mm_path_join(walk_file, "saved.safetensors");
    OK(mm_lora_open_alone(&alone, walk_context, LORA));
    OK(mm_lora_create(&empty, walk_model));
    REFUSED(mm_lora_save(NULL, good, NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_save(empty, good, NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_save(empty, archive, NULL), MM_ERR_USAGE);
    assert_false(mm_path_is_file(good));
    REFUSED(mm_lora_save(l, NULL, NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_save(l, good, "other"), MM_ERR_USAGE);
    REFUSED(mm_lora_save(l, archive, "peft"), MM_ERR_USAGE);
    REFUSED(mm_lora_save(l, walk_file, NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_save(unnamed, good, "peft"), MM_ERR_USAGE);
    REFUSED(mm_lora_save(alone, archive, "pt"), MM_ERR_USAGE);
    REFUSED(mm_lora_save(l, archive, "pt"), MM_ERR_UNSUPPORTED);
    REFUSED(mm_lora_save(l, below_a_file, "peft"), MM_ERR_RUNTIME);
    mm_free(below_a_file);
    mm_free(archive);
    mm_free(good);
    mm_lora_free(&empty);
    mm_lora_free(&alone);
    mm_lora_free(&unnamed);
    mm_lora_free(&l);
}

void walk_mm_lora_fuse(void)
{
    mm_lora *l = lora(), *alone = NULL;
    char *below_a_file = mm_path_join(walk_file, "unet");
    OK(mm_lora_open_alone(&alone, walk_context, LORA));
    REFUSED(mm_lora_fuse(NULL, walk_missing), MM_ERR_USAGE);
    REFUSED(mm_lora_fuse(l, NULL), MM_ERR_USAGE);
    REFUSED(mm_lora_fuse(l, ""), MM_ERR_USAGE);
    REFUSED(mm_lora_fuse(alone, walk_missing), MM_ERR_USAGE);
    REFUSED(mm_lora_fuse(l, walk_file), MM_ERR_RUNTIME);
    REFUSED(mm_lora_fuse(l, walk_scratch), MM_ERR_RUNTIME);
    REFUSED(mm_lora_fuse(l, below_a_file), MM_ERR_RUNTIME);
    mm_free(below_a_file);
    mm_lora_free(&alone);
    mm_lora_free(&l);
}

static mm_evaluator *evaluator(void)
{
    mm_options *options = check_options("evaluate", "clip_model", CLIP, NULL);
    mm_evaluator *out = NULL;
    OK(mm_evaluator_create(&out, walk_context, options));
    mm_options_free(&options);
    return out;
}

static void refuse_evaluation(const char *key, const char *value, mm_status status)
{
    mm_options *options = check_options("evaluate", key, value, NULL);
    mm_evaluator *out;
    REFUSED_OUT(out, mm_evaluator_create(&out, walk_context, options), status);
    mm_options_free(&options);
}

void walk_mm_evaluator_create(void)
{
    mm_options *evaluate = check_options("evaluate", NULL), *train = walk_options("train");
    mm_evaluator *out;
    REFUSED(mm_evaluator_create(NULL, walk_context, evaluate), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_evaluator_create(&out, NULL, evaluate), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_evaluator_create(&out, walk_context, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_evaluator_create(&out, walk_context, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_evaluator_create(&out, walk_context, evaluate), MM_ERR_USAGE);
    refuse_evaluation("clip_model", walk_missing, MM_ERR_INPUT);
    refuse_evaluation("clip_model", walk_file, MM_ERR_INPUT);
    refuse_evaluation("clip_model", walk_scratch, MM_ERR_INPUT);
    refuse_evaluation("image_reward_model", walk_file, MM_ERR_INPUT);
    mm_options_free(&train);
    mm_options_free(&evaluate);
}

void walk_mm_evaluator_free(void)
{
    mm_evaluator *none = NULL;
    mm_evaluator_free(NULL);
    mm_evaluator_free(&none);
}

void walk_mm_evaluator_add(void)
{
    mm_evaluator *e = evaluator();
    char *empty = mm_path_join(walk_scratch, "no-videos");
    mm_error error = {0};
    assert_int_equal(mm_directory_create(empty, &error), MM_OK);
    REFUSED(mm_evaluator_add(NULL, walk_file, "a"), MM_ERR_USAGE);
    REFUSED(mm_evaluator_add(e, NULL, "a"), MM_ERR_USAGE);
    REFUSED(mm_evaluator_add(e, walk_file, NULL), MM_ERR_USAGE);
    REFUSED(mm_evaluator_add(e, walk_file, NOT_UTF8), MM_ERR_USAGE);
    REFUSED(mm_evaluator_add(e, empty, "a"), MM_ERR_INPUT);
    assert_int_equal(mm_evaluator_video_count(e), 0);
    mm_free(empty);
    mm_evaluator_free(&e);
}

void walk_mm_evaluator_add_pair(void)
{
    mm_evaluator *e = evaluator();
    REFUSED(mm_evaluator_add_pair(NULL, walk_file, "a", walk_file), MM_ERR_USAGE);
    REFUSED(mm_evaluator_add_pair(e, NULL, "a", walk_file), MM_ERR_USAGE);
    REFUSED(mm_evaluator_add_pair(e, walk_file, NULL, walk_file), MM_ERR_USAGE);
    assert_int_equal(mm_evaluator_video_count(e), 0);
    mm_evaluator_free(&e);
}

void walk_mm_evaluator_video_count(void)
{
    assert_int_equal(mm_evaluator_video_count(NULL), 0);
}

void walk_mm_evaluator_figures(void)
{
    size_t count = 7;
    assert_null(mm_evaluator_figures(NULL, NULL));
    assert_null(mm_evaluator_figures(NULL, &count));
    assert_int_equal(count, 0);
}

void walk_mm_evaluator_plan(void)
{
    mm_evaluator *e = evaluator();
    REFUSED(mm_evaluator_plan(NULL), MM_ERR_USAGE);
    OK(mm_evaluator_add(e, walk_missing, "a"));
    assert_int_not_equal(mm_evaluator_plan(e), MM_OK);
    mm_evaluator_free(&e);
}

void walk_mm_evaluator_run(void)
{
    mm_evaluator *e = evaluator();
    REFUSED(mm_evaluator_run(NULL, NULL, NULL), MM_ERR_USAGE);
    REFUSED(mm_evaluator_run(e, NULL, NULL), MM_ERR_USAGE);
    OK(mm_evaluator_add(e, walk_file, "a"));
    assert_int_not_equal(mm_evaluator_run(e, NULL, NULL), MM_OK);
    mm_evaluator_free(&e);
}

static mm_options *retrieval_options(void)
{
    mm_options *options = walk_options("retrieve");
    OK(mm_options_set(options, "spatial_scale_factor", "2", MM_SOURCE_SET));
    OK(mm_options_set(options, "temporal_scale_factor", "2", MM_SOURCE_SET));
    OK(mm_options_set(options, "query", walk_file, MM_SOURCE_SET));
    return options;
}

static mm_retriever *retriever(void)
{
    mm_options *options = retrieval_options();
    mm_retriever *out = NULL;
    OK(mm_retriever_create(&out, walk_model, options));
    mm_options_free(&options);
    return out;
}

static void refuse_retrieval(const char *key, const char *value, mm_status status)
{
    mm_options *options = retrieval_options();
    mm_retriever *out;
    OK(mm_options_set(options, key, value, MM_SOURCE_SET));
    REFUSED_OUT(out, mm_retriever_create(&out, walk_model, options), status);
    mm_options_free(&options);
}

void walk_mm_retriever_create(void)
{
    mm_options *retrieve = retrieval_options(), *train = walk_options("train");
    mm_options *aimless = walk_options("retrieve");
    mm_retriever *out;
    REFUSED(mm_retriever_create(NULL, walk_model, retrieve), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_retriever_create(&out, NULL, retrieve), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_retriever_create(&out, walk_model, NULL), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_retriever_create(&out, walk_model, train), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_retriever_create(&out, walk_model, aimless), MM_ERR_USAGE);
    refuse_retrieval("width", "33", MM_ERR_USAGE);
    refuse_retrieval("noise", walk_noise_i64, MM_ERR_INPUT);
    refuse_retrieval("positives", walk_missing, MM_ERR_INPUT);
    refuse_retrieval("positives", walk_scratch, MM_ERR_INPUT);
    mm_options_free(&aimless);
    mm_options_free(&train);
    mm_options_free(&retrieve);
}

void walk_mm_retriever_free(void)
{
    mm_retriever *none = NULL;
    mm_retriever_free(NULL);
    mm_retriever_free(&none);
}

void walk_mm_retriever_add(void)
{
    mm_retriever *r = retriever();
    char *empty = mm_path_join(walk_scratch, "nothing-to-find");
    mm_error error = {0};
    assert_int_equal(mm_directory_create(empty, &error), MM_OK);
    REFUSED(mm_retriever_add(NULL, walk_file), MM_ERR_USAGE);
    REFUSED(mm_retriever_add(r, NULL), MM_ERR_USAGE);
    REFUSED(mm_retriever_add(r, empty), MM_ERR_INPUT);
    mm_free(empty);
    mm_retriever_free(&r);
}

void walk_mm_retriever_video_count(void)
{
    assert_int_equal(mm_retriever_video_count(NULL), 0);
}

void walk_mm_retriever_plan(void)
{
    mm_retriever *r = retriever();
    REFUSED(mm_retriever_plan(NULL), MM_ERR_USAGE);
    assert_int_not_equal(mm_retriever_plan(r), MM_OK);
    mm_retriever_free(&r);
}

void walk_mm_retriever_run(void)
{
    mm_retriever *r = retriever();
    REFUSED(mm_retriever_run(NULL, NULL, NULL), MM_ERR_USAGE);
    REFUSED(mm_retriever_run(r, NULL, NULL), MM_ERR_USAGE);
    OK(mm_retriever_add(r, walk_missing));
    assert_int_not_equal(mm_retriever_run(r, NULL, NULL), MM_OK);
    mm_retriever_free(&r);
}

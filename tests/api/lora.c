/* SPDX-License-Identifier: BSD-2-Clause */
/* LoRA files made by PEFT and diffusers: what a fused UNet computes against diffusers with the LoRA
   on, and what is drawn against diffusers with the LoRA on at some timesteps; ways from format to
   format and back; sums. */
#include "check.h"

#include <sys/stat.h>

#include "backends/cpu/cpu.h"
#include "base/file.h"
#include "graph/executable.h"
#include "models/networks.h"
#include "models/weight_loader.h"
#include "motionmatcher/lora.h"
#include "motionmatcher/sampler.h"
#include "training/lora.h"

#define MODEL FIXTURES "/quickstart-model"
#define INPUTS FIXTURES "/parity/quickstart-model.safetensors"
#define LORA(name) FIXTURES "/lora/" name
#define TOLERANCE 1e-5

static mm_context *context;
static mm_model *model, *exact; /* as committed, and with its UNet in f32 */
static char *scratch;

static char *inside(const char *name)
{
    char *path = mm_format("%s/%s", scratch, name);
    assert_non_null(path);
    return path;
}

/* The same tensors in f32, so that what a fused file rounds away is not seen. */
static void write_f32(const char *from, const char *to)
{
    mm_error error = {0};
    mm_tensor_file *file = check_open(from);
    size_t count = mm_tensor_file_count(file), n;
    mm_tensor_entry *entries = calloc(count, sizeof(*entries));
    for (size_t i = 0; i < count; i++) {
        const mm_tensor_info *info = mm_tensor_file_info(file, i);
        entries[i] =
            (mm_tensor_entry){info->name, MM_F32, info->shape, check_read(file, info->name, &n)};
    }
    assert_int_equal(mm_safetensors_write(to, entries, count, NULL, 0, &error), MM_OK);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)entries[i].data);
    free(entries);
    mm_tensor_file_close(&file);
}

static int begin(void **state)
{
    (void)state;
    scratch = check_directory();
    char *copy = inside("exact"), *unet = inside("exact/unet/diffusion_pytorch_model.safetensors");
    char *command = mm_format("cp -r '%s' '%s'", MODEL, copy);
    assert_int_equal(system(command), 0);
    write_f32(MODEL "/unet/diffusion_pytorch_model.safetensors", unet);
    mm_options *options = check_options("context", "precision", "f32", NULL);
    OK(mm_context_create(&context, options));
    mm_options_free(&options);
    OK(mm_model_open(&model, context, MODEL));
    OK(mm_model_open(&exact, context, copy));
    mm_free(command);
    mm_free(unet);
    mm_free(copy);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mm_model_free(&exact);
    mm_model_free(&model);
    mm_context_free(&context);
    check_remove(scratch);
    return 0;
}

static mm_lora *open_for(mm_model *for_model, const char *path)
{
    mm_lora *lora;
    OK(mm_lora_open(&lora, for_model, path));
    return lora;
}

static mm_lora *open_alone(const char *path)
{
    mm_lora *lora;
    OK(mm_lora_open_alone(&lora, context, path));
    return lora;
}

/* Saves under a name in the scratch directory. */
static char *save(const mm_lora *lora, const char *name, const char *format)
{
    char *path = inside(name);
    OK(mm_lora_save(lora, path, format));
    return path;
}

/* What a UNet's directory computes */

typedef struct pass {
    mm_backend *backend;
    mm_weight_set weights;
    mm_unet_config config;
    mm_graph *graph;
    mm_executable *executable;
    mm_node *output;
} pass;

#define MUST(call)                      \
    do {                                \
        if ((call) != MM_OK)            \
            fail_msg("%s", error.text); \
    } while (0)

static void load(pass *p, const char *directory, mm_error *problem)
{
    mm_error error = {0};
    char *path = mm_path_join(directory, "config.json"), *found;
    mm_tensor_file *file;
    MUST(mm_cpu_backend_create(&p->backend, 1, NULL, &error));
    MUST(mm_unet_config_load(&p->config, path, &error));
    mm_weight_set_init(&p->weights, MM_F32);
    MUST(mm_unet_declare(&p->config, &p->weights, NULL, &error));
    MUST(mm_component_find(&found, directory, "diffusion_pytorch_model", &error));
    file = check_open(found);
    MUST(mm_weights_load(&p->weights, file, p->backend, NULL, &error));
    mm_tensor_file_close(&file);
    mm_free(found);
    mm_free(path);
    *problem = error;
}

/* [1, C, F, h, w] to [F, h, w, C] and, with `back`, the other way. */
static float *turned(const float *in, const int64_t *d, bool back)
{
    const int64_t channels = d[1], places = d[2] * d[3] * d[4];
    float *out = malloc((size_t)(channels * places) * sizeof(float));
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < places; i++)
            out[back ? c * places + i : i * channels + c] =
                in[back ? i * channels + c : c * places + i];
    }
    return out;
}

static void write_input(pass *p, mm_node *node, const void *data)
{
    mm_error error = {0};
    size_t bytes = (size_t)mm_shape_elements(&node->shape) * sizeof(float);
    MUST(mm_executable_write(p->executable, node, data, bytes, &error));
}

/* diffusers' inputs through the UNet of a directory; [1, C, F, h, w]. */
static float *run_unet(const char *directory)
{
    mm_error error = {0};
    pass p = {0};
    size_t n;
    int64_t timestep;
    load(&p, directory, &error);
    mm_tensor_file *inputs = check_open(INPUTS);
    float *latents = check_read(inputs, "latents", &n);
    const mm_shape *shape =
        &mm_tensor_file_info(inputs, (size_t)mm_tensor_file_find(inputs, "latents"))->shape;
    const int64_t *d = shape->dim;
    float *x = turned(latents, d, false);
    float *text = check_read(inputs, "encoder_hidden_states", &n);
    MUST(mm_tensor_file_read_raw(inputs, (size_t)mm_tensor_file_find(inputs, "timestep"), 0, 1,
                                 &timestep, &error));
    const float t = (float)timestep;
    MUST(mm_graph_create(&p.graph, MM_F32, &error));
    mm_builder builder = {.graph = p.graph, .weights = &p.weights, .frames = d[2], .path = ""};
    mm_unet_inputs in = {mm_input(p.graph, "latents", MM_F32, &MM_SHAPE(d[2], d[3], d[4], d[1])),
                         mm_input(p.graph, "timestep", MM_F32, &MM_SHAPE(1)),
                         mm_input(p.graph, "context", MM_F32, &MM_SHAPE(1, 77, (int64_t)n / 77))};
    p.output = mm_unet_build(&builder, &p.config, &in, NULL);
    MUST(mm_graph_status(p.graph, &error));
    mm_compile_options options = {0};
    MUST(mm_executable_create(&p.executable, p.graph, &p.output, 1, p.backend, &options, &error));
    write_input(&p, in.latents, x);
    write_input(&p, in.timestep, &t);
    write_input(&p, in.context, text);
    MUST(mm_executable_run(p.executable, NULL, &error));
    size_t bytes = (size_t)mm_shape_elements(&p.output->shape) * sizeof(float);
    float *raw = malloc(bytes);
    MUST(mm_executable_read(p.executable, p.output, raw, bytes, &error));
    float *out = turned(raw, d, true);
    mm_executable_free(&p.executable);
    mm_graph_free(&p.graph);
    mm_weights_release(&p.weights, p.backend);
    mm_weight_set_free(&p.weights);
    p.backend->table->free(p.backend);
    mm_tensor_file_close(&inputs);
    free(raw);
    free(x);
    free(latents);
    free(text);
    return out;
}

static double difference_from(const char *outputs, const char *name, const float *have)
{
    size_t n;
    mm_tensor_file *file = check_open(outputs);
    float *want = check_read(file, name, &n);
    double difference = check_difference(have, want, n);
    print_message("%s: %.1e\n", name, difference);
    free(want);
    mm_tensor_file_close(&file);
    return difference;
}

/* Fuses and compares with diffusers. */
static void expect_output(const mm_lora *lora, const char *outputs, const char *name)
{
    char *directory = inside("fused");
    char *command = mm_format("rm -rf '%s'", directory);
    OK(mm_lora_fuse(lora, directory));
    float *have = run_unet(directory);
    assert_true(difference_from(outputs, name, have) <= TOLERANCE);
    free(have);
    assert_int_equal(system(command), 0);
    mm_free(command);
    mm_free(directory);
}

static void test_fused_equals_diffusers(void **state)
{
    (void)state;
    static const struct {
        const char *path, *output, *format;
        int64_t tensors;
    } cases[] = {
        {LORA("diffusers.safetensors"), "with_alpha", "peft", 14},
        {LORA("adapter"), "with_alpha", "peft", 14},
        {LORA("kohya.safetensors"), "with_alpha", "kohya", 21},
        {LORA("plain.safetensors"), "without_alpha", "peft", 14},
        {LORA("old.safetensors"), "without_alpha", "diffusers", 14},
        {LORA("wide.safetensors"), "wide", "peft", 14},
        {LORA("temporal.pt"), "list", "pt", 220},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mm_lora *lora = open_for(exact, cases[i].path);
        assert_string_equal(mm_lora_format(lora), cases[i].format);
        assert_int_equal(mm_lora_tensors(lora), cases[i].tensors);
        assert_int_equal(mm_lora_tensors_applied(lora), cases[i].tensors);
        expect_output(lora, LORA("outputs.safetensors"), cases[i].output);
        mm_lora_free(&lora);
    }
}

/* Our own training's file, which diffusers used through PEFT. */
static void test_trained_equals_diffusers(void **state)
{
    (void)state;
    mm_lora *lora = open_for(exact, LORA("trained.safetensors"));
    assert_string_equal(mm_lora_metadata(lora, "mm_min_timestep"), "500");
    expect_output(lora, LORA("trained-output.safetensors"), "trained");
    char *kohya = save(lora, "kohya.safetensors", "kohya");
    char *list = save(lora, "list.pt", "pt");
    mm_lora_free(&lora);
    const char *files[] = {kohya, list};
    for (size_t i = 0; i < 2; i++) {
        lora = open_for(exact, files[i]);
        expect_output(lora, LORA("trained-output.safetensors"), "trained");
        mm_lora_free(&lora);
    }
    mm_free(kohya);
    mm_free(list);
}

/* Draws with a LoRA file as diffusers' pipeline did, and compares the final latents. */
static void expect_drawn(const char *lora, const char *min_timestep, const char *name)
{
    const int64_t shape[] = {1, 4, 3, 6, 10};
    char *path = inside("final.safetensors");
    mm_options *options =
        check_options("sample", "prompt", "a circle", "num_steps", "6", "guidance_scale", "3",
                      "width", "40", "height", "24", "num_frames", "3", "steps_only", "true",
                      "save_latents", path, "lora", lora, NULL);
    if (min_timestep)
        OK(mm_options_set(options, "min_timestep", min_timestep, MM_SOURCE_SET));
    mm_tensor_file *expected = check_open(LORA("sampled.safetensors"));
    size_t n;
    float *values = check_read(expected, "init_latents", &n);
    mm_tensor *start;
    mm_sampler *sampler;
    OK(mm_tensor_wrap(&start, values, "f32", 5, shape, NULL, NULL, NULL));
    OK(mm_sampler_create(&sampler, exact, options));
    OK(mm_sampler_set_init_latents(sampler, start));
    OK(mm_sampler_run(sampler, NULL));
    mm_tensor_file *file = check_open(path);
    float *have = check_read(file, "latents", &n);
    assert_true(difference_from(LORA("sampled.safetensors"), name, have) <= TOLERANCE);
    mm_sampler_free(&sampler);
    mm_tensor_free(&start);
    mm_tensor_file_close(&file);
    mm_tensor_file_close(&expected);
    mm_options_free(&options);
    free(values);
    free(have);
    mm_free(path);
}

/* The LoRA's own least timestep is 500; the steps are at 831, 665, 499 and so on. The released
   code's list cannot say it. */
static void test_drawn_equals_diffusers(void **state)
{
    (void)state;
    const char *trained = LORA("trained.safetensors");
    mm_lora *lora = open_for(exact, trained);
    char *kohya = save(lora, "drawn.safetensors", "kohya");
    char *list = save(lora, "drawn.pt", "pt");
    expect_drawn(trained, NULL, "gated");
    expect_drawn(trained, "665", "gated");
    expect_drawn(trained, "0", "always");
    expect_drawn(trained, "832", "never");
    expect_drawn(kohya, NULL, "gated");
    expect_drawn(list, NULL, "always");
    expect_drawn(list, "500", "gated");
    mm_lora_free(&lora);
    mm_free(kohya);
    mm_free(list);
}

static void test_weighted_sum_equals_diffusers(void **state)
{
    (void)state;
    const double weights[] = {0.5, -0.25};
    mm_lora *wide = open_for(exact, LORA("wide.safetensors"));
    mm_lora *other = open_for(exact, LORA("kohya.safetensors")), *sum;
    const mm_lora *both[] = {wide, other};
    OK(mm_lora_merge(&sum, both, weights, 2));
    mm_lora_free(&wide);
    mm_lora_free(&other);
    assert_int_equal(mm_lora_modules(sum), 13);
    expect_output(sum, LORA("outputs.safetensors"), "sum");
    char *path = save(sum, "sum.safetensors", NULL);
    mm_lora_free(&sum);
    sum = open_for(exact, path);
    expect_output(sum, LORA("outputs.safetensors"), "sum");
    mm_lora_free(&sum);
    mm_free(path);
}

/* Every tensor of `a` is in `b` with the same type, shape and bytes. */
static void assert_same_tensors(const char *a, const char *b)
{
    mm_error error = {0};
    mm_tensor_file *x = check_open(a), *y = check_open(b);
    assert_int_equal(mm_tensor_file_count(x), mm_tensor_file_count(y));
    for (size_t i = 0; i < mm_tensor_file_count(x); i++) {
        const mm_tensor_info *info = mm_tensor_file_info(x, i), *same;
        int64_t at = mm_tensor_file_is_list(x) ? (int64_t)i : mm_tensor_file_find(y, info->name);
        assert_true(at >= 0);
        same = mm_tensor_file_info(y, (size_t)at);
        assert_int_equal(info->dtype, same->dtype);
        assert_true(mm_shape_equal(&info->shape, &same->shape));
        int64_t count = mm_shape_elements(&info->shape);
        size_t bytes = (size_t)count * mm_dtype_bytes(info->dtype);
        char *p = malloc(bytes), *q = malloc(bytes);
        MUST(mm_tensor_file_read_raw(x, i, 0, count, p, &error));
        MUST(mm_tensor_file_read_raw(y, (size_t)at, 0, count, q, &error));
        assert_memory_equal(p, q, bytes);
        free(p);
        free(q);
    }
    mm_tensor_file_close(&x);
    mm_tensor_file_close(&y);
}

static void assert_same_bytes(const char *a, const char *b)
{
    mm_error error = {0};
    char *x, *y;
    size_t n, m;
    MUST(mm_file_read_all(a, 1 << 20, &x, &n, &error));
    MUST(mm_file_read_all(b, 1 << 20, &y, &m, &error));
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    mm_free(x);
    mm_free(y);
}

/* PEFT to PEFT, and through kohya, keeps every byte of the tensors, and the metadata. */
static void test_round_trips(void **state)
{
    (void)state;
    static const char *const files[] = {LORA("diffusers.safetensors"), LORA("wide.safetensors")};
    for (size_t i = 0; i < 2; i++) {
        mm_lora *lora = open_alone(files[i]);
        char *same = save(lora, "same.safetensors", "peft");
        char *kohya = save(lora, "kohya.safetensors", "kohya");
        assert_same_tensors(files[i], same);
        mm_lora *through = open_alone(kohya);
        assert_string_equal(mm_lora_format(through), "kohya");
        char *back = save(through, "back.safetensors", NULL);
        assert_same_bytes(same, back);
        assert_string_equal(mm_lora_metadata(through, "lora_adapter_metadata"),
                            mm_lora_metadata(lora, "lora_adapter_metadata"));
        mm_lora_free(&through);
        mm_lora_free(&lora);
        mm_free(back);
        mm_free(kohya);
        mm_free(same);
    }
}

/* kohya's own file: through PEFT and back. */
static void test_kohya_round_trip(void **state)
{
    (void)state;
    mm_lora *lora = open_alone(LORA("kohya.safetensors"));
    char *peft = save(lora, "peft.safetensors", "peft");
    mm_lora *through = open_alone(peft);
    char *back = save(through, "kohya.safetensors", "kohya");
    assert_same_tensors(LORA("kohya.safetensors"), back);
    assert_string_equal(mm_lora_metadata(through, "ss_network_dim"), "2");
    mm_lora_free(&through);
    mm_lora_free(&lora);
    mm_free(back);
    mm_free(peft);
}

static void test_list_round_trip(void **state)
{
    (void)state;
    mm_lora *lora = open_for(model, LORA("temporal.pt"));
    char *peft = save(lora, "peft.safetensors", "peft");
    mm_lora *through = open_for(model, peft);
    char *back = save(through, "back.pt", "pt");
    assert_same_tensors(LORA("temporal.pt"), back);
    mm_lora_free(&through);
    mm_lora_free(&lora);
    lora = open_for(model, LORA("plain.safetensors"));
    FAILS(mm_lora_save(lora, back, "pt"), MM_ERR_UNSUPPORTED, "is not adapted");
    mm_lora_free(&lora);
    mm_free(back);
    mm_free(peft);
}

/* All layouts of one LoRA give the sampler and the trainer the same numbers. */
static void test_sets_from_every_layout(void **state)
{
    (void)state;
    static const char *const files[] = {LORA("diffusers.safetensors"), LORA("kohya.safetensors"),
                                        LORA("adapter/adapter_model.safetensors")};
    mm_error error = {0};
    mm_weight_set weights;
    mm_site_list sites = {0};
    mm_unet_config config;
    mm_lora_set sets[3];
    mm_weight_set_init(&weights, MM_F32);
    MUST(mm_unet_config_load(&config, MODEL "/unet/config.json", &error));
    MUST(mm_unet_declare(&config, &weights, &sites, &error));
    for (size_t i = 0; i < 3; i++)
        MUST(mm_lora_set_load(&sets[i], &sites, files[i], NULL, &error));
    assert_int_equal(sets[0].rank, 4);
    for (int32_t m = 0; m < sets[0].count; m++) {
        for (size_t i = 1; i < 3; i++) {
            assert_int_equal(sets[0].module[m].rank, sets[i].module[m].rank);
            size_t up = sets[0].module[m].up.bytes, down = sets[0].module[m].down.bytes;
            if (!sets[0].module[m].rank)
                continue;
            assert_memory_equal(sets[0].module[m].up.data, sets[i].module[m].up.data, up);
            assert_memory_equal(sets[0].module[m].down.data, sets[i].module[m].down.data, down);
        }
    }
    for (size_t i = 0; i < 3; i++)
        mm_lora_set_free(&sets[i]);
    mm_site_list_free(&sites);
    mm_weight_set_free(&weights);
}

static double norm_of(const mm_lora *lora, int64_t index)
{
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    OK(mm_lora_describe(lora, index, &info));
    return info.norm;
}

static void test_scale(void **state)
{
    (void)state;
    mm_lora *lora = open_alone(LORA("diffusers.safetensors"));
    mm_lora *scaled = open_alone(LORA("diffusers.safetensors"));
    OK(mm_lora_scale(scaled, -2.5));
    for (int64_t i = 0; i < mm_lora_modules(lora); i++) {
        double want = 2.5 * norm_of(lora, i);
        assert_true(fabs(norm_of(scaled, i) - want) <= 1e-6 * want);
    }
    char *path = save(scaled, "scaled.safetensors", "peft");
    mm_lora_free(&scaled);
    scaled = open_alone(path);
    for (int64_t i = 0; i < mm_lora_modules(lora); i++) {
        mm_lora_layer_info info = {.struct_size = sizeof(info)};
        OK(mm_lora_describe(scaled, i, &info));
        assert_true(info.alpha == (double)info.rank);
        assert_true(fabs(info.norm - 2.5 * norm_of(lora, i)) <= 1e-6 * info.norm);
    }
    FAILS(mm_lora_scale(lora, NAN), MM_ERR_USAGE, "factor");
    mm_lora_free(&scaled);
    mm_lora_free(&lora);
    mm_free(path);
}

/* Far more rank than the layers have sides: the sum is still exact, and still loads. */
static void test_sum_beyond_full_rank(void **state)
{
    (void)state;
    enum { COUNT = 9 };
    const mm_lora *loras[COUNT];
    double weights[COUNT];
    mm_lora *lora = open_for(exact, LORA("plain.safetensors")), *sum;
    for (size_t i = 0; i < COUNT; i++) {
        loras[i] = lora;
        weights[i] = i == 0 ? 3.0 : -0.25;
    }
    OK(mm_lora_merge(&sum, loras, weights, COUNT));
    char *path = save(sum, "many.safetensors", NULL);
    mm_lora_free(&sum);
    sum = open_for(exact, path);
    for (int64_t i = 0; i < mm_lora_modules(sum); i++) {
        mm_lora_layer_info info = {.struct_size = sizeof(info)};
        OK(mm_lora_describe(sum, i, &info));
        assert_true(info.rank <= info.in && info.rank <= info.out);
        assert_true(fabs(info.norm - norm_of(lora, i)) <= 1e-5 * info.norm);
    }
    expect_output(sum, LORA("outputs.safetensors"), "without_alpha");
    mm_lora_free(&sum);
    mm_lora_free(&lora);
    mm_free(path);
}

static void test_fused_directory(void **state)
{
    (void)state;
    char *directory = inside("new/dir/"), *config = inside("new/dir/config.json");
    char *weights = inside("new/dir/diffusion_pytorch_model.safetensors");
    mm_lora *lora = open_for(model, LORA("diffusers.safetensors"));
    char *above = inside("new");
    assert_int_equal(mkdir(above, 0777), 0);
    OK(mm_lora_fuse(lora, directory));
    assert_same_bytes(config, MODEL "/unet/config.json");
    mm_tensor_file *fused = check_open(weights);
    mm_tensor_file *before = check_open(MODEL "/unet/diffusion_pytorch_model.safetensors");
    size_t changed = 0;
    assert_int_equal(mm_tensor_file_count(fused), mm_tensor_file_count(before));
    for (size_t i = 0; i < mm_tensor_file_count(before); i++) {
        const mm_tensor_info *info = mm_tensor_file_info(before, i);
        int64_t at = mm_tensor_file_find(fused, info->name);
        assert_true(at >= 0);
        assert_int_equal(mm_tensor_file_info(fused, (size_t)at)->dtype, info->dtype);
        changed += check_tensor(fused, before, info->name) > 0.0;
    }
    assert_int_equal(changed, 7);
    FAILS(mm_lora_fuse(lora, directory), MM_ERR_RUNTIME, "must not exist");
    FAILS(mm_lora_fuse(lora, config), MM_ERR_RUNTIME, "config.json");
    mm_tensor_file_close(&before);
    mm_tensor_file_close(&fused);
    mm_lora_free(&lora);
    mm_free(above);
    mm_free(weights);
    mm_free(config);
    mm_free(directory);
}

/* "format" is safetensors' word about the file, so no metadata of the LoRA; the file has it. */
static void test_metadata_is_the_loras(void **state)
{
    (void)state;
    mm_lora *lora = open_alone(LORA("trained.safetensors"));
    char *path = save(lora, "described.safetensors", NULL);
    mm_lora *again = open_alone(path);
    mm_tensor_file *file = check_open(path);
    assert_string_equal(mm_tensor_file_metadata(file, "format"), "pt");
    size_t count = 0;
    for (const char *key; (key = mm_lora_metadata_key(again, count)); count++) {
        assert_string_equal(key, mm_lora_metadata_key(lora, count));
        assert_string_not_equal(key, "format");
    }
    assert_true(count > 1);
    assert_null(mm_lora_metadata(lora, "format"));
    mm_tensor_file_close(&file);
    mm_lora_free(&again);
    mm_lora_free(&lora);
    mm_free(path);
}

typedef struct message {
    int32_t level;
    char text[256];
} message;

static void keep_applied(void *user, int32_t level, const char *text)
{
    message *m = user;
    if (!strstr(text, "tensors applied"))
        return;
    m->level = level;
    snprintf(m->text, sizeof(m->text), "%s", text);
}

/* A file of two layers: the first of a LoRA's, or one that the model has not, and another that it
   has not. */
static char *write_strangers(const char *name, bool first_is_known)
{
    static const float zeros[4096];
    mm_lora *lora = open_alone(LORA("trained.safetensors"));
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    OK(mm_lora_describe(lora, 0, &info));
    assert_true(info.in <= 4096 && info.out <= 4096);
    char *path = inside(name);
    const char *stem = first_is_known ? info.path : "unheard.of";
    char *down = mm_format("unet.%s.lora_A.weight", stem);
    char *up = mm_format("unet.%s.lora_B.weight", stem);
    const mm_tensor_entry entries[] = {
        {down, MM_F32, MM_SHAPE(1, info.in), zeros},
        {up, MM_F32, MM_SHAPE(info.out, 1), zeros},
        {"unet.elsewhere.lora_A.weight", MM_F32, MM_SHAPE(1, 4), zeros},
        {"unet.elsewhere.lora_B.weight", MM_F32, MM_SHAPE(4, 1), zeros},
    };
    mm_error error = {0};
    assert_int_equal(mm_safetensors_write(path, entries, 4, NULL, 0, &error), MM_OK);
    mm_free(up);
    mm_free(down);
    mm_lora_free(&lora);
    return path;
}

static mm_status sample_with(const char *lora, message *said)
{
    mm_options *options = check_options("sample", "prompt", "", "width", "40", "height", "24",
                                        "num_frames", "3", "lora", lora, NULL);
    mm_sampler *sampler;
    *said = (message){0};
    mm_context_set_log(context, keep_applied, said);
    mm_status status = mm_sampler_create(&sampler, model, options);
    mm_context_set_log(context, NULL, NULL);
    mm_sampler_free(&sampler);
    mm_options_free(&options);
    return status;
}

static void test_sampler_says_what_applies(void **state)
{
    (void)state;
    message said;
    char *some = write_strangers("some.safetensors", true);
    char *none = write_strangers("none.safetensors", false);
    OK(sample_with(LORA("plain.safetensors"), &said));
    assert_int_equal(said.level, MM_LEVEL_INFO);
    OK(sample_with(some, &said));
    assert_int_equal(said.level, MM_LEVEL_WARNING);
    assert_non_null(strstr(said.text, ": 2 of 4 tensors applied"));
    FAILS(sample_with(none, &said), MM_ERR_INPUT, "0 of 4 tensors applied");
    mm_free(none);
    mm_free(some);
}

static void test_wrong_use(void **state)
{
    (void)state;
    mm_lora *list = open_alone(LORA("temporal.pt")), *lora = open_alone(LORA("wide.safetensors"));
    mm_lora *sum = NULL;
    const mm_lora *one[] = {list}, *none[] = {NULL};
    double weight = 1.0, infinite = INFINITY;
    mm_lora_layer_info info = {.struct_size = 4};
    char *path = inside("x.safetensors"), *list_path = inside("x.pt"), *directory = inside("x");
    FAILS(mm_lora_save(list, path, NULL), MM_ERR_USAGE, "no names");
    FAILS(mm_lora_scale(list, 2.0), MM_ERR_USAGE, "no names");
    FAILS(mm_lora_merge(&sum, one, &weight, 1), MM_ERR_USAGE, "no names");
    one[0] = lora;
    FAILS(mm_lora_merge(&sum, one, &infinite, 1), MM_ERR_USAGE, "factor");
    FAILS(mm_lora_merge(&sum, none, &weight, 1), MM_ERR_USAGE, "NULL");
    FAILS(mm_lora_merge(&sum, one, &weight, 0), MM_ERR_USAGE, "count");
    FAILS(mm_lora_save(lora, list_path, NULL), MM_ERR_USAGE, "the model is needed");
    FAILS(mm_lora_save(lora, path, "pt"), MM_ERR_USAGE, "ends with");
    FAILS(mm_lora_save(lora, path, "lycoris"), MM_ERR_USAGE, "none of");
    FAILS(mm_lora_save(lora, directory, NULL), MM_ERR_USAGE, "ends with");
    FAILS(mm_lora_save(lora, "/nonexistent/x.safetensors", NULL), MM_ERR_RUNTIME, "nonexistent");
    FAILS(mm_lora_fuse(lora, directory), MM_ERR_USAGE, "model");
    FAILS(mm_lora_describe(lora, 0, &info), MM_ERR_USAGE, "struct_size");
    info.struct_size = sizeof(info);
    FAILS(mm_lora_describe(lora, 99, &info), MM_ERR_USAGE, "no such layer");
    FAILS(mm_lora_open_alone(NULL, context, path), MM_ERR_USAGE, "NULL");
    FAILS(mm_lora_open_alone(&sum, context, "/nonexistent"), MM_ERR_INPUT, "nonexistent");
    FAILS(mm_lora_open_alone(&sum, context, scratch), MM_ERR_INPUT, "no LoRA here");
    FAILS(mm_lora_open_alone(&sum, context, INPUTS), MM_ERR_INPUT, "is a LoRA's");
    assert_null(mm_lora_metadata_key(lora, 99));
    assert_null(mm_lora_metadata(NULL, "format"));
    assert_int_equal(mm_lora_modules(NULL) + mm_lora_rank(NULL) + mm_lora_tensors(NULL), 0);
    assert_int_not_equal(access(directory, F_OK), 0);
    mm_lora_free(&list);
    mm_lora_free(&lora);
    mm_free(path);
    mm_free(list_path);
    mm_free(directory);
}

/* Every allocation of a round fails once: a status, no leak. */
static void test_failing_allocations(void **state)
{
    (void)state;
    char *path = inside("never.safetensors");
    const double weights[] = {1.0, 2.0};
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK; n++) {
        mm_lora *lora = NULL, *sum = NULL;
        mm_memory_fail_after(n, true);
        status = mm_lora_open_alone(&lora, context, LORA("diffusers.safetensors"));
        const mm_lora *both[] = {lora, lora};
        if (status == MM_OK)
            status = mm_lora_merge(&sum, both, weights, 2);
        if (status == MM_OK)
            status = mm_lora_save(sum, path, "kohya");
        mm_memory_fail_after(0, false);
        mm_lora_free(&sum);
        mm_lora_free(&lora);
        assert_true(status == MM_OK || status == MM_ERR_MEMORY);
        assert_true(status != MM_OK || access(path, F_OK) == 0);
    }
    mm_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fused_equals_diffusers),
        cmocka_unit_test(test_trained_equals_diffusers),
        cmocka_unit_test(test_drawn_equals_diffusers),
        cmocka_unit_test(test_weighted_sum_equals_diffusers),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_kohya_round_trip),
        cmocka_unit_test(test_list_round_trip),
        cmocka_unit_test(test_sets_from_every_layout),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_sum_beyond_full_rank),
        cmocka_unit_test(test_fused_directory),
        cmocka_unit_test(test_metadata_is_the_loras),
        cmocka_unit_test(test_sampler_says_what_applies),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

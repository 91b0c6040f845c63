/* SPDX-License-Identifier: BSD-2-Clause */
/* Names in LoRA files, PEFT's config, and files that do not hold a sound LoRA. */
#include "hostile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/number.h"
#include "weights/lora_config.h"
#include "weights/lora_layers.h"

static const struct {
    const char *name;
    mm_lora_part part;
    mm_lora_naming naming;
    const char *path;
} names[] = {
    {"unet.a.b.to_q.lora_A.weight", MM_LORA_DOWN, MM_LORA_PEFT, "a.b.to_q"},
    {"a.b.to_q.lora_B.weight", MM_LORA_UP, MM_LORA_PEFT, "a.b.to_q"},
    {"unet.a.to_q.lora_B.default.weight", MM_LORA_UP, MM_LORA_PEFT, "a.to_q"},
    {"unet.a.to_q.lora_A.my-adapter_0.weight", MM_LORA_DOWN, MM_LORA_PEFT, "a.to_q"},
    {"base_model.model.a.to_out.0.lora_A.weight", MM_LORA_DOWN, MM_LORA_PEFT, "a.to_out.0"},
    {"base_model.model.unet.a.lora_A.weight", MM_LORA_DOWN, MM_LORA_PEFT, "a"},
    {"unet.base_model.model.a.lora_B.weight", MM_LORA_UP, MM_LORA_PEFT, "a"},
    {"unet.a.attn1.processor.to_q_lora.down.weight", MM_LORA_DOWN, MM_LORA_DIFFUSERS,
     "a.attn1.to_q"},
    {"a.attn1.processor.to_out_lora.up.weight", MM_LORA_UP, MM_LORA_DIFFUSERS, "a.attn1.to_out.0"},
    {"a.attn1.to_q.lora.down.weight", MM_LORA_DOWN, MM_LORA_DIFFUSERS, "a.attn1.to_q"},
    {"unet.a.proj_in.lora_linear_layer.up.weight", MM_LORA_UP, MM_LORA_DIFFUSERS, "a.proj_in"},
    {"lora_unet_down_blocks_0_temp_attentions_1_transformer_blocks_0_attn2_to_out_0.alpha",
     MM_LORA_ALPHA, MM_LORA_KOHYA,
     "down_blocks.0.temp_attentions.1.transformer_blocks.0.attn2.to_out.0"},
    {"lora_unet_transformer_in_proj_out.lora_up.weight", MM_LORA_UP, MM_LORA_KOHYA,
     "transformer_in.proj_out"},
    {"unet.a.to_q.alpha", MM_LORA_ALPHA, MM_LORA_KOHYA, "a.to_q"},
    {"text_encoder.a.to_q.lora_A.weight", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {"lora_te_text_model_a.lora_down.weight", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {"lora_te1_text_model_a.hada_w1_a", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {"conv_in.weight", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {".lora_A.weight", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {"", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {".weight", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {"unet.", MM_LORA_NO_PART, MM_LORA_PEFT, NULL},
    {"a.lora_magnitude_vector", MM_LORA_UNSUPPORTED, MM_LORA_PEFT, NULL},
    {"lora_unet_a.dora_scale", MM_LORA_UNSUPPORTED, MM_LORA_PEFT, NULL},
    {"lora_unet_a.hada_w1_a", MM_LORA_UNSUPPORTED, MM_LORA_PEFT, NULL},
    {"lora_unet_a.lora_mid.weight", MM_LORA_UNSUPPORTED, MM_LORA_PEFT, NULL},
    {"unet.a.lora_B.bias", MM_LORA_UNSUPPORTED, MM_LORA_PEFT, NULL},
};

static void test_names(void **state)
{
    (void)state;
    mm_arena arena = {0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        mm_lora_name name;
        assert_true(mm_lora_name_read(&name, names[i].name, &arena));
        if (name.part != names[i].part)
            fail_msg("%s: part %d", names[i].name, name.part);
        if (!names[i].path)
            continue;
        assert_string_equal(name.path, names[i].path);
        assert_int_equal(name.naming, names[i].naming);
    }
    mm_arena_free(&arena);
}

/* Every module of a full-size UNet gets its dots back. */
static void test_kohya_names_of_a_whole_model(void **state)
{
    (void)state;
    mm_arena arena = {0};
    char line[256];
    size_t count = 0;
    FILE *list = fopen(FIXTURES "/structure/unet-zeroscope.txt", "r");
    assert_non_null(list);
    while (fgets(line, sizeof(line), list)) {
        char *end = strstr(line, ".weight");
        if (!end)
            continue;
        *end = '\0';
        mm_lora_name back;
        char *kohya = mm_lora_kohya_name(line, &arena);
        char *name = mm_arena_format(&arena, "%s.lora_down.weight", kohya);
        assert_null(strchr(kohya, '.'));
        assert_true(mm_lora_name_read(&back, name, &arena));
        assert_string_equal(back.path, line);
        count++;
    }
    fclose(list);
    mm_arena_free(&arena);
    assert_true(count > 700);
}

static void expect_alpha(const char *config, const char *path, int64_t rank, double want)
{
    mm_error error = {0};
    mm_lora_config c;
    if (mm_lora_config_parse(&c, "config", config, &error) != MM_OK)
        fail_msg("%s: %s", config, error.text);
    assert_true(fabs(mm_lora_config_alpha(&c, path, rank) - want) < 1e-12);
    mm_lora_config_free(&c);
}

static void test_configs(void **state)
{
    (void)state;
#define PATTERNS "\"alpha_pattern\":{\"c.to_q\":3,\"b.c.to_q\":4,\"^a.b.c.to_q\":5,\"q\":6}"
    expect_alpha("{\"unet.lora_alpha\":4}", "a.to_q", 2, 4.0);
    expect_alpha("{\"lora_alpha\":4.5}", "a.to_q", 2, 4.5);
    expect_alpha("{}", "a.to_q", 2, 8.0);
    expect_alpha("{\"lora_alpha\":4,\"use_rslora\":true}", "a", 9, 12.0);
    expect_alpha("{" PATTERNS "}", "a.b.c.to_q", 2, 3.0);
    expect_alpha("{" PATTERNS "}", "b.c.to_q", 2, 3.0);
    expect_alpha("{" PATTERNS "}", "q", 2, 6.0);
    expect_alpha("{" PATTERNS "}", "to_q", 2, 8.0);
    expect_alpha("{\"unet.alpha_pattern\":{\"b\":7,\"a.b\":1}}", "a.b", 2, 7.0);
    expect_alpha("{\"alpha_pattern\":{\"^b\":7}}", "a.b", 2, 8.0);
    expect_alpha("{\"alpha_pattern\":{\"^b\":7}}", "b", 2, 7.0);
}

typedef struct matrix {
    const char *name;
    mm_shape shape;
    mm_dtype dtype;
} matrix;

#define A(...) MM_SHAPE(__VA_ARGS__)

static const struct {
    const char *label;
    matrix tensors[4];
    const char *config; /* lora_adapter_metadata */
    mm_status status;
    const char *message;
} files[] = {
    {"good", {{"a.lora_A.weight", A(2, 8)}, {"a.lora_B.weight", A(4, 2)}}, NULL, MM_OK, ""},
    {"good alpha",
     {{"a.lora_A.weight", A(2, 8)}, {"a.lora_B.weight", A(4, 2)}, {"a.alpha", A(1)}},
     NULL,
     MM_OK,
     ""},
    {"convolution",
     {{"a.lora_A.weight", A(2, 8, 3, 3)}, {"a.lora_B.weight", A(4, 2, 1, 1)}},
     NULL,
     MM_OK,
     ""},
    {"alpha of nothing",
     {{"a.lora_A.weight", A(2, 8)}, {"a.lora_B.weight", A(4, 2)}, {"b.alpha", A(1)}},
     NULL,
     MM_OK,
     ""},
    {"nothing", {{"a.weight", A(2, 8)}}, NULL, MM_ERR_INPUT, "is a LoRA's"},
    {"only an alpha", {{"a.alpha", A(1)}}, NULL, MM_ERR_INPUT, "is a LoRA's"},
    {"no up", {{"a.lora_A.weight", A(2, 8)}}, NULL, MM_ERR_INPUT, "only one of"},
    {"no down", {{"a.lora_B.weight", A(8, 2)}}, NULL, MM_ERR_INPUT, "only one of"},
    {"rank 0",
     {{"a.lora_A.weight", A(0, 8)}, {"a.lora_B.weight", A(4, 0)}},
     NULL,
     MM_ERR_INPUT,
     "rank 0"},
    {"no inputs",
     {{"a.lora_A.weight", A(1, 0)}, {"a.lora_B.weight", A(4, 1)}},
     NULL,
     MM_ERR_INPUT,
     "outside"},
    {"rank above a side",
     {{"a.lora_A.weight", A(5, 8)}, {"a.lora_B.weight", A(4, 5)}},
     NULL,
     MM_ERR_INPUT,
     "outside 1..4"},
    {"two ranks",
     {{"a.lora_A.weight", A(2, 8)}, {"a.lora_B.weight", A(4, 3)}},
     NULL,
     MM_ERR_INPUT,
     "does not fit"},
    {"vectors",
     {{"a.lora_A.weight", A(2)}, {"a.lora_B.weight", A(2)}},
     NULL,
     MM_ERR_INPUT,
     "does not fit"},
    {"wide up",
     {{"a.lora_A.weight", A(2, 8)}, {"a.lora_B.weight", A(4, 2, 3)}},
     NULL,
     MM_ERR_INPUT,
     "does not fit"},
    {"twice",
     {{"a.lora_A.weight", A(2, 8)},
      {"unet.a.lora_A.weight", A(2, 8)},
      {"a.lora_B.weight", A(4, 2)}},
     NULL,
     MM_ERR_INPUT,
     "there twice"},
    {"two adapters",
     {{"a.lora_A.one.weight", A(2, 8)},
      {"a.lora_A.two.weight", A(2, 8)},
      {"a.lora_B.one.weight", A(4, 2)},
      {"a.lora_B.two.weight", A(4, 2)}},
     NULL,
     MM_ERR_INPUT,
     "there twice"},
    {"whole numbers",
     {{"a.lora_A.weight", A(2, 8), MM_I32}, {"a.lora_B.weight", A(4, 2)}},
     NULL,
     MM_ERR_INPUT,
     "floating-point"},
    {"many alphas",
     {{"a.lora_A.weight", A(2, 8)}, {"a.lora_B.weight", A(4, 2)}, {"a.alpha", A(2)}},
     NULL,
     MM_ERR_INPUT,
     "single number"},
    {"DoRA",
     {{"a.lora_A.weight", A(2, 8)},
      {"a.lora_B.weight", A(4, 2)},
      {"a.lora_magnitude_vector", A(4)}},
     NULL,
     MM_ERR_UNSUPPORTED,
     "DoRA"},
#define PAIR                           \
    {                                  \
        {"a.lora_A.weight", A(2, 8)},  \
        {                              \
            "a.lora_B.weight", A(4, 2) \
        }                              \
    }
    {"config", PAIR, "{\"unet.r\":2,\"unet.lora_alpha\":2}", MM_OK, ""},
    {"config that is none", PAIR, "[]", MM_ERR_INPUT, "lora_adapter_metadata"},
    {"config cut", PAIR, "{\"unet.r\":", MM_ERR_INPUT, "lora_adapter_metadata"},
    {"config's alpha", PAIR, "{\"unet.lora_alpha\":\"2\"}", MM_ERR_INPUT, "lora_alpha"},
    {"config's huge alpha", PAIR, "{\"unet.lora_alpha\":1e300}", MM_ERR_INPUT, "lora_alpha"},
    {"pattern's alpha", PAIR, "{\"alpha_pattern\":{\"a\":null}}", MM_ERR_INPUT, "alpha of"},
    {"regular expression", PAIR, "{\"alpha_pattern\":{\"a.*\":1}}", MM_ERR_UNSUPPORTED, "regular"},
    {"DoRA by config", PAIR, "{\"unet.use_dora\":true}", MM_ERR_UNSUPPORTED, "use_dora"},
    {"flag that is none", PAIR, "{\"unet.use_rslora\":3}", MM_ERR_INPUT, "use_rslora"},
};

static const char *write_case(size_t i)
{
    static float numbers[256];
    mm_tensor_entry entries[4];
    mm_error error = {0};
    size_t count = 0;
    const mm_metadata_entry metadata = {MM_LORA_CONFIG_KEY, files[i].config};
    const char *path = scratch_path("lora.safetensors");
    for (; count < 4 && files[i].tensors[count].name; count++) {
        const matrix *m = &files[i].tensors[count];
        entries[count] = (mm_tensor_entry){m->name, m->dtype, m->shape, numbers};
    }
    if (mm_safetensors_write(path, entries, count, &metadata, files[i].config != NULL, &error) !=
        MM_OK)
        fail_msg("%s", error.text);
    return path;
}

static mm_status read_table(const char *path, mm_error *error)
{
    mm_tensor_file *file = NULL;
    mm_lora_table table = {0};
    mm_lora_layers layers = {0};
    mm_status status = mm_tensor_file_open(&file, path, error);
    if (status == MM_OK)
        status = mm_lora_table_read(&table, file, NULL, error);
    if (status == MM_OK)
        status = mm_lora_layers_read(&layers, file, &table, NULL, error);
    mm_lora_layers_free(&layers);
    mm_lora_table_free(&table);
    mm_tensor_file_close(&file);
    return status;
}

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        mm_error error = {0};
        mm_status status = read_table(write_case(i), &error);
        if (status != files[i].status || !strstr(error.text, files[i].message))
            fail_msg("%s: status %d, \"%s\"", files[i].label, status, error.text);
    }
}

static void expect_bad_alpha(float alpha)
{
    static float numbers[32];
    mm_error error = {0};
    const mm_tensor_entry entries[] = {{"a.lora_A.weight", MM_F32, MM_SHAPE(2, 8), numbers},
                                       {"a.lora_B.weight", MM_F32, MM_SHAPE(4, 2), numbers},
                                       {"a.alpha", MM_F32, {.rank = 0}, &alpha}};
    const char *path = scratch_path("lora.safetensors");
    assert_int_equal(mm_safetensors_write(path, entries, 3, NULL, 0, &error), MM_OK);
    assert_int_equal(read_table(path, &error), MM_ERR_INPUT);
    assert_non_null(strstr(error.text, "not finite"));
}

static void test_alphas_that_are_no_numbers(void **state)
{
    (void)state;
    expect_bad_alpha(NAN);
    expect_bad_alpha(INFINITY);
}

/* Many views of one storage must not make more of it than the file holds. */
static void test_views_larger_than_the_file(void **state)
{
    (void)state;
#define THOUSAND "M\xe8\x03"
#define TENSOR(shape)                                                           \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage" \
    "\nX\1\0\0\0"                                                               \
    "0X\3\0\0\0cpu" THOUSAND "tQK\0(" shape "t(K\1K\1t\x89"                     \
    "ccollections\nOrderedDict\n)RtR"
#define PAIR_OF_VIEWS TENSOR(THOUSAND "K\1") TENSOR("K\1" THOUSAND)
    static const char pickle[] =
        "\x80\2](" PAIR_OF_VIEWS PAIR_OF_VIEWS PAIR_OF_VIEWS PAIR_OF_VIEWS "e.";
    bytes b = {0};
    mm_error error = {0};
    put_archive(&b, pickle, sizeof(pickle) - 1, 4000);
    const char *path = scratch_path("view.pt");
    write_scratch(path, &b);
    assert_int_equal(read_table(path, &error), MM_ERR_INPUT);
    if (!strstr(error.text, "larger than the file"))
        fail_msg("%s", error.text);
    free_bytes(&b);
}

/* Very many layers, metadata and patterns: time stays in proportion. */
static void test_crowds(void **state)
{
    (void)state;
    enum { COUNT = 6000 };
    static char layer_names[2 * COUNT][40], keys[COUNT][16];
    static float numbers[4];
    mm_tensor_entry *entries = calloc(2 * COUNT, sizeof(*entries));
    mm_metadata_entry *metadata = calloc(COUNT, sizeof(*metadata));
    char *config = malloc((size_t)COUNT * 32), *at = config;
    mm_error error = {0};
    at += sprintf(at, "{\"alpha_pattern\":{");
    for (int i = 0; i < COUNT; i++) {
        snprintf(layer_names[2 * i], 40, "a.a.a.a.a.a.%d.lora_A.weight", i);
        snprintf(layer_names[2 * i + 1], 40, "a.a.a.a.a.a.%d.lora_B.weight", i);
        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        for (int k = 0; k < 2; k++)
            entries[2 * i + k] =
                (mm_tensor_entry){layer_names[2 * i + k], MM_F32, MM_SHAPE(1, 1), numbers};
        metadata[i] = (mm_metadata_entry){keys[i], "v"};
        at += sprintf(at, "%s\"x%d\":1", i ? "," : "", i);
    }
    strcpy(at, "}}");
    metadata[0] = (mm_metadata_entry){MM_LORA_CONFIG_KEY, config};
    const char *path = scratch_path("crowd.safetensors");
    assert_int_equal(mm_safetensors_write(path, entries, 2 * COUNT, metadata, COUNT, &error),
                     MM_OK);
    clock_t start = clock();
    assert_int_equal(read_table(path, &error), MM_OK);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5.0);
    expect_peak_below((size_t)64 << 20);
    free(entries);
    free(metadata);
    free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_kohya_names_of_a_whole_model),
        cmocka_unit_test(test_configs),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_alphas_that_are_no_numbers),
        cmocka_unit_test(test_views_larger_than_the_file),
        cmocka_unit_test(test_crowds),
    };
    return cmocka_run_group_tests(tests, setup_scratch, remove_scratch);
}

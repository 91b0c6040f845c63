/* SPDX-License-Identifier: BSD-2-Clause */
/* What is taken from the config files, and what is refused with which status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "models/networks.h"

typedef enum network { UNET, VAE, TEXT } network;

static char file[64];

static int make_file(void **state)
{
    (void)state;
    strcpy(file, "/tmp/mm-configs-XXXXXX");
    int descriptor = mkstemp(file);
    return descriptor < 0 || close(descriptor);
}

static int remove_file(void **state)
{
    (void)state;
    return remove(file);
}

static void put(const char *text)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static mm_status load(network which, const char *text, mm_error *error)
{
    union {
        mm_unet_config unet;
        mm_vae_config vae;
        mm_clip_text_config text;
    } config;
    *error = (mm_error){0};
    put(text);
    switch (which) {
    case UNET:
        return mm_unet_config_load(&config.unet, file, error);
    case VAE:
        return mm_vae_config_load(&config.vae, file, error);
    default:
        return mm_clip_text_config_load(&config.text, file, error);
    }
}

static const struct {
    network network;
    mm_status status;
    const char *text, *message; /* part of it */
} refused[] = {
    {UNET, MM_ERR_INPUT, "[]", "not an object"},
    {UNET, MM_ERR_INPUT, "{", ""},
    {UNET, MM_ERR_UNSUPPORTED, "{\"_class_name\": \"UNet2DConditionModel\"}",
     "UNet2DConditionModel"},
    {UNET, MM_ERR_INPUT, "{\"_class_name\": 3}", "_class_name"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": [0, 64, 64, 64]}", "block_out_channels"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": [-32, 64, 64, 64]}", "block_out_channels"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": [2147483648, 64, 64, 64]}",
     "block_out_channels"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": [32,32,32,32,32,32,32,32,32]}",
     "block_out_channels"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": []}", "block_out_channels"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": [\"320\"]}", "block_out_channels"},
    {UNET, MM_ERR_INPUT, "{\"block_out_channels\": [64, 64]}", "down_block_types"},
    {UNET, MM_ERR_INPUT, "{\"attention_head_dim\": 0}", "attention_head_dim"},
    {UNET, MM_ERR_INPUT, "{\"attention_head_dim\": 641}", "attention_head_dim"},
    {UNET, MM_ERR_INPUT, "{\"attention_head_dim\": \"64\"}", "attention_head_dim"},
    {UNET, MM_ERR_INPUT, "{\"attention_head_dim\": 1e400}", ""},
    {UNET, MM_ERR_INPUT, "{\"norm_num_groups\": 0}", "norm_num_groups"},
    {UNET, MM_ERR_INPUT, "{\"norm_num_groups\": 48}", "48"},
    {UNET, MM_ERR_INPUT, "{\"norm_eps\": -1e-5}", "norm_eps"},
    {UNET, MM_ERR_INPUT, "{\"layers_per_block\": 0}", "layers_per_block"},
    {UNET, MM_ERR_INPUT, "{\"mid_block_scale_factor\": 0}", "mid_block_scale_factor"},
    {UNET, MM_ERR_INPUT, "{\"down_block_types\": \"DownBlock3D\"}", "down_block_types"},
    {UNET, MM_ERR_INPUT, "{\"down_block_types\": [1, 2, 3, 4]}", "down_block_types"},
    {UNET, MM_ERR_INPUT, "{\"up_block_types\": [\"UpBlock3D\"]}", "up_block_types"},
    {UNET, MM_ERR_UNSUPPORTED, "{\"down_block_types\": [\"DownBlockMotion\"]}", "DownBlockMotion"},
    {UNET, MM_ERR_UNSUPPORTED, "{\"act_fn\": \"mish\"}", "mish"},
    {UNET, MM_ERR_UNSUPPORTED, "{\"num_attention_heads\": 8}", "num_attention_heads"},
    {UNET, MM_ERR_UNSUPPORTED, "{\"time_cond_proj_dim\": 256}", "time_cond_proj_dim"},
    {VAE, MM_ERR_UNSUPPORTED, "{\"_class_name\": \"AutoencoderTiny\"}", "AutoencoderTiny"},
    {VAE, MM_ERR_UNSUPPORTED, "{\"down_block_types\": [\"AttnDownEncoderBlock2D\"]}",
     "AttnDownEncoderBlock2D"},
    {VAE, MM_ERR_UNSUPPORTED, "{\"latents_mean\": [0.0]}", "latents_mean"},
    {VAE, MM_ERR_UNSUPPORTED, "{\"shift_factor\": 0.1}", "shift_factor"},
    {VAE, MM_ERR_UNSUPPORTED, "{\"in_channels\": 4}", "3 channels"},
    {VAE, MM_ERR_INPUT, "{\"scaling_factor\": 0}", "scaling_factor"},
    {VAE, MM_ERR_INPUT, "{\"use_quant_conv\": 1}", "use_quant_conv"},
    {VAE, MM_ERR_INPUT, "{\"block_out_channels\": [48]}", "48"},
    {TEXT, MM_ERR_UNSUPPORTED, "{\"model_type\": \"t5\"}", "t5"},
    {TEXT, MM_ERR_UNSUPPORTED, "{\"architectures\": [\"T5EncoderModel\"]}", "T5EncoderModel"},
    {TEXT, MM_ERR_UNSUPPORTED, "{\"hidden_act\": \"relu\"}", "relu"},
    {TEXT, MM_ERR_INPUT, "{\"hidden_size\": 100}", "hidden_size"},
    {TEXT, MM_ERR_INPUT, "{\"num_attention_heads\": 0}", "num_attention_heads"},
    {TEXT, MM_ERR_INPUT, "{\"vocab_size\": 4294967296}", "vocab_size"},
    {TEXT, MM_ERR_INPUT, "7", "not an object"},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        mm_error error;
        mm_status status = load(refused[i].network, refused[i].text, &error);
        if (status != refused[i].status || !strstr(error.text, refused[i].message))
            fail_msg("%s: %d %s", refused[i].text, status, error.text);
        assert_non_null(strstr(error.text, file));
    }
}

static void unet_defaults(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_unet_config c;
    put("{\"sample_size\": null, \"norm_num_groups\": null, \"unknown_key\": [1], "
        "\"block_out_channels\": null}");
    assert_int_equal(mm_unet_config_load(&c, file, &error), MM_OK);
    assert_int_equal(c.levels, 4);
    assert_int_equal(c.block_out_channels[3], 1280);
    assert_true(c.down_attention[2] && !c.down_attention[3]);
    assert_true(!c.up_attention[0] && c.up_attention[3]);
    assert_int_equal(c.head_width, 64);
    assert_int_equal(c.cross_attention_dim, 1024);
    assert_int_equal(c.norm_groups, 32);
    assert_int_equal(c.layers_per_block, 2);
    assert_int_equal(c.downsample_padding, 1);
    assert_true(c.norm_eps == 1e-5 && c.mid_block_scale == 1.0);
}

static void vae_defaults(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_vae_config c;
    put("{\"_class_name\": \"AutoencoderKL\", \"mid_block_add_attention\": false}");
    assert_int_equal(mm_vae_config_load(&c, file, &error), MM_OK);
    assert_int_equal(c.levels, 1);
    assert_int_equal(c.block_out_channels[0], 64);
    assert_int_equal(mm_vae_factor(&c), 1);
    assert_true(c.scaling_factor == 0.18215);
    assert_true(c.quant_conv && c.post_quant_conv && !c.mid_attention);
}

static void nested_text_config(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_clip_text_config c;
    put("{\"model_type\": \"clip\", \"projection_dim\": 9, \"text_config\": {\"hidden_size\": 96, "
        "\"num_attention_heads\": 6, \"hidden_act\": \"gelu\", \"bos_token_id\": 0}}");
    assert_int_equal(mm_clip_text_config_load(&c, file, &error), MM_OK);
    assert_int_equal(c.width, 96);
    assert_int_equal(c.heads, 6);
    assert_int_equal(c.layers, 12);
    assert_int_equal(c.activation, MM_ACTIVATION_GELU);
}

/* The widest network that the ranges allow declares without overflow. */
static void largest_config(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_unet_config c;
    mm_weight_set weights;
    put("{\"block_out_channels\": [16384,16384,16384,16384,16384,16384,16384,16384], "
        "\"down_block_types\": [\"CrossAttnDownBlock3D\",\"CrossAttnDownBlock3D\","
        "\"CrossAttnDownBlock3D\",\"CrossAttnDownBlock3D\",\"CrossAttnDownBlock3D\","
        "\"CrossAttnDownBlock3D\",\"CrossAttnDownBlock3D\",\"CrossAttnDownBlock3D\"],"
        "\"up_block_types\": [\"UpBlock3D\",\"UpBlock3D\",\"UpBlock3D\",\"UpBlock3D\","
        "\"UpBlock3D\",\"UpBlock3D\",\"UpBlock3D\",\"CrossAttnUpBlock3D\"],"
        "\"layers_per_block\": 32, \"attention_head_dim\": 1024, \"in_channels\": 16384,"
        "\"cross_attention_dim\": 16384}");
    assert_int_equal(mm_unet_config_load(&c, file, &error), MM_OK);
    mm_weight_set_init(&weights, MM_F32);
    assert_int_equal(mm_unet_declare(&c, &weights, NULL, &error), MM_OK);
    assert_true(mm_weight_set_bytes(&weights) > (size_t)1 << 42);
    mm_weight_set_free(&weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),       cmocka_unit_test(unet_defaults),
        cmocka_unit_test(vae_defaults),   cmocka_unit_test(nested_text_config),
        cmocka_unit_test(largest_config),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}

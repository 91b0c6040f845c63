/* SPDX-License-Identifier: BSD-2-Clause */
/* The tensors and sites that the networks declare are those that diffusers and transformers have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "models/networks.h"

typedef struct lines {
    char **line;
    size_t count, capacity;
} lines;

static void add_line(lines *all, char *line)
{
    assert_non_null(line);
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 64;
        all->line = mm_realloc(all->line, all->capacity * sizeof(char *));
        assert_non_null(all->line);
    }
    all->line[all->count++] = line;
}

static void free_lines(lines *all)
{
    for (size_t i = 0; i < all->count; i++)
        mm_free(all->line[i]);
    mm_free(all->line);
}

static lines read_lines(const char *name, const char *suffix)
{
    mm_error error;
    lines all = {0};
    char *path = mm_format("%s/structure/%s.%s", FIXTURES, name, suffix), *text, *rest = NULL;
    size_t bytes;
    assert_int_equal(mm_file_read_all(path, 1 << 20, &text, &bytes, &error), MM_OK);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        add_line(&all, mm_strdup(line));
    mm_free(text);
    mm_free(path);
    return all;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static lines declared(const mm_weight_set *weights)
{
    lines all = {0};
    for (int32_t i = 0; i < weights->count; i++) {
        const mm_weight *weight = weights->weight[i];
        for (int32_t p = 0; p < weight->part_count; p++) {
            char text[512];
            int at = snprintf(text, sizeof(text), "%s", weight->part[p].name);
            for (int32_t k = 0; k < weight->part[p].shape.rank; k++)
                at += snprintf(text + at, sizeof(text) - (size_t)at, " %lld",
                               (long long)weight->part[p].shape.dim[k]);
            add_line(&all, mm_strdup(text));
        }
    }
    return all;
}

static void assert_same_lines(const lines *have, const lines *want)
{
    for (size_t i = 0; i < have->count && i < want->count; i++)
        assert_string_equal(have->line[i], want->line[i]);
    assert_int_equal(have->count, want->count);
}

static void assert_tensors(const char *name, mm_weight_set *weights)
{
    lines want = read_lines(name, "txt"), have = declared(weights);
    qsort(want.line, want.count, sizeof(char *), compare);
    qsort(have.line, have.count, sizeof(char *), compare);
    assert_same_lines(&have, &want);
    free_lines(&want);
    free_lines(&have);
    mm_weight_set_free(weights);
}

static int by_order(const void *a, const void *b)
{
    const mm_lora_site *p = *(mm_lora_site *const *)a, *q = *(mm_lora_site *const *)b;
    return p->kind != q->kind ? (int)p->kind - (int)q->kind : p->order - q->order;
}

static void assert_sites(const char *name, mm_site_list *sites)
{
    lines want = read_lines(name, "lora.txt"), have = {0};
    qsort(sites->site, (size_t)sites->count, sizeof(*sites->site), by_order);
    for (int32_t i = 0; i < sites->count; i++) {
        const mm_lora_site *site = sites->site[i];
        for (int32_t k = 0; k < site->count; k++)
            add_line(&have, mm_format("%s %lld %lld", site->path[k], (long long)site->in_features,
                                      (long long)site->out_features));
    }
    assert_same_lines(&have, &want);
    free_lines(&want);
    free_lines(&have);
    mm_site_list_free(sites);
}

static char *config_path(const char *name)
{
    char *path = mm_format("%s/structure/%s.json", FIXTURES, name);
    assert_non_null(path);
    return path;
}

static void assert_unet(const char *name)
{
    mm_error error = {0};
    mm_unet_config config;
    mm_weight_set weights;
    mm_site_list sites = {0};
    char *path = config_path(name);
    mm_weight_set_init(&weights, MM_F32);
    assert_int_equal(mm_unet_config_load(&config, path, &error), MM_OK);
    assert_int_equal(mm_unet_declare(&config, &weights, &sites, &error), MM_OK);
    assert_tensors(name, &weights);
    assert_sites(name, &sites);
    mm_free(path);
}

static void assert_vae(const char *name)
{
    mm_error error = {0};
    mm_vae_config config;
    mm_weight_set weights;
    char *path = config_path(name);
    mm_weight_set_init(&weights, MM_F32);
    assert_int_equal(mm_vae_config_load(&config, path, &error), MM_OK);
    assert_int_equal(mm_vae_declare(&config, &weights, &error), MM_OK);
    assert_tensors(name, &weights);
    mm_free(path);
}

static void unets(void **state)
{
    (void)state;
    assert_unet("unet-zeroscope");
    assert_unet("unet-three-levels");
    assert_unet("unet-one-level");
}

static void vaes(void **state)
{
    (void)state;
    assert_vae("vae-zeroscope");
    assert_vae("vae-without");
}

static void text_encoders(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_clip_text_config config;
    mm_weight_set weights;
    char *path = config_path("text-small");
    mm_weight_set_init(&weights, MM_F32);
    assert_int_equal(mm_clip_text_config_load(&config, path, &error), MM_OK);
    assert_int_equal(mm_clip_text_declare(&config, &weights, &error), MM_OK);
    assert_tensors("text-small", &weights);
    mm_free(path);
}

/* A feature pass declares a part of the network, and finds the same weights and sites again. */
static void stopped_build_shares_weights(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_unet_config config;
    mm_weight_set weights;
    mm_site_list sites = {0};
    mm_graph *g;
    char *path = config_path("unet-zeroscope");
    mm_weight_set_init(&weights, MM_F32);
    assert_int_equal(mm_unet_config_load(&config, path, &error), MM_OK);
    assert_int_equal(mm_unet_declare(&config, &weights, &sites, &error), MM_OK);
    int32_t declared_weights = weights.count, declared_sites = sites.count;

    assert_int_equal(mm_graph_create(&g, MM_F32, &error), MM_OK);
    mm_builder b = {.graph = g, .weights = &weights, .sites = &sites, .frames = 4, .path = ""};
    mm_unet_inputs inputs = {mm_input(g, "latents", MM_F32, &MM_SHAPE(8, 24, 40, 4)),
                             mm_input(g, "timestep", MM_F32, &MM_SHAPE(2)),
                             mm_input(g, "context", MM_F32, &MM_SHAPE(2, 7, 1024))};
    mm_unet_maps maps = {.spatial_level = 1, .temporal_level = 2, .stop = true};
    assert_null(mm_unet_build(&b, &config, &inputs, &maps));
    assert_int_equal(mm_graph_status(g, &error), MM_OK);
    assert_true(mm_shape_equal(&maps.ca->shape, &MM_SHAPE(8, 12, 20, 7)));
    assert_true(mm_shape_equal(&maps.tsa->shape, &MM_SHAPE(2 * 6 * 10, 4, 4)));
    assert_int_equal(weights.count, declared_weights);
    assert_int_equal(sites.count, declared_sites);
    /* Nothing is built after the last map. */
    for (int32_t i = 0; i < g->count; i++) {
        assert_null(strstr(g->node[i]->name, "mid_block"));
        assert_null(strstr(g->node[i]->name, "down_blocks.3"));
        assert_null(
            strstr(g->node[i]->name, "down_blocks.2.temp_attentions.1.transformer_blocks.0.ff"));
    }
    mm_graph_free(&g);
    mm_weight_set_free(&weights);
    mm_site_list_free(&sites);
    mm_free(path);
}

static void level_without_attention(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_unet_config config;
    mm_weight_set weights;
    mm_graph *g;
    char *path = config_path("unet-zeroscope");
    assert_int_equal(mm_unet_config_load(&config, path, &error), MM_OK);
    for (int32_t level = 3; level < 5; level++) {
        mm_weight_set_init(&weights, MM_F32);
        assert_int_equal(mm_graph_create(&g, MM_F32, &error), MM_OK);
        mm_builder b = {.graph = g, .weights = &weights, .frames = 1, .path = ""};
        mm_unet_inputs inputs = {mm_input(g, "latents", MM_F32, &MM_SHAPE(1, 8, 8, 4)),
                                 mm_input(g, "timestep", MM_F32, &MM_SHAPE(1)),
                                 mm_input(g, "context", MM_F32, &MM_SHAPE(1, 7, 1024))};
        mm_unet_maps maps = {.spatial_level = -1, .temporal_level = level, .stop = true};
        assert_null(mm_unet_build(&b, &config, &inputs, &maps));
        assert_int_equal(mm_graph_status(g, &error), MM_ERR_USAGE);
        assert_non_null(strstr(error.text, level == 3 ? "1/8" : "1/16"));
        mm_graph_free(&g);
        mm_weight_set_free(&weights);
    }
    mm_free(path);
}

/* Whichever allocation fails, the error says so and nothing is left over. */
static void declaring_without_memory(void **state)
{
    (void)state;
    mm_error error = {0};
    mm_unet_config config;
    char *path = config_path("unet-one-level");
    assert_int_equal(mm_unet_config_load(&config, path, &error), MM_OK);
    mm_status status = MM_ERR_MEMORY;
    for (uint64_t n = 1; status != MM_OK; n++) {
        mm_weight_set weights;
        mm_site_list sites = {0};
        mm_weight_set_init(&weights, MM_F32);
        mm_memory_fail_after(n, n % 2);
        status = mm_unet_declare(&config, &weights, &sites, &error);
        mm_memory_fail_after(0, false);
        if (status != MM_OK)
            assert_int_equal(status, MM_ERR_MEMORY);
        else
            assert_true(n > 10);
        mm_weight_set_free(&weights);
        mm_site_list_free(&sites);
    }
    mm_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unets),
        cmocka_unit_test(vaes),
        cmocka_unit_test(text_encoders),
        cmocka_unit_test(stopped_build_shares_weights),
        cmocka_unit_test(level_without_attention),
        cmocka_unit_test(declaring_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

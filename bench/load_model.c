/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads a UNet's weights until they are ready to run: prints the seconds of each load and the
 * process's peak as JSON.
 *
 *   load_model MODEL_DIR [--precision f32|bf16] [--runs 1]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "models/networks.h"
#include "models/weight_loader.h"
#include "failure.h"

typedef struct settings {
    const char *model;
    mm_dtype dtype;
    long runs;
} settings;

static settings parse(int argc, char **argv)
{
    static const struct option options[] = {{"precision", required_argument, NULL, 'p'},
                                            {"runs", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    settings s = {.dtype = MM_F32, .runs = 1};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'p')
            s.dtype = strcmp(optarg, "bf16") == 0 ? MM_BF16 : MM_F32;
        else if (c == 'n')
            s.runs = strtol(optarg, NULL, 10);
        else
            exit(2);
    }
    s.model = optind < argc ? argv[optind] : NULL;
    if (!s.model) {
        fprintf(stderr, "load_model: name a model directory\n");
        exit(2);
    }
    return s;
}

static void load(const settings *s, mm_weight_set *weights, mm_backend *backend)
{
    char *directory = mm_path_join(s->model, "unet"), *path;
    char *config_path = mm_path_join(directory, "config.json");
    mm_unet_config config;
    mm_tensor_file *file;
    mm_weight_set_init(weights, s->dtype);
    check(mm_unet_config_load(&config, config_path, &error));
    check(mm_unet_declare(&config, weights, NULL, &error));
    check(mm_component_find(&path, directory, "diffusion_pytorch_model", &error));
    check(mm_tensor_file_open(&file, path, &error));
    check(mm_weights_load(weights, file, backend, NULL, &error));
    mm_tensor_file_close(&file);
    mm_free(path);
    mm_free(config_path);
    mm_free(directory);
}

int main(int argc, char **argv)
{
    settings s = parse(argc, argv);
    mm_backend *backend;
    check(mm_cpu_backend_create(&backend, 0, NULL, &error));
    printf("{\"seconds\": [");
    size_t bytes = 0;
    for (long i = 0; i < s.runs; i++) {
        mm_weight_set weights;
        double begin = mm_clock_seconds();
        load(&s, &weights, backend);
        printf("%s%.4f", i ? ", " : "", mm_clock_seconds() - begin);
        bytes = mm_weight_set_bytes(&weights);
        mm_weights_release(&weights, backend);
        mm_weight_set_free(&weights);
    }
    printf("], \"weight_bytes\": %zu, \"peak_bytes\": %zu}\n", bytes, mm_resident_peak_bytes());
    backend->table->free(backend);
    return 0;
}

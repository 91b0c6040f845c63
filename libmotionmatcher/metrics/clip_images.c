/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/clip_images.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

#define PILLOW_BICUBIC 3

static const double own_mean[3] = {0.48145466, 0.4578275, 0.40821073};
static const double own_deviation[3] = {0.26862954, 0.26130258, 0.27577711};

/* A description of the preprocessing; root stays NULL where there is none. */
typedef struct description {
    mm_json_document document;
    const mm_json *root;
} description;

static mm_status load(description *d, const char *directory, const char *name, const char *member,
                      mm_error *error)
{
    char *path = mm_path_join(directory, name);
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_status status = MM_OK;
    if (mm_path_is_file(path)) {
        status = mm_json_load(&d->document, path, error);
        d->root = status != MM_OK ? NULL
                  : member        ? mm_json_member(d->document.root, member)
                                  : d->document.root;
    }
    mm_free(path);
    return status;
}

static mm_status read_numbers(const description *d, const char *key, const double *fallback,
                              double low, float *out, mm_error *error)
{
    const mm_json *list = mm_json_member(d->root, key);
    if (list && mm_json_count(list) != 3)
        return mm_fail(error, MM_ERR_INPUT, "%s: '%s' must be a list of three numbers",
                       d->document.path, key);
    for (size_t i = 0; i < 3; i++) {
        double value = fallback[i];
        if (list && (!mm_json_number(mm_json_item(list, i), &value) || value < low || value > 1e3))
            return mm_fail(error, MM_ERR_INPUT, "%s: '%s' must be numbers in %g..1000",
                           d->document.path, key, low);
        out[i] = (float)value;
    }
    return MM_OK;
}

/* A length is a number, or an object that names it. */
static mm_status read_length(const description *d, const char *key, const char *name,
                             int64_t fallback, int64_t *out, mm_error *error)
{
    const mm_json *value = mm_json_member(d->root, key);
    bool nested = mm_json_is_object(value);
    return mm_json_get_int(&d->document, nested ? value : d->root, nested ? name : key, fallback, 1,
                           4096, out, error);
}

static mm_status check_steps(const description *d, mm_error *error)
{
    static const char *const steps[] = {"do_resize", "do_center_crop", "do_rescale",
                                        "do_normalize"};
    int64_t filter;
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        bool done;
        MM_TRY(mm_json_get_bool(&d->document, d->root, steps[i], true, &done, error));
        if (!done)
            return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: '%s' off is not supported",
                           d->document.path, steps[i]);
    }
    MM_TRY(
        mm_json_get_int(&d->document, d->root, "resample", PILLOW_BICUBIC, 0, 100, &filter, error));
    if (filter == PILLOW_BICUBIC)
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED,
                   "%s: the filter %lld ('resample') is not supported, only %d (bicubic) is",
                   d->document.path, (long long)filter, PILLOW_BICUBIC);
}

static mm_status read_geometry(const description *d, const mm_clip_vision_config *config,
                               mm_image_geometry *out, mm_error *error)
{
    int64_t side;
    MM_TRY(read_length(d, "size", "shortest_edge", config->image_size, &out->short_side, error));
    MM_TRY(read_length(d, "crop_size", "height", config->image_size, &side, error));
    if (side != config->image_size || out->short_side < side)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a square of %lld pixels ('crop_size') from a short side of %lld "
                       "('size'); the image encoder takes %lld",
                       d->document.path, (long long)side, (long long)out->short_side,
                       (long long)config->image_size);
    out->side = side;
    out->rounding = MM_CROP_DOWN;
    return MM_OK;
}

/* The division by 255 is rounded once, the rest step by step in single precision. */
static void fill_pixels(mm_pixel_values *pixels, const float *mean, const float *deviation)
{
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++)
            pixels->value[c][v] = ((float)(v * (1.0 / 255.0)) - mean[c]) / deviation[c];
    }
}

static mm_status read(const description *d, const mm_clip_vision_config *config,
                      mm_picture_network *network, mm_error *error)
{
    float mean[3], deviation[3];
    MM_TRY(check_steps(d, error));
    MM_TRY(read_numbers(d, "image_mean", own_mean, -1e3, mean, error));
    MM_TRY(read_numbers(d, "image_std", own_deviation, 1e-3, deviation, error));
    MM_TRY(read_geometry(d, config, &network->geometry, error));
    fill_pixels(&network->pixels, mean, deviation);
    return MM_OK;
}

mm_status mm_clip_images_read(const char *directory, const mm_clip_vision_config *config,
                              mm_picture_network *network, mm_error *error)
{
    description d = {0};
    mm_status status = load(&d, directory, "preprocessor_config.json", NULL, error);
    if (status == MM_OK && !d.root)
        status = load(&d, directory, "processor_config.json", "image_processor", error);
    if (status == MM_OK)
        status = read(&d, config, network, error);
    mm_json_free(&d.document);
    return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/latents.h"

#include "base/memory.h"

size_t mm_latent_elements(const mm_latent_shape *shape)
{
    return (size_t)(shape->frames * shape->height * shape->width * shape->channels);
}

/* Element (c, place) of a file is element (place, c) in memory, place = (frame, row, column). */
void mm_latents_to_memory(const mm_latent_shape *shape, const float *file, float *memory)
{
    int64_t places = shape->frames * shape->height * shape->width;
    for (int64_t c = 0; c < shape->channels; c++) {
        for (int64_t p = 0; p < places; p++)
            memory[p * shape->channels + c] = file[c * places + p];
    }
}

void mm_latents_to_file(const mm_latent_shape *shape, const float *memory, float *file)
{
    int64_t places = shape->frames * shape->height * shape->width;
    for (int64_t c = 0; c < shape->channels; c++) {
        for (int64_t p = 0; p < places; p++)
            file[c * places + p] = memory[p * shape->channels + c];
    }
}

static mm_status find_latents(const mm_tensor_file *file, const char *name, int64_t channels,
                              int64_t *index, mm_latent_shape *shape, mm_error *error)
{
    *index = mm_tensor_file_find(file, name);
    if (*index < 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: it has no tensor \"%s\"",
                       mm_tensor_file_path(file), name);
    const mm_shape *have = &mm_tensor_file_info(file, (size_t)*index)->shape;
    const int64_t *dim = have->dim;
    bool batched = have->rank == 5 && dim[0] == 1;
    if (batched)
        dim++;
    char text[96];
    if ((!batched && have->rank != 4) || dim[0] != channels || dim[1] < 1 || dim[2] < 1 ||
        dim[3] < 1)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: tensor \"%s\" has shape %s; [1, %lld, frames, height, width] is needed",
                       mm_tensor_file_path(file), name, mm_shape_text(have, text, sizeof(text)),
                       (long long)channels);
    *shape = (mm_latent_shape){dim[1], dim[2], dim[3], channels};
    return MM_OK;
}

static mm_status read_latents(const mm_tensor_file *file, int64_t index,
                              const mm_latent_shape *shape, float **out, mm_error *error)
{
    size_t count = mm_latent_elements(shape), bytes = count * sizeof(float);
    float *stored = mm_malloc(bytes), *latents = mm_malloc(bytes);
    mm_status status = stored && latents ? mm_tensor_file_read_f32(file, (size_t)index, 0,
                                                                   (int64_t)count, stored, error)
                                         : mm_fail_memory(error, "latents", 2 * bytes);
    if (status == MM_OK)
        mm_latents_to_memory(shape, stored, latents);
    else {
        mm_free(latents);
        latents = NULL;
    }
    mm_free(stored);
    *out = latents;
    return status;
}

mm_status mm_latents_read(const char *path, const char *name, int64_t channels,
                          mm_latent_shape *shape, float **out, mm_error *error)
{
    mm_tensor_file *file = NULL;
    int64_t index;
    MM_TRY(mm_tensor_file_open(&file, path, error));
    mm_status status = find_latents(file, name, channels, &index, shape, error);
    if (status == MM_OK)
        status = read_latents(file, index, shape, out, error);
    mm_tensor_file_close(&file);
    return status;
}

mm_status mm_latents_read_exact(const char *path, const char *name, const mm_latent_shape *shape,
                                float **out, mm_error *error)
{
    mm_latent_shape have = {0};
    MM_TRY(mm_latents_read(path, name, shape->channels, &have, out, error));
    if (have.frames == shape->frames && have.height == shape->height && have.width == shape->width)
        return MM_OK;
    mm_free(*out);
    *out = NULL;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: its latents are %lld frames of %lldx%lld, the video asked for has %lld "
                   "frames of %lldx%lld latents",
                   path, (long long)have.frames, (long long)have.width, (long long)have.height,
                   (long long)shape->frames, (long long)shape->width, (long long)shape->height);
}

mm_status mm_latents_write(const char *path, const char *name, const mm_latent_shape *shape,
                           const float *latents, mm_error *error)
{
    size_t bytes = mm_latent_elements(shape) * sizeof(float);
    float *stored = mm_malloc(bytes);
    if (!stored)
        return mm_fail_memory(error, "latents", bytes);
    mm_latents_to_file(shape, latents, stored);
    mm_tensor_entry entry = {
        name, MM_F32, MM_SHAPE(1, shape->channels, shape->frames, shape->height, shape->width),
        stored};
    mm_status status = mm_safetensors_write(path, &entry, 1, NULL, 0, error);
    mm_free(stored);
    return status;
}

mm_status mm_latents_wrap(mm_tensor **out, const mm_latent_shape *shape, float *latents,
                          mm_error *error)
{
    const mm_latent_shape *s = shape;
    const int64_t c = s->channels, row = s->width * c, frame = s->height * row;
    const int64_t strides[] = {s->frames * frame, 1, frame, row, c};
    mm_status status = mm_tensor_make(out, MM_F32, &MM_SHAPE(1, c, s->frames, s->height, s->width),
                                      strides, latents, mm_free, latents, error);
    if (status != MM_OK)
        mm_free(latents);
    return status;
}

static bool has_shape(const mm_tensor *tensor, const mm_latent_shape *s)
{
    const mm_shape batched = MM_SHAPE(1, s->channels, s->frames, s->height, s->width);
    const mm_shape single = MM_SHAPE(s->channels, s->frames, s->height, s->width);
    return mm_shape_equal(&tensor->shape, &batched) || mm_shape_equal(&tensor->shape, &single);
}

mm_status mm_latents_from_tensor(float **out, const mm_tensor *tensor, const mm_latent_shape *shape,
                                 const char *what, mm_error *error)
{
    char text[96];
    if (!has_shape(tensor, shape) || !mm_tensor_is_real(tensor))
        return mm_fail(error, MM_ERR_USAGE,
                       "the %s are %s of the shape %s; floating-point numbers [1, %lld, %lld, "
                       "%lld, %lld] are needed",
                       what, mm_dtype_name(tensor->dtype),
                       mm_shape_text(&tensor->shape, text, sizeof(text)),
                       (long long)shape->channels, (long long)shape->frames,
                       (long long)shape->height, (long long)shape->width);
    const size_t bytes = mm_latent_elements(shape) * sizeof(float);
    float *file = mm_tensor_floats(tensor), *memory = mm_malloc(bytes);
    if (file && memory) {
        mm_latents_to_memory(shape, file, memory);
        *out = memory;
    } else {
        mm_free(memory);
    }
    mm_free(file);
    return file && memory ? MM_OK : mm_fail_memory(error, what, bytes);
}

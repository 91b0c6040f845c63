/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/diffusion_model.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* One direction of the VAE compiled for slices of a fixed number of frames. */
typedef struct coder {
    mm_graph *graph;
    mm_executable *executable;
    mm_node *input, *output;
    int64_t slice;
    size_t input_floats, output_floats; /* of one frame */
} coder;

/* Large pictures go one by one; small ones together, so that the kernels have something to do. */
static int64_t slice_frames(int64_t frames, int64_t height, int64_t width)
{
    int64_t fitting = 96 * 96 / (height * width);
    fitting = fitting < 1 ? 1 : fitting;
    return fitting < frames ? fitting : frames;
}

static void coder_free(coder *c)
{
    mm_executable_free(&c->executable);
    mm_graph_free(&c->graph);
}

static mm_status coder_build(coder *c, mm_diffusion_model *model, bool decode, int64_t height,
                             int64_t width, mm_error *error)
{
    const mm_vae_config *config = &model->vae_config;
    int64_t factor = mm_vae_factor(config), h = height / factor, w = width / factor;
    mm_builder builder = {.graph = c->graph, .weights = &model->vae.weights, .path = ""};
    mm_shape pixels = MM_SHAPE(c->slice, height, width, config->in_channels);
    mm_shape latents = MM_SHAPE(c->slice, h, w, config->latent_channels);
    c->input =
        mm_input(c->graph, decode ? "latents" : "pixels", MM_F32, decode ? &latents : &pixels);
    c->output = decode ? mm_vae_build_decoder(&builder, config, c->input)
                       : mm_vae_build_encoder(&builder, config, c->input);
    MM_TRY(mm_graph_status(c->graph, error));
    c->input_floats = (size_t)(mm_shape_elements(&c->input->shape) / c->slice);
    c->output_floats = (size_t)(mm_shape_elements(&c->output->shape) / c->slice);
    return MM_OK;
}

static mm_status coder_create(coder *c, mm_diffusion_model *model, mm_backend *backend, bool decode,
                              int64_t frames, int64_t height, int64_t width, mm_error *error)
{
    *c = (coder){.slice = slice_frames(frames, height, width)};
    MM_TRY(mm_graph_create(&c->graph, MM_F32, error));
    mm_status status = coder_build(c, model, decode, height, width, error);
    if (status == MM_OK)
        status = mm_executable_create(&c->executable, c->graph, &c->output, 1, backend,
                                      &(mm_compile_options){0}, error);
    if (status != MM_OK)
        coder_free(c);
    return status;
}

/* A last slice that is not full runs with whatever the rest of the input holds; frames are
   independent of each other. */
static mm_status coder_run(coder *c, const mm_runtime *runtime, const float *in, float *out,
                           int64_t count, mm_error *error)
{
    size_t in_bytes = (size_t)c->slice * c->input_floats * sizeof(float);
    size_t out_bytes = (size_t)c->slice * c->output_floats * sizeof(float);
    mm_run_control control = {.cancel = runtime->cancel};
    float *padded = NULL, *result = out;
    if (count < c->slice) {
        padded = mm_calloc(1, in_bytes + out_bytes);
        if (!padded)
            return mm_fail_memory(error, "a slice of frames", in_bytes + out_bytes);
        memcpy(padded, in, (size_t)count * c->input_floats * sizeof(float));
        in = padded;
        result = padded + (size_t)c->slice * c->input_floats;
    }
    mm_status status = mm_executable_write(c->executable, c->input, in, in_bytes, error);
    if (status == MM_OK)
        status = mm_executable_run(c->executable, &control, error);
    if (status == MM_OK)
        status = mm_executable_read(c->executable, c->output, result, out_bytes, error);
    if (status == MM_OK && padded)
        memcpy(out, result, (size_t)count * c->output_floats * sizeof(float));
    mm_free(padded);
    return status;
}

mm_status mm_vae_plan(mm_diffusion_model *model, mm_backend *backend, bool decode, int64_t frames,
                      int64_t height, int64_t width, mm_vae_slicing *out, mm_error *error)
{
    coder c;
    MM_TRY(coder_create(&c, model, backend, decode, frames, height, width, error));
    mm_plan_summary summary;
    mm_executable_summary(c.executable, &summary);
    *out = (mm_vae_slicing){c.slice, summary.arena_bytes};
    coder_free(&c);
    return MM_OK;
}

mm_status mm_encode_frames(mm_diffusion_model *model, const mm_runtime *runtime,
                           const float *pixels, int64_t frames, int64_t height, int64_t width,
                           float *moments, mm_error *error)
{
    MM_TRY(mm_component_load(&model->vae, runtime, error));
    coder c;
    MM_TRY(coder_create(&c, model, runtime->backend, false, frames, height, width, error));
    mm_status status = MM_OK;
    for (int64_t f = 0; status == MM_OK && f < frames; f += c.slice)
        status = coder_run(&c, runtime, pixels + (size_t)f * c.input_floats,
                           moments + (size_t)f * c.output_floats,
                           frames - f < c.slice ? frames - f : c.slice, error);
    coder_free(&c);
    return status;
}

/* (x / 2 + 1/2) * 255 cut to 0..255, fraction dropped. */
static void to_rgb(const float *pixels, uint8_t *rgb, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = pixels[i] * 0.5f + 0.5f;
        value = value > 0.0f ? value : 0.0f;
        rgb[i] = (uint8_t)((value < 1.0f ? value : 1.0f) * 255.0f);
    }
}

static mm_status decode_slice(coder *c, const mm_runtime *runtime, const float *latents,
                              float scaling, float *scratch, uint8_t *rgb, int64_t count,
                              mm_error *error)
{
    size_t in = (size_t)count * c->input_floats, out = (size_t)count * c->output_floats;
    float *scaled = scratch, *pixels = scratch + in;
    for (size_t i = 0; i < in; i++)
        scaled[i] = latents[i] / scaling;
    MM_TRY(coder_run(c, runtime, scaled, pixels, count, error));
    for (size_t i = 0; i < out; i++) {
        if (!isfinite(pixels[i]))
            return mm_fail(error, MM_ERR_NONFINITE, "the decoded frames are not finite");
    }
    to_rgb(pixels, rgb, out);
    return MM_OK;
}

mm_status mm_decode_latents(mm_diffusion_model *model, const mm_runtime *runtime,
                            const float *latents, int64_t frames, int64_t height, int64_t width,
                            uint8_t *rgb, mm_error *error)
{
    MM_TRY(mm_component_load(&model->vae, runtime, error));
    coder c;
    MM_TRY(coder_create(&c, model, runtime->backend, true, frames, height, width, error));
    size_t floats = (size_t)c.slice * (c.input_floats + c.output_floats);
    float *scratch = mm_malloc(floats * sizeof(float));
    mm_status status = scratch ? MM_OK : mm_fail_memory(error, "frames", floats * sizeof(float));
    for (int64_t f = 0; status == MM_OK && f < frames; f += c.slice)
        status = decode_slice(&c, runtime, latents + (size_t)f * c.input_floats,
                              (float)model->vae_config.scaling_factor, scratch,
                              rgb + (size_t)f * c.output_floats,
                              frames - f < c.slice ? frames - f : c.slice, error);
    mm_free(scratch);
    coder_free(&c);
    return status;
}

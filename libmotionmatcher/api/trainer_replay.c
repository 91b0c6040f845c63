/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/trainer_internal.h"

#include <stdio.h>
#include <string.h>

#include "api/status_internal.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/memory.h"

/* Everything a replay reads, computes and writes. */
typedef struct replay {
    mm_trainer *trainer;
    mm_latent_shape shape;
    int64_t count;          /* optimizer steps */
    float *latents, *noise; /* [N] of [frames, h, w, channels] */
    int64_t *timestep;
    float *hidden_states;
    int64_t ids[MM_PROMPT_TOKENS];
    float *loss[3]; /* [N]: loss, loss_spatial, loss_temporal */
    mm_training_step *step;
    mm_arena arena; /* names and data of the output */
    mm_tensor_entry *entry;
    size_t entry_count, entry_capacity;
} replay;

static void *take(replay *r, size_t bytes, mm_error *error)
{
    void *block = mm_arena_alloc(&r->arena, bytes);
    if (!block)
        mm_fail_memory(error, "a replay", bytes);
    return block;
}

static mm_status need(const mm_tensor_file *file, const char *name, int64_t *index, mm_error *error)
{
    *index = mm_tensor_file_find(file, name);
    if (*index >= 0)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT, "%s: a replay needs the tensor \"%s\"",
                   mm_tensor_file_path(file), name);
}

static mm_status read_latents(replay *r, const mm_tensor_file *file, const char *name, float **out,
                              mm_error *error)
{
    int64_t index, channels = r->trainer->latents.channels;
    MM_TRY(need(file, name, &index, error));
    const mm_shape *shape = &mm_tensor_file_info(file, (size_t)index)->shape;
    mm_latent_shape s = {shape->dim[2], shape->dim[3], shape->dim[4], channels};
    bool fits = shape->rank == 5 && shape->dim[1] == channels && shape->dim[0] > 0 &&
                s.frames > 0 && s.height > 0 && s.width > 0;
    if (fits && r->count)
        fits = shape->dim[0] == r->count && memcmp(&s, &r->shape, sizeof(s)) == 0;
    if (!fits)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: tensor \"%s\" must be [N, %lld, frames, h, w], equal for latents and "
                       "noise",
                       mm_tensor_file_path(file), name, (long long)channels);
    r->count = shape->dim[0];
    r->shape = s;
    size_t one = mm_latent_elements(&s);
    float *stored = take(r, one * sizeof(float), error);
    *out = take(r, (size_t)r->count * one * sizeof(float), error);
    if (!stored || !*out)
        return MM_ERR_MEMORY;
    for (int64_t i = 0; i < r->count; i++) {
        MM_TRY(mm_tensor_file_read_f32(file, (size_t)index, i * (int64_t)one, (int64_t)one, stored,
                                       error));
        mm_latents_to_memory(&s, stored, *out + (size_t)i * one);
    }
    return MM_OK;
}

static mm_status read_timesteps(replay *r, const mm_tensor_file *file, mm_error *error)
{
    int64_t index, last = r->trainer->model->scheduler.train_steps - 1;
    MM_TRY(need(file, "timestep", &index, error));
    const mm_tensor_info *info = mm_tensor_file_info(file, (size_t)index);
    if (info->dtype != MM_I64 || info->shape.rank != 1 || info->shape.dim[0] != r->count)
        return mm_fail(error, MM_ERR_INPUT, "%s: tensor \"timestep\" must be i64 [%lld]",
                       mm_tensor_file_path(file), (long long)r->count);
    r->timestep = take(r, (size_t)r->count * sizeof(int64_t), error);
    if (!r->timestep)
        return MM_ERR_MEMORY;
    MM_TRY(mm_tensor_file_read_raw(file, (size_t)index, 0, r->count, r->timestep, error));
    for (int64_t i = 0; i < r->count; i++) {
        if (r->timestep[i] < 0 || r->timestep[i] > last)
            return mm_fail(error, MM_ERR_INPUT, "%s: timestep %lld is outside 0..%lld",
                           mm_tensor_file_path(file), (long long)r->timestep[i], (long long)last);
    }
    return MM_OK;
}

static mm_status read_text(replay *r, const mm_tensor_file *file, mm_error *error)
{
    mm_model *model = r->trainer->model;
    const char *prompt = r->trainer->config->prompt ? r->trainer->config->prompt : "";
    int64_t width = model->parts.text_config.width;
    MM_TRY(mm_tokenize_prompt(&model->parts, &model->context->logger, prompt, r->ids, error));
    r->hidden_states = take(r, MM_PROMPT_TOKENS * (size_t)width * sizeof(float), error);
    if (!r->hidden_states)
        return MM_ERR_MEMORY;
    if (mm_tensor_file_find(file, "encoder_hidden_states") >= 0)
        return mm_tensor_file_read_named_f32(file, "encoder_hidden_states",
                                             &MM_SHAPE(1, MM_PROMPT_TOKENS, width),
                                             r->hidden_states, error);
    mm_runtime runtime = mm_model_runtime(model);
    return mm_encode_prompt(&model->parts, &runtime, r->ids, r->hidden_states, error);
}

static bool has_lora(const mm_tensor_file *file)
{
    for (size_t i = 0; i < mm_tensor_file_count(file); i++) {
        if (strstr(mm_tensor_file_info(file, i)->name, ".lora_A."))
            return true;
    }
    return false;
}

/* A LoRA in the file replaces the initial one, with the file's own ranks. */
static mm_status read_lora(replay *r, const mm_tensor_file *file, mm_error *error)
{
    mm_trainer *t = r->trainer;
    if (!has_lora(file))
        return MM_OK;
    mm_training_state_free(&t->state);
    mm_lora_set_free(&t->lora);
    mm_logger silent = {0};
    MM_TRY(mm_lora_set_load(&t->lora, &t->model->parts.sites, mm_tensor_file_path(file), &silent,
                            error));
    return mm_training_state_create(&t->state, &t->lora, error);
}

static mm_status read_input(replay *r, const char *path, mm_error *error)
{
    mm_tensor_file *file = NULL;
    MM_TRY(mm_tensor_file_open(&file, path, error));
    mm_status status = read_latents(r, file, "latents", &r->latents, error);
    if (status == MM_OK)
        status = read_latents(r, file, "noise", &r->noise, error);
    if (status == MM_OK)
        status = read_timesteps(r, file, error);
    if (status == MM_OK)
        status = read_text(r, file, error);
    if (status == MM_OK)
        status = read_lora(r, file, error);
    mm_tensor_file_close(&file);
    return status;
}

static mm_status make_step(replay *r, mm_error *error)
{
    mm_trainer *t = r->trainer;
    size_t weights = mm_component_bytes(&t->model->parts.unet, t->model->context->backend);
    size_t resident = t->model->baseline_bytes + weights + 4 * mm_lora_set_bytes(&t->lora);
    size_t budget = t->model->context->memory_budget;
    mm_step_settings settings =
        mm_trainer_step_settings(t, &r->shape, budget > resident ? budget - resident : 1);
    MM_TRY(mm_training_step_create(&r->step, &settings, t->model->context->backend, error));
    mm_plan_summary summary;
    mm_training_step_summary(r->step, &summary);
    mm_context_emit_plan(t->model->context, resident + summary.arena_bytes);
    return MM_OK;
}

static mm_status run_steps(replay *r, mm_error *error)
{
    mm_trainer *t = r->trainer;
    mm_runtime runtime = mm_model_runtime(t->model);
    size_t one = mm_latent_elements(&r->shape);
    for (int k = 0; k < 3; k++) {
        r->loss[k] = take(r, (size_t)r->count * sizeof(float), error);
        if (!r->loss[k])
            return MM_ERR_MEMORY;
    }
    mm_model_release_coders(t->model);
    MM_TRY(mm_component_load(&t->model->parts.unet, &runtime, error));
    for (int64_t i = 0; i < r->count; i++) {
        mm_step_input input = {r->latents + (size_t)i * one,
                               r->noise + (size_t)i * one,
                               r->timestep[i],
                               r->hidden_states,
                               0,
                               0};
        mm_step_losses losses;
        MM_TRY(mm_training_optimize(r->step, &t->state, t->config, &input, 1, &losses,
                                    &t->model->context->cancel, error));
        r->loss[0][i] = (float)losses.loss;
        r->loss[1][i] = (float)losses.spatial;
        r->loss[2][i] = (float)losses.temporal;
        mm_context_emit(t->model->context, &(mm_event){.kind = MM_EVENT_STEP,
                                                       .step = i + 1,
                                                       .of = r->count,
                                                       .timestep = r->timestep[i],
                                                       .loss = losses.loss,
                                                       .loss_spatial = losses.spatial,
                                                       .loss_temporal = losses.temporal});
    }
    return MM_OK;
}

static mm_status put(replay *r, const char *name, mm_dtype dtype, mm_shape shape, const void *data,
                     mm_error *error)
{
    if (!name || !data)
        return mm_fail_memory(error, "a replay's output", 0);
    if (r->entry_count == r->entry_capacity) {
        size_t capacity = r->entry_capacity ? 2 * r->entry_capacity : 64;
        mm_tensor_entry *grown = mm_realloc(r->entry, capacity * sizeof(*grown));
        if (!grown)
            return mm_fail_memory(error, "a replay's output", capacity * sizeof(*grown));
        r->entry = grown;
        r->entry_capacity = capacity;
    }
    r->entry[r->entry_count++] = (mm_tensor_entry){name, dtype, shape, data};
    return MM_OK;
}

static mm_status put_node(replay *r, const char *name, const mm_node *node, mm_error *error)
{
    if (!node)
        return MM_OK;
    float *data = take(r, (size_t)mm_shape_elements(&node->shape) * sizeof(float), error);
    if (!data)
        return MM_ERR_MEMORY;
    MM_TRY(mm_training_step_read(r->step, node, data, error));
    return put(r, name, MM_F32, node->shape, data, error);
}

static mm_status put_prediction(replay *r, mm_error *error)
{
    const mm_latent_shape *s = &r->shape;
    size_t bytes = mm_latent_elements(s) * sizeof(float);
    float *memory = take(r, bytes, error), *stored = take(r, bytes, error);
    if (!memory || !stored)
        return MM_ERR_MEMORY;
    MM_TRY(
        mm_training_step_read(r->step, mm_training_step_nodes(r->step)->prediction, memory, error));
    mm_latents_to_file(s, memory, stored);
    return put(r, "noise_pred", MM_F32, MM_SHAPE(1, s->channels, s->frames, s->height, s->width),
               stored, error);
}

static mm_status put_lora(replay *r, mm_lora_set *set, const char *prefix, mm_error *error)
{
    mm_lora_tensor *tensors = NULL;
    size_t count = 0;
    MM_TRY(mm_lora_set_tensors(set, &tensors, &count, error));
    mm_status status = MM_OK;
    for (size_t i = 0; status == MM_OK && i < count; i++)
        status = put(r, mm_arena_format(&r->arena, "%s%s", prefix, tensors[i].name), MM_F32,
                     tensors[i].shape, mm_lora_tensor_values(set, &tensors[i]), error);
    mm_free(tensors);
    return status;
}

static mm_status collect(replay *r, mm_error *error)
{
    static const char *const losses[] = {"loss", "loss_spatial", "loss_temporal"};
    const mm_step_nodes *nodes = mm_training_step_nodes(r->step);
    mm_trainer *t = r->trainer;
    MM_TRY(put(r, "token_ids", MM_I64, MM_SHAPE(1, MM_PROMPT_TOKENS), r->ids, error));
    MM_TRY(put(r, "encoder_hidden_states", MM_F32,
               MM_SHAPE(1, MM_PROMPT_TOKENS, t->model->parts.text_config.width), r->hidden_states,
               error));
    for (int k = 0; k < 3; k++)
        MM_TRY(put(r, losses[k], MM_F32, MM_SHAPE(r->count), r->loss[k], error));
    MM_TRY(put_prediction(r, error));
    MM_TRY(put_node(r, "pred.ca", nodes->predicted_ca, error));
    MM_TRY(put_node(r, "target.ca", nodes->target_ca, error));
    MM_TRY(put_node(r, "pred.tsa", nodes->predicted_tsa, error));
    MM_TRY(put_node(r, "target.tsa", nodes->target_tsa, error));
    MM_TRY(put_lora(r, &t->state.gradient, "grad.", error));
    return put_lora(r, &t->lora, "lora.", error);
}

static mm_status run(mm_trainer *trainer, const char *in_path, const char *out_path,
                     mm_error *error)
{
    replay r = {.trainer = trainer};
    MM_TRY(mm_context_check_process(trainer->model->context, error));
    MM_TRY(mm_output_file_check(out_path, error));
    mm_status status = read_input(&r, in_path, error);
    if (status == MM_OK)
        status = make_step(&r, error);
    if (status == MM_OK)
        status = run_steps(&r, error);
    if (status == MM_OK)
        status = collect(&r, error);
    if (status == MM_OK)
        status = mm_safetensors_write(out_path, r.entry, r.entry_count, NULL, 0, error);
    if (status == MM_OK)
        mm_context_emit_output(trainer->model->context, out_path);
    mm_training_step_free(&r.step);
    mm_free(r.entry);
    mm_arena_free(&r.arena);
    return status;
}

mm_status mm_trainer_replay(mm_trainer *trainer, const char *in_path, const char *out_path)
{
    if (!trainer || !in_path || !out_path)
        return mm_api_misuse(__func__, "trainer and both paths must not be NULL");
    if (trainer->step)
        return mm_api_misuse(__func__, "a trainer that was planned or run cannot replay");
    mm_error error = {0};
    return mm_api_return(run(trainer, in_path, out_path, &error), &error);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/step.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

struct mm_training_step {
    mm_step_settings settings;
    mm_graph *graph;
    mm_executable *executable;
    mm_step_nodes nodes;
    mm_node **gradient; /* [2 * modules]: down, up */
    mm_lora_use use;
    mm_lora_stack stack;
    size_t latent_elements;
    float *noisy, *target; /* staging for z_t and the true output */
};

static void make_inputs(mm_training_step *step)
{
    const mm_step_settings *s = &step->settings;
    mm_graph *g = step->graph;
    mm_shape latents = MM_SHAPE(s->frames, s->height, s->width, s->model->unet_config.in_channels);
    mm_shape context = MM_SHAPE(1, MM_PROMPT_TOKENS, s->model->unet_config.cross_attention_dim);
    step->latent_elements = (size_t)mm_shape_elements(&latents);
    step->nodes.noisy = mm_input(g, "noisy latents", MM_F32, &latents);
    step->nodes.target = mm_input(g, "true output", MM_F32, &latents);
    step->nodes.timestep = mm_input(g, "timestep", MM_F32, &MM_SHAPE(1));
    step->nodes.context = mm_input(g, "encoder hidden states", MM_F32, &context);
    bool dropout = s->dropout && (s->config->lora_dropout > 0 || s->config->conv_dropout > 0);
    if (dropout)
        step->nodes.dropout_key = mm_input(g, "dropout key", MM_I32, &MM_SHAPE(3));
}

static mm_builder make_builder(mm_training_step *step)
{
    const mm_step_settings *s = &step->settings;
    step->use = (mm_lora_use){
        .set = s->lora,
        .scale = 1.0f,
        .dropout = step->nodes.dropout_key ? (float)s->config->lora_dropout : 0.0f,
        .trainable = true,
    };
    step->stack = (mm_lora_stack){&step->use, 1};
    return (mm_builder){
        .graph = step->graph,
        .weights = &s->model->unet.weights,
        .sites = &s->model->sites,
        .adapter = mm_lora_adapt,
        .adapter_user = &step->stack,
        .dropout_key = step->nodes.dropout_key,
        .conv_dropout = step->nodes.dropout_key ? (float)s->config->conv_dropout : 0.0f,
        .frames = s->frames,
        .path = "",
    };
}

/* The parameter nodes of the graph by module and half. Each is one node: a site is built once in
   the pass that is trained. */
static void find_parameters(const mm_training_step *step, mm_node **parameter)
{
    const mm_lora_set *set = step->settings.lora;
    for (int32_t i = 0; i < step->graph->count; i++) {
        mm_node *node = step->graph->node[i];
        if (node->op != MM_OP_parameter)
            continue;
        for (int32_t m = 0; m < set->count; m++) {
            if (node->weight == &set->module[m].down)
                parameter[2 * m] = node;
            else if (node->weight == &set->module[m].up)
                parameter[2 * m + 1] = node;
        }
    }
}

/* Parameters without a node (a site the objective never reaches) keep a NULL gradient. */
static mm_status differentiate(mm_training_step *step, mm_error *error)
{
    size_t count = 2 * (size_t)step->settings.lora->count, present = 0;
    mm_node **scratch = mm_calloc(3 * count, sizeof(*scratch));
    step->gradient = mm_calloc(count, sizeof(*step->gradient));
    if (!scratch || !step->gradient) {
        mm_free(scratch);
        return mm_fail_memory(error, "gradients", count * sizeof(*scratch));
    }
    mm_node **parameter = scratch, **dense = scratch + count, **gradient = scratch + 2 * count;
    find_parameters(step, parameter);
    for (size_t i = 0; i < count; i++) {
        if (parameter[i])
            dense[present++] = parameter[i];
    }
    mm_status status = mm_graph_differentiate(step->graph, step->nodes.loss, dense,
                                              (int32_t)present, gradient, error);
    for (size_t i = 0, n = 0; status == MM_OK && i < count; i++) {
        if (parameter[i])
            step->gradient[i] = gradient[n++];
    }
    mm_free(scratch);
    return status;
}

static void add_output(mm_node **outputs, int32_t *count, mm_node *node)
{
    if (node)
        outputs[(*count)++] = node;
}

static mm_status compile(mm_training_step *step, mm_backend *backend, mm_error *error)
{
    const mm_step_nodes *n = &step->nodes;
    mm_node *named[] = {n->loss,         n->loss_spatial,  n->loss_temporal, n->prediction,
                        n->predicted_ca, n->predicted_tsa, n->target_ca,     n->target_tsa};
    size_t gradients = 2 * (size_t)step->settings.lora->count;
    size_t named_count = sizeof(named) / sizeof(named[0]);
    /* The maps are of interest to replays alone. */
    if (step->settings.dropout)
        named_count = 3;
    mm_node **outputs = mm_calloc(gradients + named_count, sizeof(*outputs));
    if (!outputs)
        return mm_fail_memory(error, "a list of outputs", gradients * sizeof(*outputs));
    int32_t count = 0;
    for (size_t i = 0; i < named_count; i++)
        add_output(outputs, &count, named[i]);
    for (size_t i = 0; i < gradients; i++)
        add_output(outputs, &count, step->gradient[i]);
    mm_compile_options options = {
        .arena_budget = step->settings.arena_budget,
        .allow_over_budget = step->settings.allow_over_budget,
    };
    mm_status status = mm_executable_create(&step->executable, step->graph, outputs, count, backend,
                                            &options, error);
    mm_free(outputs);
    return status;
}

static mm_status build(mm_training_step *step, mm_backend *backend, mm_error *error)
{
    const mm_step_settings *s = &step->settings;
    MM_TRY(mm_graph_create(&step->graph, mm_diffusion_model_precision(s->model), error));
    make_inputs(step);
    mm_builder builder = make_builder(step);
    MM_TRY(s->objective->build(s->model, s->scheduler, s->config, &builder, &step->nodes, error));
    MM_TRY(differentiate(step, error));
    MM_TRY(compile(step, backend, error));
    size_t bytes = 2 * step->latent_elements * sizeof(float);
    step->noisy = mm_malloc(bytes);
    if (!step->noisy)
        return mm_fail_memory(error, "noisy latents", bytes);
    step->target = step->noisy + step->latent_elements;
    return MM_OK;
}

mm_status mm_training_step_create(mm_training_step **out, const mm_step_settings *settings,
                                  mm_backend *backend, mm_error *error)
{
    *out = NULL;
    mm_training_step *step = mm_calloc(1, sizeof(*step));
    if (!step)
        return mm_fail_memory(error, "a training step", sizeof(*step));
    step->settings = *settings;
    mm_status status = build(step, backend, error);
    if (status != MM_OK)
        mm_training_step_free(&step);
    *out = step;
    return status;
}

void mm_training_step_free(mm_training_step **step)
{
    if (!*step)
        return;
    mm_executable_free(&(*step)->executable);
    mm_graph_free(&(*step)->graph);
    mm_free((*step)->gradient);
    mm_free((*step)->noisy);
    mm_free(*step);
    *step = NULL;
}

void mm_training_step_summary(const mm_training_step *step, mm_plan_summary *out)
{
    mm_executable_summary(step->executable, out);
}

void mm_training_step_release(mm_training_step *step)
{
    mm_executable_release(step->executable);
}

const mm_step_nodes *mm_training_step_nodes(const mm_training_step *step)
{
    return &step->nodes;
}

const mm_graph *mm_training_step_graph(const mm_training_step *step)
{
    return step->graph;
}

/* z_t = sqrt(a_t) z0 + sqrt(1 - a_t) eps, and the output a perfect network would give:
   eps, or the velocity sqrt(a_t) eps - sqrt(1 - a_t) z0 (Salimans and Ho, "Progressive
   distillation"). */
static void add_noise(mm_training_step *step, const mm_step_input *input)
{
    double alpha_bar = mm_scheduler_alpha_bar(step->settings.scheduler, input->timestep);
    double signal = sqrt(alpha_bar), noise = sqrt(1.0 - alpha_bar);
    bool velocity = step->settings.scheduler->prediction == MM_PREDICTION_V;
    mm_scheduler_add_noise(step->settings.scheduler, input->timestep, input->latents, input->noise,
                           step->noisy, step->latent_elements);
    for (size_t i = 0; i < step->latent_elements; i++) {
        double z0 = input->latents[i], eps = input->noise[i];
        step->target[i] = velocity ? (float)(signal * eps - noise * z0) : input->noise[i];
    }
}

static mm_status write_node(mm_training_step *step, const mm_node *node, const void *data,
                            mm_error *error)
{
    size_t bytes = (size_t)mm_shape_elements(&node->shape) * mm_dtype_bytes(node->dtype);
    return mm_executable_write(step->executable, node, data, bytes, error);
}

static mm_status write_inputs(mm_training_step *step, const mm_step_input *input, mm_error *error)
{
    const mm_step_nodes *n = &step->nodes;
    float t = (float)input->timestep;
    add_noise(step, input);
    MM_TRY(write_node(step, n->noisy, step->noisy, error));
    MM_TRY(write_node(step, n->target, step->target, error));
    MM_TRY(write_node(step, n->timestep, &t, error));
    MM_TRY(write_node(step, n->context, input->hidden_states, error));
    if (n->dropout_key) {
        int32_t key[3] = {(int32_t)(uint32_t)input->seed, (int32_t)(uint32_t)(input->seed >> 32),
                          (int32_t)input->pass};
        MM_TRY(write_node(step, n->dropout_key, key, error));
    }
    if (!step->settings.objective->coefficients)
        return MM_OK;
    float coefficients[8], feature_timestep;
    step->settings.objective->coefficients(step->settings.scheduler, step->settings.config,
                                           input->timestep, coefficients, &feature_timestep);
    MM_TRY(write_node(step, n->coefficients, coefficients, error));
    return write_node(step, n->feature_timestep, &feature_timestep, error);
}

static mm_status read_scalar(mm_training_step *step, const mm_node *node, double *out,
                             mm_error *error)
{
    float value = 0.0f; /* a dropped term adds nothing */
    if (node)
        MM_TRY(mm_executable_read(step->executable, node, &value, sizeof(value), error));
    *out = (double)value;
    return MM_OK;
}

mm_status mm_training_step_run(mm_training_step *step, const mm_step_input *input,
                               mm_step_losses *losses, const mm_run_control *control,
                               mm_error *error)
{
    MM_TRY(write_inputs(step, input, error));
    MM_TRY(mm_executable_run(step->executable, control, error));
    MM_TRY(read_scalar(step, step->nodes.loss, &losses->loss, error));
    MM_TRY(read_scalar(step, step->nodes.loss_spatial, &losses->spatial, error));
    return read_scalar(step, step->nodes.loss_temporal, &losses->temporal, error);
}

mm_status mm_training_step_read(mm_training_step *step, const mm_node *node, float *out,
                                mm_error *error)
{
    size_t bytes = (size_t)mm_shape_elements(&node->shape) * sizeof(float);
    return mm_executable_read(step->executable, node, out, bytes, error);
}

mm_status mm_training_step_gradient(mm_training_step *step, int32_t module, bool up, float *out,
                                    mm_error *error)
{
    const mm_lora_module *m = &step->settings.lora->module[module];
    const mm_node *node = step->gradient[2 * module + (up ? 1 : 0)];
    if (node)
        return mm_training_step_read(step, node, out, error);
    memset(out, 0, up ? m->up.bytes : m->down.bytes);
    return MM_OK;
}

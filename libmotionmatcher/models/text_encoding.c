/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/diffusion_model.h"

mm_status mm_tokenize_prompt(const mm_diffusion_model *model, const mm_logger *logger,
                             const char *prompt, int64_t *ids, mm_error *error)
{
    size_t truncated = 0;
    MM_TRY(mm_tokenizer_encode(model->tokenizer, prompt, MM_PROMPT_TOKENS, ids, &truncated, error));
    if (truncated)
        mm_log(logger, MM_LOG_NOTICE,
               "the prompt is too long: its last %zu tokens were left out (%d are used)", truncated,
               MM_PROMPT_TOKENS);
    return MM_OK;
}

static mm_status run_text_graph(mm_diffusion_model *model, const mm_runtime *runtime,
                                mm_graph *graph, const int64_t *ids, float *hidden_states,
                                mm_error *error)
{
    mm_builder builder = {.graph = graph, .weights = &model->text.weights, .path = ""};
    mm_node *input = mm_input(graph, "token ids", MM_I64, &MM_SHAPE(1, MM_PROMPT_TOKENS));
    mm_node *output = mm_clip_text_build(&builder, &model->text_config, input);
    MM_TRY(mm_graph_status(graph, error));
    mm_executable *executable = NULL;
    MM_TRY(mm_executable_create(&executable, graph, &output, 1, runtime->backend,
                                &(mm_compile_options){0}, error));
    mm_run_control control = {.cancel = runtime->cancel};
    size_t bytes = MM_PROMPT_TOKENS * (size_t)model->text_config.width * sizeof(float);
    mm_status status =
        mm_executable_write(executable, input, ids, MM_PROMPT_TOKENS * sizeof(int64_t), error);
    if (status == MM_OK)
        status = mm_executable_run(executable, &control, error);
    if (status == MM_OK)
        status = mm_executable_read(executable, output, hidden_states, bytes, error);
    mm_executable_free(&executable);
    return status;
}

mm_status mm_encode_prompt(mm_diffusion_model *model, const mm_runtime *runtime, const int64_t *ids,
                           float *hidden_states, mm_error *error)
{
    MM_TRY(mm_component_load(&model->text, runtime, error));
    mm_graph *graph = NULL;
    MM_TRY(mm_graph_create(&graph, MM_F32, error));
    mm_status status = run_text_graph(model, runtime, graph, ids, hidden_states, error);
    mm_graph_free(&graph);
    return status;
}

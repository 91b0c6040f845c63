/* SPDX-License-Identifier: BSD-2-Clause */
/* Sampling with LoRAs in the weights and with both prompts at a time gives what sampling with the
   LoRAs beside the layers and one prompt after the other gives; the weights come back bit by bit.
 */
#include "check.h"

#include "backends/cpu/cpu.h"
#include "base/rng.h"
#include "sampling/denoiser.h"
#include "training/merged_lora.h"

enum { FRAMES = 3, HEIGHT = 8, WIDTH = 12, CHANNELS = 4, PROMPTS = 2 };
enum { ELEMENTS = FRAMES * HEIGHT * WIDTH * CHANNELS };

typedef struct subject {
    mm_backend *backend;
    mm_diffusion_model model;
    mm_lora_set lora[2];
    mm_lora_use use[2];
    mm_lora_stack stack;
    float *latents, *hidden[PROMPTS];
} subject;

static mm_error error;

static void must(mm_status status)
{
    if (status != MM_OK)
        fail_msg("%s", error.text);
}

static void draw(float *values, size_t count, mm_stream stream, uint32_t index)
{
    mm_rng rng = {7, stream, index};
    mm_rng_normal(&rng, 0, values, count);
}

static float *normals(mm_stream stream, uint32_t index, size_t count)
{
    float *values = malloc(count * sizeof(float));
    draw(values, count, stream, index);
    return values;
}

static void make_lora(subject *s, uint32_t number, int64_t rank, float scale)
{
    mm_lora_set *set = &s->lora[number];
    must(mm_lora_set_create(set, &s->model.sites, rank, number + 1, NULL, &error));
    for (int32_t i = 0; i < set->count; i++) {
        mm_weight *up = &set->module[i].up;
        draw(up->data, up->bytes / sizeof(float), MM_STREAM_LORA_INIT, 100 * number + (uint32_t)i);
    }
    s->use[number] = (mm_lora_use){.set = set, .scale = scale};
}

static void open_subject(subject *s)
{
    *s = (subject){0};
    must(mm_cpu_backend_create(&s->backend, 2, NULL, &error));
    must(mm_diffusion_model_open(&s->model, FIXTURES "/quickstart-model", MM_F32, NULL, &error));
    must(mm_component_load(&s->model.unet, &(mm_runtime){.backend = s->backend}, &error));
    make_lora(s, 0, 4, 0.1f);
    make_lora(s, 1, 7, -0.03f);
    s->stack = (mm_lora_stack){s->use, 2};
    s->latents = normals(MM_STREAM_POSTERIOR, 0, ELEMENTS);
    for (uint32_t i = 0; i < PROMPTS; i++)
        s->hidden[i] = normals(MM_STREAM_SAMPLING_NOISE, i,
                               MM_PROMPT_TOKENS * (size_t)s->model.text_config.width);
}

static void close_subject(subject *s)
{
    free(s->latents);
    for (int i = 0; i < PROMPTS; i++)
        free(s->hidden[i]);
    for (int i = 0; i < 2; i++)
        mm_lora_set_free(&s->lora[i]);
    mm_component_release(&s->model.unet, s->backend);
    mm_diffusion_model_close(&s->model);
    s->backend->table->free(s->backend);
}

/* Predictions for both prompts, `prompts` at a time. */
static float *predict(subject *s, bool beside, int64_t prompts)
{
    mm_denoiser *denoiser = NULL;
    mm_denoiser_settings settings = {
        .frames = FRAMES,
        .height = HEIGHT,
        .width = WIDTH,
        .prompts = prompts,
        .adapter = beside ? mm_lora_adapt : NULL,
        .adapter_user = &s->stack,
    };
    float *output = malloc(PROMPTS * ELEMENTS * sizeof(float));
    must(mm_denoiser_create(&denoiser, &s->model, s->backend, &settings, &error));
    for (int64_t i = 0; i < PROMPTS; i += prompts)
        must(mm_denoiser_run(denoiser, s->latents, 700, (const float *const *)&s->hidden[i],
                             output + i * ELEMENTS, NULL, &error));
    mm_denoiser_free(&denoiser);
    return output;
}

static void assert_close(const float *a, const float *b, double limit)
{
    double difference = check_difference(a, b, PROMPTS * ELEMENTS);
    if (!(difference <= limit))
        fail_msg("differ by %g", difference);
}

static void pairs_of_prompts(void **state)
{
    (void)state;
    subject s;
    open_subject(&s);
    float *one = predict(&s, false, 1), *two = predict(&s, false, 2);
    assert_close(two, one, 1e-6);
    assert_true(check_difference(one, one + ELEMENTS, ELEMENTS) > 1e-3);
    free(one);
    free(two);
    close_subject(&s);
}

static void merged_is_beside(void **state)
{
    (void)state;
    subject s;
    mm_merged_lora *merge = NULL;
    open_subject(&s);
    float *base = predict(&s, false, 2), *beside = predict(&s, true, 1);
    assert_true(check_difference(base, beside, PROMPTS * ELEMENTS) > 1e-2);
    must(mm_merged_lora_create(&merge, &s.stack, &s.model.unet.weights, s.backend, &error));
    must(mm_merged_lora_set(merge, true, &error));
    must(mm_merged_lora_set(merge, true, &error));
    float *merged = predict(&s, false, 2);
    assert_close(merged, beside, 1e-5);
    must(mm_merged_lora_set(merge, false, &error));
    float *restored = predict(&s, false, 2);
    assert_memory_equal(restored, base, PROMPTS * ELEMENTS * sizeof(float));
    mm_merged_lora_free(&merge);
    free(base);
    free(beside);
    free(merged);
    free(restored);
    close_subject(&s);
}

/* The weights are what they were whatever allocation fails. */
static void survives_failed_allocations(void **state)
{
    (void)state;
    subject s;
    mm_merged_lora *merge = NULL;
    open_subject(&s);
    must(mm_merged_lora_create(&merge, &s.stack, &s.model.unet.weights, s.backend, &error));
    float *base = predict(&s, false, 1);
    for (uint64_t failing = 1; failing < 2000; failing *= 3) {
        mm_memory_fail_after(failing, true);
        mm_status status = mm_merged_lora_set(merge, true, &error);
        mm_memory_fail_after(0, false);
        assert_int_equal(status, MM_ERR_MEMORY);
    }
    float *after = predict(&s, false, 1);
    assert_memory_equal(after, base, PROMPTS * ELEMENTS * sizeof(float));
    free(base);
    free(after);
    mm_merged_lora_free(&merge);
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_prompts),
        cmocka_unit_test(merged_is_beside),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

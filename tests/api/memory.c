/* SPDX-License-Identifier: BSD-2-Clause */
/* Every allocation of a piece of work fails in turn: the call says so with MM_ERR_MEMORY and a
   message, handles that were made before stay good, and the next attempt goes well. */
#include "embedding.h"

#include "api/dlpack.h"

static mm_context *context;
static mm_model *model;
static char *scratch;
static uint64_t sample_sum, features_sum;

#define COUNTDOWN (UINT64_C(1) << 62)
/* Failing each of some ten thousand allocations would take hours; these are spread over all. */
#define ATTEMPTS 60

static mm_status open_model(void)
{
    mm_context *own = NULL;
    mm_model *opened = NULL;
    mm_status status = work_context(&own, "1");
    if (status == MM_OK)
        status = mm_model_open(&opened, own, MODEL);
    mm_model_free(&opened);
    mm_context_free(&own);
    return status;
}

static mm_status open_lora(void)
{
    mm_lora *lora = NULL, *sum = NULL;
    const double weights[] = {1.0, 2.0};
    mm_status status = mm_lora_open(&lora, model, LORA);
    const mm_lora *both[] = {lora, lora};
    if (status == MM_OK)
        status = mm_lora_merge(&sum, both, weights, 2);
    mm_lora_free(&sum);
    mm_lora_free(&lora);
    return status;
}

/* The matrices of one LoRA in another, one of them by way of DLPack. */
static mm_status rebuild(mm_lora *from, mm_lora *to)
{
    mm_lora_layer_info info = {.struct_size = sizeof(info)};
    struct DLManagedTensorVersioned *managed = NULL;
    mm_tensor *down = NULL, *up = NULL, *again = NULL;
    mm_status status = mm_lora_describe(from, 0, &info);
    if (status == MM_OK)
        status = mm_lora_matrices(from, 0, &down, &up);
    if (status == MM_OK)
        status = mm_tensor_to_dlpack(down, &managed);
    if (status == MM_OK)
        status = mm_tensor_from_dlpack(&again, managed);
    if (managed && !again)
        managed->deleter(managed);
    if (status == MM_OK)
        status = mm_lora_add_layer(to, info.path, again, up, info.alpha);
    if (status == MM_OK)
        status = mm_lora_put_metadata(to, "key", "value");
    mm_tensor_free(&again);
    mm_tensor_free(&up);
    mm_tensor_free(&down);
    return status;
}

static mm_status make_lora(void)
{
    mm_lora *from = NULL, *to = NULL;
    mm_status status = mm_lora_open(&from, model, LORA);
    if (status == MM_OK)
        status = mm_lora_create(&to, model);
    if (status == MM_OK)
        status = rebuild(from, to);
    mm_lora_free(&to);
    mm_lora_free(&from);
    return status;
}

static mm_status train(void)
{
    mm_trainer *trainer = NULL;
    mm_lora *lora = NULL;
    mm_status status = work_trainer(&trainer, model, NULL);
    if (status == MM_OK)
        status = mm_trainer_run(trainer);
    if (status == MM_OK)
        status = mm_trainer_lora(trainer, &lora);
    mm_trainer_free(&trainer);
    mm_lora_free(&lora);
    return status;
}

static mm_status train_with_files(void)
{
    char command[256], run[256];
    snprintf(command, sizeof(command), "rm -rf '%s'/*", scratch);
    assert_int_equal(system(command), 0);
    snprintf(run, sizeof(run), "%s/run", scratch);
    return work_train(model, run);
}

static mm_status sample(void)
{
    uint64_t sum = 0;
    mm_status status = work_sample(model, &sum);
    assert_true(status != MM_OK || sum == sample_sum);
    return status;
}

static mm_status features(void)
{
    uint64_t sum = 0;
    mm_status status = work_features(model, &sum);
    assert_true(status != MM_OK || sum == features_sum);
    return status;
}

static uint64_t count_allocations(mm_status (*work)(void))
{
    mm_memory_fail_after(COUNTDOWN, false);
    OK(work());
    uint64_t count = COUNTDOWN - mm_memory_fail_after(0, false);
    assert_true(count > 0 && count < COUNTDOWN);
    return count;
}

/* A failure that does no harm may be passed over: a notice that was not said. */
static void fail_once(mm_status (*work)(void), const char *name, uint64_t number, bool forever)
{
    mm_memory_fail_after(number, forever);
    mm_status status = work();
    mm_memory_fail_after(0, false);
    if (status != MM_OK && (status != MM_ERR_MEMORY || !*mm_last_error()))
        fail_msg("%s, allocation %llu: %s: %s", name, (unsigned long long)number,
                 mm_status_name(status), mm_last_error());
}

static void fail_each(mm_status (*work)(void), const char *name)
{
    OK(work());
    uint64_t count = count_allocations(work), step = count / ATTEMPTS + 1;
    for (uint64_t number = 1; number <= count; number += number < ATTEMPTS / 3 ? 1 : step) {
        fail_once(work, name, number, false);
        if (number % 3 == 1)
            fail_once(work, name, number, true);
    }
    OK(work());
}

static void test_opening_a_model(void **state)
{
    (void)state;
    fail_each(open_model, "opening a model");
}

static void test_loras(void **state)
{
    (void)state;
    fail_each(open_lora, "LoRAs");
    fail_each(make_lora, "a LoRA of matrices");
}

static void test_training(void **state)
{
    (void)state;
    fail_each(train, "training");
}

static void test_a_run_with_its_files(void **state)
{
    (void)state;
    fail_each(train_with_files, "a run");
}

static void test_sampling(void **state)
{
    (void)state;
    fail_each(sample, "sampling");
}

static void test_features(void **state)
{
    (void)state;
    fail_each(features, "features");
}

static int begin(void **state)
{
    (void)state;
    scratch = check_directory();
    OK(work_context(&context, "1"));
    OK(mm_model_open(&model, context, MODEL));
    OK(work_sample(model, &sample_sum));
    OK(work_features(model, &features_sum));
    return 0;
}

static int end(void **state)
{
    (void)state;
    mm_model_free(&model);
    mm_context_free(&context);
    check_remove(scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_a_model), cmocka_unit_test(test_loras),
        cmocka_unit_test(test_training),        cmocka_unit_test(test_a_run_with_its_files),
        cmocka_unit_test(test_sampling),        cmocka_unit_test(test_features),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

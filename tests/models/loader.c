/* SPDX-License-Identifier: BSD-2-Clause */
/* Filling weights from files: order of elements, other spellings, and files that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "models/weight_loader.h"

static mm_error error;
static char file_path[64];
static char notices[2048];
static size_t allocations, allocations_granted;

/* The least that the loader asks of a backend. */
static mm_status allocate(mm_backend *backend, size_t bytes, void **out, mm_error *e)
{
    (void)backend;
    allocations++;
    *out = allocations > allocations_granted ? NULL : mm_calloc(1, bytes);
    return *out ? MM_OK : mm_fail_memory(e, "a weight", bytes);
}

static mm_status upload(mm_backend *backend, void *to, const void *from, size_t bytes, mm_error *e)
{
    (void)backend;
    (void)e;
    memcpy(to, from, bytes);
    return MM_OK;
}

static void weight_release(mm_backend *backend, mm_weight *weight)
{
    (void)backend;
    mm_free(weight->data);
    weight->data = NULL;
}

static const mm_backend_table host = {
    .name = "host", .host_memory = true, .allocate = allocate, .weight_release = weight_release};
static const mm_backend_table device = {
    .name = "device", .allocate = allocate, .upload = upload, .weight_release = weight_release};
static mm_backend backend = {.threads = 2};

static void note(void *user, int32_t level, const char *message)
{
    (void)user;
    assert_int_equal(level, MM_LOG_NOTICE);
    strncat(notices, message, sizeof(notices) - strlen(notices) - 1);
}

static const mm_logger logger = {note, NULL};

static int make_path(void **state)
{
    (void)state;
    strcpy(file_path, "/tmp/mm-loader-XXXXXX");
    int descriptor = mkstemp(file_path);
    return descriptor < 0 || close(descriptor);
}

static int remove_path(void **state)
{
    (void)state;
    return remove(file_path);
}

/* Element i of every tensor is i, or `first` + i. */
static mm_tensor_entry tensor(const char *name, mm_shape shape, float first)
{
    int64_t count = mm_shape_elements(&shape);
    float *data = mm_malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        data[i] = first + (float)i;
    return (mm_tensor_entry){name, MM_F32, shape, data};
}

static mm_tensor_file *write_and_open(mm_tensor_entry *entries, size_t count)
{
    mm_tensor_file *file;
    assert_int_equal(mm_safetensors_write(file_path, entries, count, NULL, 0, &error), MM_OK);
    assert_int_equal(mm_tensor_file_open(&file, file_path, &error), MM_OK);
    for (size_t i = 0; i < count; i++)
        mm_free((void *)(uintptr_t)entries[i].data);
    notices[0] = '\0';
    allocations = 0;
    allocations_granted = SIZE_MAX;
    return file;
}

static mm_weight *declare(mm_weight_set *set, const char *name, mm_shape stored, mm_shape shape,
                          mm_weight_order order)
{
    mm_weight *weight = mm_weight_declare(set, &(mm_weight_part){name, stored}, 1, &shape,
                                          shape.rank > 1 ? set->dtype : MM_F32, order);
    assert_non_null(weight);
    return weight;
}

static mm_status load(mm_weight_set *set, mm_tensor_file *file)
{
    return mm_weights_load(set, file, &backend, &logger, &error);
}

static void finish(mm_weight_set *set, mm_tensor_file *file)
{
    mm_weights_release(set, &backend);
    mm_weight_set_free(set);
    mm_tensor_file_close(&file);
}

static void parts_are_stacked(void **state)
{
    (void)state;
    mm_weight_set set;
    mm_weight_set_init(&set, MM_F32);
    const mm_weight_part parts[] = {{"a.to_q.weight", MM_SHAPE(2, 3)},
                                    {"a.to_k.weight", MM_SHAPE(2, 3)},
                                    {"a.to_v.weight", MM_SHAPE(2, 3)}};
    mm_weight *weight =
        mm_weight_declare(&set, parts, 3, &MM_SHAPE(6, 3), MM_F32, MM_WEIGHT_AS_STORED);
    mm_tensor_file *file =
        write_and_open((mm_tensor_entry[]){tensor("a.to_k.weight", MM_SHAPE(2, 3), 100),
                                           tensor("a.to_q.weight", MM_SHAPE(2, 3), 0),
                                           tensor("a.to_v.weight", MM_SHAPE(2, 3), 200)},
                       3);
    assert_int_equal(load(&set, file), MM_OK);
    const float *data = weight->data;
    for (int i = 0; i < 18; i++)
        assert_true(data[i] == (float)(100 * (i / 6) + i % 6));
    assert_string_equal(notices, "");
    /* A second load keeps what is there. */
    assert_int_equal(load(&set, file), MM_OK);
    assert_ptr_equal(weight->data, data);
    assert_int_equal(allocations, 1);
    finish(&set, file);
}

/* Larger than one slice. */
static void taps_come_first(void **state)
{
    (void)state;
    enum { OUT = 330, IN = 310 };
    mm_weight_set set;
    mm_weight_set_init(&set, MM_F32);
    mm_weight *weight = declare(&set, "conv.weight", MM_SHAPE(OUT, IN, 3, 1, 1),
                                MM_SHAPE(3, OUT, IN), MM_WEIGHT_TAPS_FIRST);
    mm_tensor_file *file = write_and_open(
        (mm_tensor_entry[]){tensor("conv.weight", MM_SHAPE(OUT, IN, 3, 1, 1), 0)}, 1);
    assert_int_equal(load(&set, file), MM_OK);
    const float *data = weight->data;
    for (int tap = 0; tap < 3; tap++)
        for (int i = 0; i < OUT * IN; i++)
            if (data[tap * OUT * IN + i] != (float)(3 * i + tap))
                fail_msg("tap %d, element %d: %g", tap, i, (double)data[tap * OUT * IN + i]);
    finish(&set, file);
}

static void half_precision(void **state)
{
    (void)state;
    mm_weight_set set;
    mm_weight_set_init(&set, MM_BF16);
    mm_weight *matrix =
        declare(&set, "m.weight", MM_SHAPE(4, 2), MM_SHAPE(4, 2), MM_WEIGHT_AS_STORED);
    mm_weight *bias = declare(&set, "m.bias", MM_SHAPE(4), MM_SHAPE(4), MM_WEIGHT_AS_STORED);
    mm_tensor_file *file =
        write_and_open((mm_tensor_entry[]){tensor("m.weight", MM_SHAPE(4, 2), -3),
                                           tensor("m.bias", MM_SHAPE(4), 0.5f)},
                       2);
    assert_int_equal(load(&set, file), MM_OK);
    assert_int_equal(matrix->bytes, 16);
    for (int i = 0; i < 8; i++)
        assert_true(mm_bf16_to_f32(((uint16_t *)matrix->data)[i]) == (float)(i - 3));
    assert_true(((float *)bias->data)[3] == 3.5f);
    finish(&set, file);
}

static void other_spellings(void **state)
{
    (void)state;
    mm_weight_set set;
    mm_weight_set_init(&set, MM_F32);
    mm_weight *q = declare(&set, "mid.attentions.0.to_q.weight", MM_SHAPE(2, 2), MM_SHAPE(2, 2),
                           MM_WEIGHT_AS_STORED);
    mm_weight *out = declare(&set, "mid.attentions.0.to_out.0.bias", MM_SHAPE(2), MM_SHAPE(2),
                             MM_WEIGHT_AS_STORED);
    mm_weight *norm =
        declare(&set, "text_model.norm.weight", MM_SHAPE(3), MM_SHAPE(3), MM_WEIGHT_AS_STORED);
    mm_tensor_file *file = write_and_open(
        (mm_tensor_entry[]){tensor("mid.attentions.0.query.weight", MM_SHAPE(2, 2, 1, 1), 1),
                            tensor("mid.attentions.0.proj_attn.bias", MM_SHAPE(2), 2),
                            tensor("norm.weight", MM_SHAPE(3), 3),
                            tensor("embeddings.position_ids", MM_SHAPE(1, 3), 0)},
        4);
    assert_int_equal(load(&set, file), MM_OK);
    assert_true(((float *)q->data)[3] == 4.0f);
    assert_true(((float *)out->data)[0] == 2.0f);
    assert_true(((float *)norm->data)[0] == 3.0f);
    assert_string_equal(notices, "");
    finish(&set, file);
}

static void extra_tensors_are_skipped_with_one_notice(void **state)
{
    (void)state;
    mm_weight_set set;
    mm_weight_set_init(&set, MM_F32);
    declare(&set, "b", MM_SHAPE(1), MM_SHAPE(1), MM_WEIGHT_AS_STORED);
    mm_tensor_file *file =
        write_and_open((mm_tensor_entry[]){tensor("a", MM_SHAPE(1), 0), tensor("b", MM_SHAPE(1), 0),
                                           tensor("c", MM_SHAPE(1), 0)},
                       3);
    assert_int_equal(load(&set, file), MM_OK);
    assert_non_null(strstr(notices, "2 tensor(s)"));
    assert_non_null(strstr(notices, "'a'"));
    finish(&set, file);
}

/* Nothing is allocated for a file that does not fit. */
static void assert_refused(mm_tensor_entry entry, const char *message)
{
    mm_weight_set set;
    mm_weight_set_init(&set, MM_F32);
    declare(&set, "first", MM_SHAPE(1), MM_SHAPE(1), MM_WEIGHT_AS_STORED);
    declare(&set, "m.weight", MM_SHAPE(2, 3), MM_SHAPE(2, 3), MM_WEIGHT_AS_STORED);
    mm_tensor_file *file =
        write_and_open((mm_tensor_entry[]){tensor("first", MM_SHAPE(1), 0), entry}, 2);
    assert_int_equal(load(&set, file), MM_ERR_INPUT);
    assert_int_equal(allocations, 0);
    if (!strstr(error.text, message) || !strstr(error.text, file_path) ||
        !strstr(error.text, "m.weight"))
        fail_msg("%s", error.text);
    finish(&set, file);
}

static void files_that_do_not_fit(void **state)
{
    (void)state;
    assert_refused(tensor("other.weight", MM_SHAPE(2, 3), 0), "missing");
    assert_refused(tensor("m.weight", MM_SHAPE(3, 2), 0), "[3, 2]");
    assert_refused(tensor("m.weight", MM_SHAPE(2, 3, 1, 2), 0), "[2, 3]");
    assert_refused(tensor("m.weight", MM_SHAPE(6), 0), "[6]");
    mm_tensor_entry whole = tensor("m.weight", MM_SHAPE(2, 3), 0);
    whole.dtype = MM_I32;
    assert_refused(whole, "i32");
}

static void nothing_is_left_of_a_failed_load(void **state)
{
    (void)state;
    mm_weight_set set;
    mm_weight_set_init(&set, MM_F32);
    mm_weight *a = declare(&set, "a", MM_SHAPE(5), MM_SHAPE(5), MM_WEIGHT_AS_STORED);
    mm_weight *b = declare(&set, "b", MM_SHAPE(5), MM_SHAPE(5), MM_WEIGHT_AS_STORED);
    mm_tensor_file *file = write_and_open(
        (mm_tensor_entry[]){tensor("a", MM_SHAPE(5), 0), tensor("b", MM_SHAPE(5), 0)}, 2);
    allocations_granted = 1;
    assert_int_equal(load(&set, file), MM_ERR_MEMORY);
    assert_true(!a->data && !b->data);
    allocations_granted = SIZE_MAX;
    assert_int_equal(load(&set, file), MM_OK);
    assert_true(((float *)a->data)[4] == 4.0f && ((float *)b->data)[4] == 4.0f);
    finish(&set, file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_stacked),
        cmocka_unit_test(taps_come_first),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(other_spellings),
        cmocka_unit_test(extra_tensors_are_skipped_with_one_notice),
        cmocka_unit_test(files_that_do_not_fit),
        cmocka_unit_test(nothing_is_left_of_a_failed_load),
    };
    backend.table = &host;
    int failures = cmocka_run_group_tests_name("straight", tests, make_path, remove_path);
    backend.table = &device;
    return failures + cmocka_run_group_tests_name("uploaded", tests, make_path, remove_path);
}

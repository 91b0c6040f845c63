/* SPDX-License-Identifier: BSD-2-Clause */
/* Tensors with wrong arguments. */
#include "walk.h"

#include "api/dlpack.h"

static void count(void *user)
{
    ++*(int *)user;
}

/* What was refused is not released. */
void walk_mm_tensor_wrap(void)
{
    static const float value[6];
    static const int64_t shape[] = {2, 3, 1, 1, 1, 1, 1}, negative[] = {2, -3},
                         huge[] = {INT64_MAX, 3};
    mm_tensor *out;
    int released = 0;
    REFUSED(mm_tensor_wrap(NULL, value, "f32", 2, shape, NULL, count, &released), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, NULL, "f32", 2, shape, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, NULL, 2, shape, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, "f8", 2, shape, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, "f32", -1, shape, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, "f32", 7, shape, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, "f32", 2, NULL, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, "f32", 2, negative, NULL, count, &released),
                MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_wrap(&out, value, "f32", 2, huge, NULL, count, &released),
                MM_ERR_USAGE);
    assert_int_equal(released, 0);
}

void walk_mm_tensor_free(void)
{
    mm_tensor *none = NULL;
    mm_tensor_free(NULL);
    mm_tensor_free(&none);
}

void walk_mm_tensor_dtype(void)
{
    assert_string_equal(mm_tensor_dtype(NULL), "");
}

void walk_mm_tensor_rank(void)
{
    assert_int_equal(mm_tensor_rank(NULL), -1);
}

void walk_mm_tensor_shape(void)
{
    assert_null(mm_tensor_shape(NULL));
}

void walk_mm_tensor_strides(void)
{
    assert_null(mm_tensor_strides(NULL));
}

void walk_mm_tensor_data(void)
{
    assert_null(mm_tensor_data(NULL));
}

static mm_tensor *tensor(void)
{
    static const float value = 1.0f;
    mm_tensor *out = NULL;
    OK(mm_tensor_wrap(&out, &value, "f32", 0, NULL, NULL, NULL, NULL));
    return out;
}

void walk_mm_tensor_to_dlpack(void)
{
    mm_tensor *t = tensor();
    struct DLManagedTensorVersioned *out;
    REFUSED_OUT(out, mm_tensor_to_dlpack(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_tensor_to_dlpack(t, NULL), MM_ERR_USAGE);
    mm_tensor_free(&t);
}

void walk_mm_tensor_to_old_dlpack(void)
{
    mm_tensor *t = tensor();
    struct DLManagedTensor *out;
    REFUSED_OUT(out, mm_tensor_to_old_dlpack(NULL, &out), MM_ERR_USAGE);
    REFUSED(mm_tensor_to_old_dlpack(t, NULL), MM_ERR_USAGE);
    mm_tensor_free(&t);
}

static float element;

static mm_dl_tensor description(void)
{
    return (mm_dl_tensor){.data = &element,
                          .device_type = MM_DL_CPU,
                          .ndim = 0,
                          .code = MM_DL_FLOAT,
                          .bits = 32,
                          .lanes = 1};
}

/* Each of these is wrong in one thing; without a deleter, for it must not be called. */
static size_t wrong_descriptions(mm_dl_tensor out[6])
{
    static int64_t negative[] = {-1};
    for (size_t i = 0; i < 6; i++)
        out[i] = description();
    out[0].data = NULL;
    out[1].device_type = 2; /* CUDA */
    out[2].bits = 8;
    out[3].lanes = 4;
    out[4].ndim = 1;
    out[5].ndim = 1;
    out[5].shape = negative;
    return 6;
}

static void must_not_delete(struct DLManagedTensorVersioned *self)
{
    fail_msg("what was refused was deleted (%p)", (void *)self);
}

static void must_not_delete_old(struct DLManagedTensor *self)
{
    fail_msg("what was refused was deleted (%p)", (void *)self);
}

void walk_mm_tensor_from_dlpack(void)
{
    mm_dl_tensor wrong[6];
    struct DLManagedTensorVersioned given = {
        .major = 1, .deleter = must_not_delete, .dl_tensor = description()};
    mm_tensor *out;
    REFUSED(mm_tensor_from_dlpack(NULL, &given), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_from_dlpack(&out, NULL), MM_ERR_USAGE);
    for (size_t i = 0; i < wrong_descriptions(wrong); i++) {
        given.dl_tensor = wrong[i];
        REFUSED_OUT(out, mm_tensor_from_dlpack(&out, &given), MM_ERR_USAGE);
    }
    given.dl_tensor = description();
    given.major = 2;
    REFUSED_OUT(out, mm_tensor_from_dlpack(&out, &given), MM_ERR_UNSUPPORTED);
}

void walk_mm_tensor_from_old_dlpack(void)
{
    mm_dl_tensor wrong[6];
    struct DLManagedTensor given = {.deleter = must_not_delete_old, .dl_tensor = description()};
    mm_tensor *out;
    REFUSED(mm_tensor_from_old_dlpack(NULL, &given), MM_ERR_USAGE);
    REFUSED_OUT(out, mm_tensor_from_old_dlpack(&out, NULL), MM_ERR_USAGE);
    for (size_t i = 0; i < wrong_descriptions(wrong); i++) {
        given.dl_tensor = wrong[i];
        REFUSED_OUT(out, mm_tensor_from_old_dlpack(&out, &given), MM_ERR_USAGE);
    }
}

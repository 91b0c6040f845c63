/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/weight_loader.h"

#include <string.h>

#include "base/memory.h"

/* Elements that are read, converted and placed at a time by each thread. */
#define SLICE (1 << 18)

/* Where one part of a weight comes from and goes to. */
typedef struct source {
    const mm_tensor_file *file;
    size_t index; /* in the file */
    mm_weight *weight;
    int64_t first; /* element of the weight where the part begins */
    int64_t count;
    mm_backend *backend;
} source;

/* Old names of the VAE's attention layers. */
static const struct {
    const char *now, *before;
} renamed[] = {
    {".to_q.", ".query."},
    {".to_k.", ".key."},
    {".to_v.", ".value."},
    {".to_out.0.", ".proj_attn."},
};

/* `name` with its first `now` as `before`; NULL when it is not in there. */
static char *replaced(const char *name, const char *now, const char *before)
{
    const char *at = strstr(name, now);
    return at ? mm_format("%.*s%s%s", (int)(at - name), name, before, at + strlen(now)) : NULL;
}

static int64_t find_spelling(const mm_tensor_file *file, char *spelling)
{
    int64_t found = spelling ? mm_tensor_file_find(file, spelling) : -1;
    mm_free(spelling);
    return found;
}

static int64_t find(const mm_tensor_file *file, const char *name)
{
    static const char prefix[] = "text_model.";
    int64_t found = mm_tensor_file_find(file, name);
    if (found < 0 && strncmp(name, prefix, sizeof(prefix) - 1) == 0)
        found = mm_tensor_file_find(file, name + sizeof(prefix) - 1);
    for (size_t i = 0; found < 0 && i < sizeof(renamed) / sizeof(renamed[0]); i++)
        found = find_spelling(file, replaced(name, renamed[i].now, renamed[i].before));
    return found;
}

/* Equal, or a matrix that is stored as a 1x1 convolution. */
static bool same_shape(const mm_shape *want, const mm_shape *have)
{
    mm_shape stored = *have;
    if (want->rank == 2 && have->rank == 4 && have->dim[2] == 1 && have->dim[3] == 1)
        stored.rank = 2;
    return mm_shape_equal(want, &stored);
}

static mm_status check_part(const mm_weight_part *part, const mm_tensor_file *file, int64_t *index,
                            mm_error *error)
{
    const char *path = mm_tensor_file_path(file);
    *index = find(file, part->name);
    if (*index < 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: the tensor '%s' is missing", path, part->name);
    const mm_tensor_info *info = mm_tensor_file_info(file, (size_t)*index);
    char want[128], have[128];
    if (!same_shape(&part->shape, &info->shape))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the tensor '%s' is %s, the model's config makes it %s", path,
                       info->name, mm_shape_text(&info->shape, have, sizeof(have)),
                       mm_shape_text(&part->shape, want, sizeof(want)));
    if (info->dtype > MM_F64)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the tensor '%s' holds %s instead of numbers with "
                       "a fraction",
                       path, info->name, mm_dtype_name(info->dtype));
    return MM_OK;
}

/* What many files hold and no network asks for. */
static bool is_known_surplus(const char *name)
{
    return strstr(name, "position_ids") || strcmp(name, "logit_scale") == 0;
}

static void report_unused(const mm_tensor_file *file, const bool *used, const mm_logger *logger)
{
    size_t count = 0;
    const char *first = NULL;
    for (size_t i = 0; i < mm_tensor_file_count(file); i++) {
        const char *name = mm_tensor_file_info(file, i)->name;
        if (used[i] || is_known_surplus(name))
            continue;
        first = first ? first : name;
        count++;
    }
    if (count)
        mm_log(logger, MM_LOG_NOTICE,
               "%s: skipped %zu tensor(s) that the model has no use for, "
               "'%s' first",
               mm_tensor_file_path(file), count, first);
}

mm_status mm_weights_check(const mm_weight_set *weights, const mm_tensor_file *file,
                           const mm_logger *logger, mm_error *error)
{
    size_t count = mm_tensor_file_count(file);
    bool *used = mm_calloc(count ? count : 1, sizeof(*used));
    if (!used)
        return mm_fail_memory(error, "the list of tensors", count);
    mm_status status = MM_OK;
    for (int32_t i = 0; i < weights->count && status == MM_OK; i++) {
        const mm_weight *weight = weights->weight[i];
        for (int32_t p = 0; p < weight->part_count && status == MM_OK; p++) {
            int64_t index;
            status = check_part(&weight->part[p], file, &index, error);
            if (status == MM_OK)
                used[index] = true;
        }
    }
    if (status == MM_OK)
        report_unused(file, used, logger);
    mm_free(used);
    return status;
}

static void convert(const float *from, int64_t count, mm_dtype dtype, void *to)
{
    switch (dtype) {
    case MM_F16:
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)to)[i] = mm_f32_to_f16(from[i]);
        break;
    case MM_BF16:
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)to)[i] = mm_f32_to_bf16(from[i]);
        break;
    default:
        memcpy(to, from, (size_t)count * sizeof(float));
    }
}

/* `values` is overwritten by their converted form, which is no longer. */
static mm_status place(const source *s, int64_t element, float *values, int64_t count,
                       mm_error *error)
{
    size_t size = mm_dtype_bytes(s->weight->dtype);
    convert(values, count, s->weight->dtype, values);
    return s->backend->table->upload(s->backend, (char *)s->weight->data + (size_t)element * size,
                                     values, (size_t)count * size, error);
}

/* Elements first .. first + count - 1 of the part, where memory has the same order. */
static mm_status read_slice(const source *s, int64_t first, int64_t count, float *buffer,
                            mm_error *error)
{
    MM_TRY(mm_tensor_file_read_f32(s->file, s->index, first, count, buffer, error));
    return place(s, s->first + first, buffer, count, error);
}

/* [out, in, taps] in the file, [taps, out, in] in memory. The second half of the buffer holds one
   tap's elements. */
static mm_status read_taps_slice(const source *s, int64_t first, int64_t count, float *buffer,
                                 mm_error *error)
{
    int64_t taps = s->weight->shape.dim[0], pairs = s->count / taps;
    float *one = buffer + SLICE;
    MM_TRY(mm_tensor_file_read_f32(s->file, s->index, first, count, buffer, error));
    for (int64_t tap = 0; tap < taps; tap++) {
        for (int64_t i = 0; i < count / taps; i++)
            one[i] = buffer[i * taps + tap];
        MM_TRY(place(s, s->first + tap * pairs + first / taps, one, count / taps, error));
    }
    return MM_OK;
}

static mm_status read_part(const source *s, mm_error *error)
{
    bool taps = s->weight->order == MM_WEIGHT_TAPS_FIRST;
    int64_t step = taps ? SLICE / s->weight->shape.dim[0] * s->weight->shape.dim[0] : SLICE;
    int64_t slices = (s->count + step - 1) / step;
    mm_status status = MM_OK;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic) if (slices > 1)
#endif
    for (int64_t i = 0; i < slices; i++) {
        mm_error problem = {0};
        int64_t first = i * step, count = first + step < s->count ? step : s->count - first;
        size_t bytes = (size_t)(taps ? 2 : 1) * SLICE * sizeof(float);
        float *buffer = mm_malloc(bytes);
        mm_status result = !buffer ? mm_fail_memory(&problem, "a slice of a tensor", bytes)
                           : taps  ? read_taps_slice(s, first, count, buffer, &problem)
                                   : read_slice(s, first, count, buffer, &problem);
        mm_free(buffer);
        if (result == MM_OK)
            continue;
#ifdef _OPENMP
#pragma omp critical
#endif
        if (status == MM_OK) {
            status = result;
            *error = problem;
        }
    }
    return status;
}

static mm_status load_weight(mm_weight *weight, const mm_tensor_file *file, mm_backend *backend,
                             mm_error *error)
{
    size_t bytes = (size_t)mm_shape_elements(&weight->shape) * mm_dtype_bytes(weight->dtype);
    MM_TRY(backend->table->allocate(backend, bytes, &weight->data, error));
    weight->bytes = bytes;
    source s = {.file = file, .weight = weight, .backend = backend};
    for (int32_t i = 0; i < weight->part_count; i++) {
        s.index = (size_t)find(file, weight->part[i].name);
        s.count = mm_shape_elements(&weight->part[i].shape);
        MM_TRY(read_part(&s, error));
        s.first += s.count;
    }
    return MM_OK;
}

mm_status mm_weights_load(mm_weight_set *weights, const mm_tensor_file *file, mm_backend *backend,
                          const mm_logger *logger, mm_error *error)
{
    MM_TRY(mm_weights_check(weights, file, logger, error));
    for (int32_t i = 0; i < weights->count; i++) {
        mm_weight *weight = weights->weight[i];
        if (weight->data || weight->packed)
            continue;
        mm_status status = load_weight(weight, file, backend, error);
        if (status != MM_OK) {
            backend->table->weight_release(backend, weight);
            return status;
        }
    }
    return MM_OK;
}

void mm_weights_release(mm_weight_set *weights, mm_backend *backend)
{
    for (int32_t i = 0; i < weights->count; i++) {
        if (weights->weight[i]->data || weights->weight[i]->packed)
            backend->table->weight_release(backend, weights->weight[i]);
    }
}

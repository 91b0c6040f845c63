/* SPDX-License-Identifier: BSD-2-Clause */
#include "models/weight_loader.h"

#include <string.h>

#include "base/memory.h"

/* Elements that a thread reads, converts and places at a time; fewer where they are rearranged on
   the way, so that they stay in its cache. */
#define SLICE (1 << 18)
#define TAPS_SLICE (1 << 16)
#define BUFFER_BYTES (SLICE * sizeof(float))

/* Where one part of a weight comes from and goes to. */
typedef struct source {
    size_t index; /* in the file */
    mm_weight *weight;
    int64_t first; /* element of the weight where the part begins */
    int64_t count;
    int64_t step; /* elements of a slice */
} source;

typedef struct slice {
    const source *source;
    int64_t first, count; /* elements of the part */
} slice;

/* All that is to be read, cut into slices that threads take one by one. */
typedef struct loading {
    const mm_tensor_file *file;
    mm_backend *backend;
    source *source;
    slice *slice;
    int64_t sources, slices;
} loading;

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

static void *place_of(const source *s, int64_t element)
{
    return (char *)s->weight->data + (size_t)element * mm_dtype_bytes(s->weight->dtype);
}

static mm_status upload(const loading *l, const source *s, int64_t element, const void *values,
                        int64_t count, mm_error *error)
{
    return l->backend->table->upload(l->backend, place_of(s, element), values,
                                     (size_t)count * mm_dtype_bytes(s->weight->dtype), error);
}

/* A slice whose elements have the same order in memory. */
static mm_status read_in_order(const loading *l, const slice *part, void *buffer, mm_error *error)
{
    const source *s = part->source;
    bool straight = l->backend->table->host_memory;
    int64_t element = s->first + part->first;
    void *to = straight ? place_of(s, element) : buffer;
    MM_TRY(mm_tensor_file_read_as(l->file, s->index, part->first, part->count, s->weight->dtype, to,
                                  error));
    return straight ? MM_OK : upload(l, s, element, to, part->count, error);
}

/* Every `step`-th element. */
static void pick(void *to, const void *from, int64_t step, int64_t count, size_t size)
{
    if (size == sizeof(uint16_t))
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)to)[i] = ((const uint16_t *)from)[i * step];
    else
        for (int64_t i = 0; i < count; i++)
            ((uint32_t *)to)[i] = ((const uint32_t *)from)[i * step];
}

/* [out, in, taps] in the file, [taps, out, in] in memory. */
static mm_status read_taps(const loading *l, const slice *part, char *buffer, mm_error *error)
{
    const source *s = part->source;
    size_t size = mm_dtype_bytes(s->weight->dtype);
    int64_t taps = s->weight->shape.dim[0], count = part->count / taps;
    bool straight = l->backend->table->host_memory;
    MM_TRY(mm_tensor_file_read_as(l->file, s->index, part->first, part->count, s->weight->dtype,
                                  buffer, error));
    for (int64_t tap = 0; tap < taps; tap++) {
        int64_t element = s->first + tap * (s->count / taps) + part->first / taps;
        void *to = straight ? place_of(s, element) : buffer + BUFFER_BYTES / 2;
        pick(to, buffer + (size_t)tap * size, taps, count, size);
        if (!straight)
            MM_TRY(upload(l, s, element, to, count, error));
    }
    return MM_OK;
}

static mm_status read_slice(const loading *l, const slice *part, void *buffer, mm_error *error)
{
    if (!buffer)
        return mm_fail_memory(error, "a slice of a tensor", BUFFER_BYTES);
    bool taps = part->source->weight->order == MM_WEIGHT_TAPS_FIRST;
    return taps ? read_taps(l, part, buffer, error) : read_in_order(l, part, buffer, error);
}

static mm_status read_slices(const loading *l, mm_error *error)
{
    mm_status status = MM_OK;
#ifdef _OPENMP
#pragma omp parallel num_threads(l->backend->threads)
#endif
    {
        void *buffer = mm_malloc(BUFFER_BYTES);
#ifdef _OPENMP
#pragma omp for schedule(dynamic)
#endif
        for (int64_t i = 0; i < l->slices; i++) {
            mm_error problem = {0};
            mm_status result = read_slice(l, &l->slice[i], buffer, &problem);
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
        mm_free(buffer);
    }
    return status;
}

static bool is_filled(const mm_weight *weight)
{
    return weight->data || weight->packed;
}

static source source_of(const loading *l, mm_weight *weight, int32_t part, int64_t first)
{
    bool taps = weight->order == MM_WEIGHT_TAPS_FIRST;
    return (source){
        .index = (size_t)find(l->file, weight->part[part].name),
        .weight = weight,
        .first = first,
        .count = mm_shape_elements(&weight->part[part].shape),
        .step = taps ? TAPS_SLICE / weight->shape.dim[0] * weight->shape.dim[0] : SLICE,
    };
}

static void list_sources(loading *l, const mm_weight_set *weights)
{
    for (int32_t i = 0; i < weights->count; i++) {
        mm_weight *weight = weights->weight[i];
        int64_t first = 0;
        for (int32_t p = 0; p < weight->part_count && !is_filled(weight); p++) {
            source *s = &l->source[l->sources++];
            *s = source_of(l, weight, p, first);
            first += s->count;
            l->slices += (s->count + s->step - 1) / s->step;
        }
    }
}

static void cut(loading *l)
{
    slice *next = l->slice;
    for (int64_t i = 0; i < l->sources; i++) {
        const source *s = &l->source[i];
        for (int64_t first = 0; first < s->count; first += s->step) {
            int64_t left = s->count - first;
            *next++ = (slice){s, first, left < s->step ? left : s->step};
        }
    }
}

static mm_status plan(loading *l, const mm_weight_set *weights, mm_error *error)
{
    size_t parts = 1;
    for (int32_t i = 0; i < weights->count; i++)
        parts += (size_t)weights->weight[i]->part_count;
    l->source = mm_malloc(parts * sizeof(*l->source));
    if (!l->source)
        return mm_fail_memory(error, "a list of tensors", parts * sizeof(*l->source));
    list_sources(l, weights);
    size_t bytes = ((size_t)l->slices + 1) * sizeof(*l->slice);
    l->slice = mm_malloc(bytes);
    if (!l->slice)
        return mm_fail_memory(error, "a list of slices", bytes);
    cut(l);
    return MM_OK;
}

static mm_status allocate(const loading *l, mm_error *error)
{
    for (int64_t i = 0; i < l->sources; i++) {
        mm_weight *weight = l->source[i].weight;
        if (weight->data)
            continue;
        size_t bytes = (size_t)mm_shape_elements(&weight->shape) * mm_dtype_bytes(weight->dtype);
        MM_TRY(l->backend->table->allocate(l->backend, bytes, &weight->data, error));
        weight->bytes = bytes;
    }
    return MM_OK;
}

static void give_up(const loading *l)
{
    for (int64_t i = 0; i < l->sources; i++)
        if (is_filled(l->source[i].weight))
            l->backend->table->weight_release(l->backend, l->source[i].weight);
}

mm_status mm_weights_load(mm_weight_set *weights, const mm_tensor_file *file, mm_backend *backend,
                          const mm_logger *logger, mm_error *error)
{
    loading l = {.file = file, .backend = backend};
    MM_TRY(mm_weights_check(weights, file, logger, error));
    mm_status status = plan(&l, weights, error);
    if (status == MM_OK)
        status = allocate(&l, error);
    if (status == MM_OK)
        status = read_slices(&l, error);
    if (status != MM_OK)
        give_up(&l);
    mm_free(l.source);
    mm_free(l.slice);
    return status;
}

void mm_weights_release(mm_weight_set *weights, mm_backend *backend)
{
    for (int32_t i = 0; i < weights->count; i++) {
        if (is_filled(weights->weight[i]))
            backend->table->weight_release(backend, weights->weight[i]);
    }
}

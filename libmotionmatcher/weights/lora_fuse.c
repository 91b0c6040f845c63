/* SPDX-License-Identifier: BSD-2-Clause */
/* A network's weights with a LoRA added, written tensor by tensor. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "weights/lora_layers.h"

#define SLICE (1 << 18) /* elements that are read, changed and written at a time */

/* The layer that changes a tensor of the model. */
typedef struct change {
    size_t index; /* of the tensor */
    const mm_lora_layer *layer;
} change;

typedef struct fusion {
    const mm_lora_layers *layers;
    const mm_tensor_file *model;
    const atomic_int *stop;
    int threads;
    change *changes; /* sorted by tensor */
    unsigned char *bytes;
    float *rows;
} fusion;

static int compare_changes(const void *a, const void *b)
{
    const change *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static mm_status check_layer(const fusion *f, const mm_lora_layer *layer, size_t index,
                             mm_error *error)
{
    char text[96];
    const mm_tensor_info *info = mm_tensor_file_info(f->model, index);
    int64_t elements = mm_shape_elements(&info->shape);
    if (info->shape.rank >= 2 && info->dtype <= MM_F64 && info->shape.dim[0] == layer->out &&
        elements / layer->out == layer->in)
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: '%s' is %s %s; the LoRA's layer has %lld inputs and %lld outputs: a LoRA "
                   "for another model?",
                   mm_tensor_file_path(f->model), info->name,
                   mm_shape_text(&info->shape, text, sizeof(text)), mm_dtype_name(info->dtype),
                   (long long)layer->in, (long long)layer->out);
}

static mm_status find_changes(fusion *f, mm_error *error)
{
    for (size_t i = 0; i < f->layers->count; i++) {
        const mm_lora_layer *layer = &f->layers->layer[i];
        char *name = mm_format("%s.weight", layer->path);
        if (!name)
            return mm_fail_memory(error, "a name", strlen(layer->path));
        int64_t index = mm_tensor_file_find(f->model, name);
        mm_free(name);
        if (index < 0)
            return mm_fail(error, MM_ERR_INPUT, "%s: no layer '%s' for the LoRA",
                           mm_tensor_file_path(f->model), layer->path);
        MM_TRY(check_layer(f, layer, (size_t)index, error));
        f->changes[i] = (change){(size_t)index, layer};
    }
    qsort(f->changes, f->layers->count, sizeof(*f->changes), compare_changes);
    return MM_OK;
}

static const mm_lora_layer *layer_of(const fusion *f, size_t index)
{
    const change wanted = {.index = index};
    const change *found =
        bsearch(&wanted, f->changes, f->layers->count, sizeof(wanted), compare_changes);
    return found ? found->layer : NULL;
}

static mm_status copy_tensor(const fusion *f, size_t index, mm_output_file *file, mm_error *error)
{
    const mm_tensor_info *info = mm_tensor_file_info(f->model, index);
    const int64_t count = mm_shape_elements(&info->shape);
    for (int64_t first = 0, n; first < count; first += n) {
        n = count - first < SLICE ? count - first : SLICE;
        MM_TRY(mm_tensor_file_read_raw(f->model, index, first, n, f->bytes, error));
        MM_TRY(
            mm_output_file_write(file, f->bytes, (size_t)n * mm_dtype_bytes(info->dtype), error));
    }
    return MM_OK;
}

static void add_value(mm_dtype dtype, unsigned char *at, float added)
{
    uint16_t *half = (uint16_t *)(void *)at;
    switch (dtype) {
    case MM_F16:
        *half = mm_f32_to_f16(mm_f16_to_f32(*half) + added);
        break;
    case MM_BF16:
        *half = mm_f32_to_bf16(mm_bf16_to_f32(*half) + added);
        break;
    case MM_F64:
        *(double *)(void *)at += (double)added;
        break;
    default:
        *(float *)(void *)at += added;
    }
}

/* Row `o` of scale * up * down. */
static void product_row(const mm_lora_layer *layer, const float *down, const float *up, int64_t o,
                        float *row)
{
    memset(row, 0, (size_t)layer->in * sizeof(*row));
    for (int64_t k = 0; k < layer->rank; k++) {
        const float factor = up[o * layer->rank + k];
        for (int64_t i = 0; i < layer->in; i++)
            row[i] += factor * down[k * layer->in + i];
    }
}

typedef struct factors {
    const mm_lora_layer *layer;
    float *down, *up; /* the scale is in up */
} factors;

static void add_rows(const fusion *f, const factors *t, mm_dtype dtype, int64_t first, int64_t rows)
{
    const int64_t in = t->layer->in;
    const size_t size = mm_dtype_bytes(dtype);
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(f->threads)
#endif
    for (int64_t o = 0; o < rows; o++) {
        float *row = f->rows + o * in;
        product_row(t->layer, t->down, t->up, first + o, row);
        for (int64_t i = 0; i < in; i++)
            add_value(dtype, f->bytes + (size_t)(o * in + i) * size, row[i]);
    }
}

static mm_status add_product(const fusion *f, const factors *t, size_t index, mm_output_file *file,
                             mm_error *error)
{
    const mm_tensor_info *info = mm_tensor_file_info(f->model, index);
    const int64_t in = t->layer->in, out = t->layer->out;
    const int64_t most = SLICE / in > 0 ? SLICE / in : 1;
    for (int64_t first = 0, rows; first < out; first += rows) {
        rows = out - first < most ? out - first : most;
        MM_TRY(mm_tensor_file_read_raw(f->model, index, first * in, rows * in, f->bytes, error));
        add_rows(f, t, info->dtype, first, rows);
        size_t bytes = (size_t)(rows * in) * mm_dtype_bytes(info->dtype);
        MM_TRY(mm_output_file_write(file, f->bytes, bytes, error));
    }
    return MM_OK;
}

static mm_status check_finite(const factors *t, mm_error *error)
{
    const mm_lora_layer *layer = t->layer;
    double sum = 0.0;
    for (int64_t i = 0; i < layer->rank * layer->in; i++)
        sum += 0.0 * (double)t->down[i];
    for (int64_t i = 0; i < layer->out * layer->rank; i++)
        sum += 0.0 * (double)t->up[i];
    if (sum == 0.0)
        return MM_OK;
    return mm_fail(error, MM_ERR_NONFINITE, "the LoRA's layer %s holds numbers that are not finite",
                   layer->path);
}

static mm_status fuse_tensor(const fusion *f, size_t index, const mm_lora_layer *layer,
                             mm_output_file *file, mm_error *error)
{
    factors t = {layer, mm_tensor_floats(layer->down), mm_tensor_floats(layer->up)};
    mm_status status = MM_OK;
    if (!t.down || !t.up)
        status = mm_fail_memory(error, "a LoRA", (size_t)(layer->in * layer->rank));
    for (int64_t i = 0; status == MM_OK && i < layer->out * layer->rank; i++)
        t.up[i] = (float)((double)t.up[i] * (layer->alpha / (double)layer->rank));
    if (status == MM_OK)
        status = check_finite(&t, error);
    if (status == MM_OK)
        status = add_product(f, &t, index, file, error);
    mm_free(t.down);
    mm_free(t.up);
    return status;
}

static mm_status write_tensor(void *user, const mm_tensor_entry *entry, mm_output_file *file,
                              mm_error *error)
{
    const fusion *f = user;
    if (atomic_load(f->stop))
        return mm_fail(error, MM_ERR_CANCELLED, "interrupted before the model was written");
    size_t index = (size_t)mm_tensor_file_find(f->model, entry->name);
    const mm_lora_layer *layer = layer_of(f, index);
    return layer ? fuse_tensor(f, index, layer, file, error) : copy_tensor(f, index, file, error);
}

static mm_status write_all(fusion *f, const char *path, mm_error *error)
{
    const size_t count = mm_tensor_file_count(f->model);
    const mm_metadata_entry format = {MM_SAFETENSORS_FORMAT, "pt"};
    const mm_tensor_source source = {write_tensor, f};
    mm_tensor_entry *entries = mm_calloc(count, sizeof(*entries));
    if (!entries)
        return mm_fail_memory(error, "a list of tensors", count * sizeof(*entries));
    for (size_t i = 0; i < count; i++) {
        const mm_tensor_info *info = mm_tensor_file_info(f->model, i);
        entries[i] = (mm_tensor_entry){info->name, info->dtype, info->shape, NULL};
    }
    mm_status status = mm_safetensors_write_from(path, entries, count, &format, 1, &source, error);
    mm_free(entries);
    return status;
}

/* A slice holds at least one row of every layer. */
static mm_status allocate(fusion *f, mm_error *error)
{
    size_t elements = SLICE;
    for (size_t i = 0; i < f->layers->count; i++) {
        size_t in = (size_t)f->layers->layer[i].in;
        elements = in > elements ? in : elements;
    }
    f->changes = mm_calloc(f->layers->count, sizeof(*f->changes));
    f->bytes = mm_malloc(elements * sizeof(double));
    f->rows = mm_malloc(elements * sizeof(float));
    if (f->changes && f->bytes && f->rows)
        return MM_OK;
    return mm_fail_memory(error, "slices of tensors", elements * sizeof(double));
}

mm_status mm_lora_fuse_file(const mm_lora_layers *layers, const mm_tensor_file *model,
                            const char *path, int threads, const atomic_int *stop, mm_error *error)
{
    fusion f = {.layers = layers, .model = model, .stop = stop, .threads = threads};
    mm_status status = allocate(&f, error);
    if (status == MM_OK)
        status = find_changes(&f, error);
    if (status == MM_OK)
        status = write_all(&f, path, error);
    mm_free(f.changes);
    mm_free(f.bytes);
    mm_free(f.rows);
    return status;
}

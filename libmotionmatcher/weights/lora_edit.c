/* SPDX-License-Identifier: BSD-2-Clause */
/* Scaling and adding LoRAs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/number.h"
#include "weights/lora_config.h"
#include "weights/lora_layers.h"

#define TIMESTEP_KEY "mm_min_timestep"

/* Replaces the matrix by its f32 form times `factor`. */
static mm_status multiply(mm_tensor **matrix, double factor, mm_error *error)
{
    const mm_shape *shape = &(*matrix)->shape;
    size_t count = (size_t)mm_shape_elements(shape);
    float *values = mm_tensor_floats(*matrix);
    mm_tensor *product = NULL;
    if (!values)
        return mm_fail_memory(error, "a LoRA", count * sizeof(*values));
    for (size_t i = 0; i < count; i++)
        values[i] = (float)((double)values[i] * factor);
    mm_status status =
        mm_tensor_make(&product, MM_F32, shape, NULL, values, mm_free, values, error);
    if (status != MM_OK) {
        mm_free(values);
        return status;
    }
    mm_tensor_free(matrix);
    *matrix = product;
    return MM_OK;
}

mm_status mm_lora_layers_scale(mm_lora_layers *layers, double factor, mm_error *error)
{
    for (size_t i = 0; i < layers->count; i++) {
        mm_lora_layer *layer = &layers->layer[i];
        MM_TRY(multiply(&layer->up, factor * layer->alpha / (double)layer->rank, error));
        MM_TRY(multiply(&layer->down, 1.0, error));
        layer->alpha = (double)layer->rank;
    }
    mm_lora_layers_drop_metadata(layers, MM_LORA_CONFIG_KEY);
    return MM_OK;
}

/* One layer of one input, and by how much it counts. */
typedef struct term {
    const mm_lora_layer *layer;
    double weight;
    size_t input;
} term;

static int compare_terms(const void *a, const void *b)
{
    const term *x = a, *y = b;
    int order = strcmp(x->layer->path, y->layer->path);
    if (order != 0)
        return order;
    return x->input < y->input ? -1 : x->input > y->input;
}

static mm_status check_sides(const term *terms, size_t count, mm_error *error)
{
    for (size_t i = 1; i < count; i++) {
        const mm_lora_layer *a = terms[0].layer, *b = terms[i].layer;
        if (a->in != b->in || a->out != b->out)
            return mm_fail(error, MM_ERR_INPUT,
                           "layer %s has %lld inputs and %lld outputs in one LoRA, %lld and %lld "
                           "in another: they are for different models",
                           a->path, (long long)a->in, (long long)a->out, (long long)b->in,
                           (long long)b->out);
    }
    return MM_OK;
}

static mm_status allocate_matrix(mm_tensor **out, mm_shape shape, mm_error *error)
{
    MM_TRY(mm_tensor_allocate(out, MM_F32, &shape, error));
    memset((*out)->data, 0, (size_t)mm_shape_elements(&shape) * sizeof(float));
    return MM_OK;
}

/* The matrices of a term as f32, the up one with weight and scale in it. */
typedef struct factors {
    float *down, *up;
} factors;

static mm_status open_factors(factors *f, const term *t, mm_error *error)
{
    const mm_lora_layer *layer = t->layer;
    double scale = t->weight * layer->alpha / (double)layer->rank;
    *f = (factors){mm_tensor_floats(layer->down), mm_tensor_floats(layer->up)};
    if (!f->down || !f->up)
        return mm_fail_memory(error, "a LoRA", (size_t)(layer->in * layer->rank) * sizeof(float));
    for (int64_t i = 0; i < layer->out * layer->rank; i++)
        f->up[i] = (float)((double)f->up[i] * scale);
    return MM_OK;
}

static void close_factors(factors *f)
{
    mm_free(f->down);
    mm_free(f->up);
}

/* Rows of down one after the other, columns of up side by side. */
static void append(mm_lora_layer *sum, const factors *f, int64_t first, int64_t rank)
{
    float *down = sum->down->data, *up = sum->up->data;
    memcpy(down + first * sum->in, f->down, (size_t)(rank * sum->in) * sizeof(float));
    for (int64_t o = 0; o < sum->out; o++)
        memcpy(up + o * sum->rank + first, f->up + o * rank, (size_t)rank * sizeof(float));
}

static void add_product(double *product, const mm_lora_layer *sum, const factors *f, int64_t rank)
{
    for (int64_t o = 0; o < sum->out; o++) {
        for (int64_t k = 0; k < rank; k++) {
            double up = (double)f->up[o * rank + k];
            for (int64_t i = 0; i < sum->in; i++)
                product[o * sum->in + i] += up * (double)f->down[k * sum->in + i];
        }
    }
}

/* The product is the larger half, the identity the other. */
static void place_product(mm_lora_layer *sum, const double *product)
{
    bool is_up = sum->rank == sum->in;
    float *half = is_up ? sum->up->data : sum->down->data;
    float *identity = is_up ? sum->down->data : sum->up->data;
    for (int64_t i = 0; i < sum->in * sum->out; i++)
        half[i] = (float)product[i];
    for (int64_t i = 0; i < sum->rank; i++)
        identity[i * sum->rank + i] = 1.0f;
}

static mm_status shape_sum(mm_lora_layer *sum, const mm_lora_layer *like, int64_t rank,
                           mm_error *error)
{
    mm_shape down = like->down->shape, up = like->up->shape;
    down.dim[0] = up.dim[1] = sum->rank = rank;
    sum->alpha = (double)rank;
    MM_TRY(allocate_matrix(&sum->down, down, error));
    return allocate_matrix(&sum->up, up, error);
}

static mm_status concatenate(mm_lora_layer *sum, const term *terms, size_t count, int64_t rank,
                             mm_error *error)
{
    mm_status status = shape_sum(sum, terms[0].layer, rank, error);
    int64_t first = 0;
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        factors f = {0};
        status = open_factors(&f, &terms[i], error);
        if (status == MM_OK)
            append(sum, &f, first, terms[i].layer->rank);
        first += terms[i].layer->rank;
        close_factors(&f);
    }
    return status;
}

static mm_status multiply_out(mm_lora_layer *sum, const term *terms, size_t count, int64_t limit,
                              mm_error *error)
{
    MM_TRY(shape_sum(sum, terms[0].layer, limit, error));
    size_t elements = (size_t)(sum->in * sum->out);
    double *product = mm_calloc(elements, sizeof(*product));
    mm_status status =
        product ? MM_OK : mm_fail_memory(error, "a LoRA", elements * sizeof(*product));
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        factors f = {0};
        status = open_factors(&f, &terms[i], error);
        if (status == MM_OK)
            add_product(product, sum, &f, terms[i].layer->rank);
        close_factors(&f);
    }
    if (status == MM_OK)
        place_product(sum, product);
    mm_free(product);
    return status;
}

/* A layer that one input has alone, unweighted, stays as it is, byte for byte. */
static void share_layer(mm_lora_layer *sum, const mm_lora_layer *from)
{
    sum->rank = from->rank;
    sum->alpha = from->alpha;
    sum->down = mm_tensor_retain(from->down);
    sum->up = mm_tensor_retain(from->up);
}

static mm_status add_terms(mm_lora_layers *out, const term *terms, size_t count, mm_error *error)
{
    const mm_lora_layer *first = terms[0].layer;
    int64_t limit = first->in < first->out ? first->in : first->out, rank = 0;
    MM_TRY(check_sides(terms, count, error));
    mm_lora_layer *sum = &out->layer[out->count++];
    *sum = (mm_lora_layer){
        .path = mm_arena_strdup(&out->arena, first->path), .in = first->in, .out = first->out};
    if (!sum->path)
        return mm_fail_memory(error, "a LoRA", strlen(first->path));
    if (count == 1 && terms[0].weight == 1.0) {
        share_layer(sum, first);
        return MM_OK;
    }
    for (size_t i = 0; i < count; i++)
        rank += terms[i].layer->rank;
    return rank <= limit ? concatenate(sum, terms, count, rank, error)
                         : multiply_out(sum, terms, count, limit, error);
}

static mm_status add_all(mm_lora_layers *out, const term *terms, size_t total, mm_error *error)
{
    for (size_t i = 0, end; i < total; i = end) {
        for (end = i + 1; end < total && strcmp(terms[end].layer->path, terms[i].layer->path) == 0;)
            end++;
        MM_TRY(add_terms(out, terms + i, end - i, error));
    }
    return MM_OK;
}

static bool all_agree(const mm_lora_layers *const *inputs, size_t count,
                      const mm_metadata_entry *entry)
{
    for (size_t i = 1; i < count; i++) {
        const char *value = mm_lora_layers_metadata(inputs[i], entry->key);
        if (!value || strcmp(value, entry->value) != 0)
            return false;
    }
    return true;
}

/* The sum must be on wherever one of its parts is. */
static mm_status merge_timesteps(mm_lora_layers *out, const mm_lora_layers *const *inputs,
                                 size_t count, mm_error *error)
{
    int64_t least = INT64_MAX, value;
    char text[MM_INT_TEXT];
    for (size_t i = 0; i < count; i++) {
        const char *given = mm_lora_layers_metadata(inputs[i], TIMESTEP_KEY);
        if (!given || !mm_parse_int(given, &value))
            value = 0;
        least = value < least ? value : least;
    }
    if (least <= 0)
        return MM_OK;
    return mm_lora_layers_set_metadata(out, TIMESTEP_KEY, mm_int_text(least, text, sizeof(text)),
                                       error);
}

static mm_status merge_metadata(mm_lora_layers *out, const mm_lora_layers *const *inputs,
                                size_t count, mm_error *error)
{
    size_t bytes = (inputs[0]->metadata_count + 1) * sizeof(*out->metadata);
    out->metadata = mm_arena_alloc(&out->arena, bytes);
    if (!out->metadata)
        return mm_fail_memory(error, "a LoRA's metadata", bytes);
    for (size_t i = 0; i < inputs[0]->metadata_count; i++) {
        const mm_metadata_entry *entry = &inputs[0]->metadata[i];
        mm_metadata_entry copy = {mm_arena_strdup(&out->arena, entry->key),
                                  mm_arena_strdup(&out->arena, entry->value)};
        if (!copy.key || !copy.value)
            return mm_fail_memory(error, "a LoRA's metadata", strlen(entry->value));
        if (strcmp(entry->key, MM_LORA_CONFIG_KEY) != 0 && all_agree(inputs, count, entry))
            out->metadata[out->metadata_count++] = copy;
    }
    return merge_timesteps(out, inputs, count, error);
}

static mm_status merge(mm_lora_layers *out, const mm_lora_layers *const *inputs,
                       const double *weights, size_t count, mm_error *error)
{
    size_t total = 0, n = 0;
    for (size_t i = 0; i < count; i++)
        total += inputs[i]->count;
    out->layer = mm_calloc(total, sizeof(*out->layer));
    term *terms = mm_calloc(total, sizeof(*terms));
    mm_status status =
        out->layer && terms ? MM_OK : mm_fail_memory(error, "a LoRA", total * sizeof(*out->layer));
    for (size_t i = 0; status == MM_OK && i < count; i++) {
        for (size_t k = 0; k < inputs[i]->count; k++)
            terms[n++] = (term){&inputs[i]->layer[k], weights[i], i};
    }
    if (status == MM_OK && total > 0)
        qsort(terms, total, sizeof(*terms), compare_terms);
    if (status == MM_OK)
        status = add_all(out, terms, total, error);
    mm_free(terms);
    return status == MM_OK ? merge_metadata(out, inputs, count, error) : status;
}

mm_status mm_lora_layers_merge(mm_lora_layers *out, const mm_lora_layers *const *inputs,
                               const double *weights, size_t count, mm_error *error)
{
    *out = (mm_lora_layers){.naming = inputs[0]->naming};
    for (size_t i = 0; i < count; i++) {
        out->tensors += inputs[i]->tensors;
        out->used += inputs[i]->used;
    }
    mm_status status = merge(out, inputs, weights, count, error);
    if (status != MM_OK)
        mm_lora_layers_free(out);
    return status;
}

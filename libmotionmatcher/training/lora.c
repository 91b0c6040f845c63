/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/lora.h"

#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "training/lora_internal.h"

static void free_module(mm_lora_module *module)
{
    mm_free(module->down.data);
    mm_free(module->up.data);
    module->down.data = module->up.data = NULL;
}

void mm_lora_set_free(mm_lora_set *set)
{
    for (int32_t i = 0; i < set->count; i++)
        free_module(&set->module[i]);
    mm_free(set->module);
    mm_arena_free(&set->arena);
    *set = (mm_lora_set){0};
}

mm_status mm_lora_set_begin(mm_lora_set *set, const mm_site_list *sites, mm_error *error)
{
    *set = (mm_lora_set){0};
    size_t bytes = (size_t)sites->count * sizeof(*set->module);
    set->module = mm_calloc((size_t)sites->count, sizeof(*set->module));
    if (!set->module)
        return mm_fail_memory(error, "a LoRA", bytes);
    set->count = sites->count;
    for (int32_t i = 0; i < sites->count; i++)
        set->module[i].site = sites->site[i];
    return MM_OK;
}

static mm_status allocate_weight(mm_weight *weight, const char *name, mm_shape shape,
                                 mm_error *error)
{
    *weight = (mm_weight){.name = name, .shape = shape, .dtype = MM_F32, .trainable = true};
    weight->bytes = (size_t)mm_shape_elements(&shape) * sizeof(float);
    weight->data = mm_calloc(1, weight->bytes);
    return weight->data ? MM_OK : mm_fail_memory(error, "a LoRA", weight->bytes);
}

mm_status mm_lora_module_allocate(mm_lora_module *module, int64_t rank, mm_error *error)
{
    const mm_lora_site *site = module->site;
    module->rank = rank;
    MM_TRY(allocate_weight(&module->down, site->path[0],
                           MM_SHAPE(site->count * rank, site->in_features), error));
    mm_shape up = site->count == 1 ? MM_SHAPE(site->out_features, rank)
                                   : MM_SHAPE(site->count, site->out_features, rank);
    return allocate_weight(&module->up, site->path[0], up, error);
}

static int64_t rank_limit(const mm_lora_site *site)
{
    return site->in_features < site->out_features ? site->in_features : site->out_features;
}

static void initialise(mm_lora_module *module, uint64_t seed)
{
    mm_rng rng = {seed, MM_STREAM_LORA_INIT, (uint32_t)module->site->index};
    float *down = module->down.data, deviation = 1.0f / (float)module->rank;
    size_t count = module->down.bytes / sizeof(float);
    mm_rng_normal(&rng, 0, down, count);
    for (size_t i = 0; i < count; i++)
        down[i] *= deviation;
}

void mm_lora_set_reset(mm_lora_set *set, uint64_t seed)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (!set->module[i].rank)
            continue;
        initialise(&set->module[i], seed);
        memset(set->module[i].up.data, 0, set->module[i].up.bytes);
    }
}

mm_status mm_lora_set_create(mm_lora_set *out, const mm_site_list *sites, int64_t rank,
                             uint64_t seed, const mm_logger *logger, mm_error *error)
{
    mm_status status = mm_lora_set_begin(out, sites, error);
    int32_t clamped = 0;
    for (int32_t i = 0; status == MM_OK && i < out->count; i++) {
        mm_lora_module *module = &out->module[i];
        int64_t limit = rank_limit(module->site);
        clamped += rank > limit ? module->site->count : 0;
        status = mm_lora_module_allocate(module, rank < limit ? rank : limit, error);
        if (status != MM_OK)
            break;
        initialise(module, seed);
        out->rank = module->rank > out->rank ? module->rank : out->rank;
    }
    if (status != MM_OK)
        mm_lora_set_free(out);
    else if (clamped)
        mm_log(logger, MM_LOG_NOTICE,
               "rank %lld is above the sides of %d layers and was clamped there", (long long)rank,
               clamped);
    return status;
}

mm_status mm_lora_set_create_like(mm_lora_set *out, const mm_lora_set *like, mm_error *error)
{
    *out = (mm_lora_set){.rank = like->rank};
    out->module = mm_calloc((size_t)like->count, sizeof(*out->module));
    if (!out->module)
        return mm_fail_memory(error, "a LoRA", (size_t)like->count * sizeof(*out->module));
    out->count = like->count;
    mm_status status = MM_OK;
    for (int32_t i = 0; status == MM_OK && i < like->count; i++) {
        out->module[i].site = like->module[i].site;
        if (like->module[i].rank)
            status = mm_lora_module_allocate(&out->module[i], like->module[i].rank, error);
    }
    if (status != MM_OK)
        mm_lora_set_free(out);
    return status;
}

size_t mm_lora_set_bytes(const mm_lora_set *set)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < set->count; i++)
        bytes += set->module[i].down.bytes + set->module[i].up.bytes;
    return bytes;
}

/* Writes the A and the B of target `part` of a module; false without memory. */
static bool describe_target(mm_lora_set *set, int32_t index, int32_t part, mm_lora_tensor out[2])
{
    const mm_lora_module *module = &set->module[index];
    const mm_lora_site *site = module->site;
    out[0] = (mm_lora_tensor){
        .name = mm_arena_format(&set->arena, "unet.%s.lora_A.weight", site->path[part]),
        .shape = MM_SHAPE(module->rank, site->in_features),
        .offset = (size_t)(part * module->rank * site->in_features),
        .module = index,
    };
    out[1] = (mm_lora_tensor){
        .name = mm_arena_format(&set->arena, "unet.%s.lora_B.weight", site->path[part]),
        .shape = MM_SHAPE(site->out_features, module->rank),
        .offset = (size_t)(part * site->out_features * module->rank),
        .module = index,
        .is_up = true,
    };
    return out[0].name && out[1].name;
}

mm_status mm_lora_set_tensors(mm_lora_set *set, mm_lora_tensor **out, size_t *count,
                              mm_error *error)
{
    size_t total = 0, n = 0;
    for (int32_t i = 0; i < set->count; i++)
        total += set->module[i].rank ? 2 * (size_t)set->module[i].site->count : 0;
    mm_lora_tensor *tensor = mm_calloc(total, sizeof(*tensor));
    bool ok = tensor != NULL;
    for (int32_t i = 0; ok && i < set->count; i++) {
        for (int32_t p = 0; ok && set->module[i].rank && p < set->module[i].site->count; p++) {
            ok = describe_target(set, i, p, tensor + n);
            n += 2;
        }
    }
    if (!ok) {
        mm_free(tensor);
        return mm_fail_memory(error, "the names of a LoRA", total * sizeof(*tensor));
    }
    *out = tensor;
    *count = total;
    return MM_OK;
}

float *mm_lora_tensor_values(const mm_lora_set *set, const mm_lora_tensor *tensor)
{
    const mm_lora_module *module = &set->module[tensor->module];
    return (float *)(tensor->is_up ? module->up.data : module->down.data) + tensor->offset;
}

const char *mm_lora_set_get_metadata(const mm_lora_set *set, const char *key)
{
    for (size_t i = 0; i < set->metadata_count; i++) {
        if (strcmp(set->metadata[i].key, key) == 0)
            return set->metadata[i].value;
    }
    return NULL;
}

static mm_metadata_entry *metadata_slot(mm_lora_set *set, const char *key)
{
    for (size_t i = 0; i < set->metadata_count; i++) {
        if (strcmp(set->metadata[i].key, key) == 0)
            return &set->metadata[i];
    }
    size_t bytes = (set->metadata_count + 1) * sizeof(*set->metadata);
    mm_metadata_entry *grown = mm_arena_alloc(&set->arena, bytes);
    if (!grown)
        return NULL;
    if (set->metadata_count)
        memcpy(grown, set->metadata, bytes - sizeof(*grown));
    set->metadata = grown;
    grown[set->metadata_count].key = mm_arena_strdup(&set->arena, key);
    return grown[set->metadata_count].key ? &grown[set->metadata_count++] : NULL;
}

mm_status mm_lora_set_metadata(mm_lora_set *set, const char *key, const char *value,
                               mm_error *error)
{
    char *copy = mm_arena_strdup(&set->arena, value);
    mm_metadata_entry *slot = copy ? metadata_slot(set, key) : NULL;
    if (!slot)
        return mm_fail_memory(error, "a LoRA's metadata", strlen(value));
    slot->value = copy;
    return MM_OK;
}

static mm_node *leaf(mm_graph *graph, mm_weight *weight, bool trainable)
{
    return trainable ? mm_parameter_node(graph, weight) : mm_weight_node(graph, weight);
}

/* scale * dropout(up(down(x))) of one set. */
static mm_node *adapt_one(const mm_lora_use *use, mm_builder *builder, const mm_lora_site *site,
                          mm_node *x)
{
    mm_lora_module *module = &use->set->module[site->index];
    if (!module->rank || use->scale == 0.0f)
        return NULL;
    mm_graph *g = builder->graph;
    mm_dtype type = x ? x->dtype : MM_F32;
    mm_node *down = mm_cast(g, leaf(g, &module->down, use->trainable), type);
    mm_node *up = mm_cast(g, leaf(g, &module->up, use->trainable), type);
    mm_node *hidden = mm_linear(g, x, down, NULL, NULL);
    mm_node *y =
        site->count == 1 ? mm_linear(g, hidden, up, NULL, NULL) : mm_grouped_linear(g, hidden, up);
    if (use->dropout > 0.0f && builder->dropout_key)
        y = mm_dropout(g, y, builder->dropout_key, use->dropout, builder->dropout_layers++);
    return use->scale == 1.0f ? y : mm_scale(g, y, use->scale);
}

mm_node *mm_lora_adapt(void *user, mm_builder *builder, const mm_lora_site *site, mm_node *x)
{
    const mm_lora_stack *stack = user;
    mm_node *sum = NULL;
    for (int32_t i = 0; i < stack->count; i++) {
        mm_node *one = adapt_one(&stack->use[i], builder, site, x);
        if (one)
            sum = sum ? mm_add(builder->graph, sum, one) : one;
    }
    return sum;
}

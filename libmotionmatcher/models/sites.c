/* SPDX-License-Identifier: BSD-2-Clause */
/* Linear layers that can be adapted. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "models/layers.h"

void mm_site_list_free(mm_site_list *list)
{
    mm_arena_free(&list->arena);
    mm_free(list->site);
    *list = (mm_site_list){0};
}

/* Spatial transformers first, then temporal ones, each in the order of the modules. */
static int compare_sites(const void *a, const void *b)
{
    const mm_lora_site *x = *(mm_lora_site *const *)a, *y = *(mm_lora_site *const *)b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void list_paths(mm_lora_site *const *sites, int32_t count, mm_lora_order *out)
{
    for (int32_t i = 0; i < count; i++) {
        for (int32_t p = 0; p < sites[i]->count; p++)
            out->path[out->count++] = sites[i]->path[p];
        if (sites[i]->kind == MM_SITE_SPATIAL)
            out->spatial = out->count;
    }
}

mm_status mm_site_list_order(const mm_site_list *list, mm_lora_order *out, mm_error *error)
{
    const size_t count = (size_t)list->count, most = 3 * count * sizeof(*out->path);
    mm_lora_site **sorted = mm_calloc(count, sizeof(*sorted));
    *out = (mm_lora_order){.path = mm_calloc(3 * count, sizeof(*out->path))};
    mm_status status =
        sorted && out->path ? MM_OK : mm_fail_memory(error, "a list of layers", most);
    if (status == MM_OK && count > 0) {
        memcpy(sorted, list->site, count * sizeof(*sorted));
        qsort(sorted, count, sizeof(*sorted), compare_sites);
        list_paths(sorted, list->count, out);
    }
    if (status != MM_OK) {
        mm_free(out->path);
        out->path = NULL;
    }
    mm_free(sorted);
    return status;
}

static mm_lora_site *find(const mm_site_list *list, const char *path)
{
    for (int32_t i = 0; i < list->count; i++) {
        if (strcmp(list->site[i]->path[0], path) == 0)
            return list->site[i];
    }
    return NULL;
}

static bool reserve(mm_site_list *list)
{
    if (list->count < list->capacity)
        return true;
    int32_t capacity = list->capacity ? 2 * list->capacity : 64;
    mm_lora_site **site = mm_realloc(list->site, (size_t)capacity * sizeof(*site));
    if (!site)
        return false;
    list->site = site;
    list->capacity = capacity;
    return true;
}

/* Keeps a copy of the site, its paths included; NULL without memory. */
static mm_lora_site *add(mm_site_list *list, const mm_lora_site *site)
{
    mm_lora_site *copy = reserve(list) ? mm_arena_alloc(&list->arena, sizeof(*copy)) : NULL;
    if (!copy)
        return NULL;
    *copy = *site;
    copy->index = list->count;
    for (int32_t i = 0; i < site->count; i++) {
        copy->path[i] = mm_arena_strdup(&list->arena, site->path[i]);
        if (!copy->path[i])
            return NULL;
    }
    list->site[list->count++] = copy;
    return copy;
}

static mm_lora_site *find_or_add(mm_builder *b, const mm_lora_site *site)
{
    for (int32_t i = 0; i < site->count; i++) {
        if (!site->path[i])
            return NULL;
    }
    mm_lora_site *found = find(b->sites, site->path[0]);
    return found ? found : add(b->sites, site);
}

mm_node *mm_layer_site(mm_builder *b, mm_site_cursor *cursor, int32_t count,
                       const char *const *leaf, mm_node *x, int64_t out, bool bias, mm_node *addend)
{
    mm_lora_site site = {
        .kind = cursor->kind, .order = cursor->next++, .count = count, .out_features = out};
    if (!x)
        return NULL;
    if (b->sites) {
        site.in_features = x->shape.dim[x->shape.rank - 1];
        for (int32_t i = 0; i < count; i++)
            site.path[i] = mm_path(b, leaf[i], "");
        const mm_lora_site *known = find_or_add(b, &site);
        if (!known)
            return mm_graph_fail(b->graph, MM_ERR_MEMORY,
                                 "not enough memory for the list of sites");
        mm_node *change = b->adapter ? b->adapter(b->adapter_user, b, known, x) : NULL;
        if (change)
            addend = addend ? mm_add(b->graph, change, addend) : change;
    }
    return mm_layer_linears(b, count, leaf, x, out, bias, addend);
}

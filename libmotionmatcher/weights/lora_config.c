/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/lora_config.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define PREFIX "unet."
#define DEFAULT_ALPHA 8.0 /* LoraConfig's own */
#define MOST_ALPHA 1e30

/* The key as this document spells it: with or without the prefix. */
static const char *spelled(const mm_lora_config *c, const char *key, char prefixed[64])
{
    snprintf(prefixed, 64, PREFIX "%s", key);
    return mm_json_member(c->document.root, prefixed) ? prefixed : key;
}

static mm_status read_flag(const mm_lora_config *c, const char *key, bool *out, mm_error *error)
{
    char prefixed[64];
    return mm_json_get_bool(&c->document, c->document.root, spelled(c, key, prefixed), false, out,
                            error);
}

static mm_status refuse_flag(const mm_lora_config *c, const char *key, mm_error *error)
{
    bool set;
    MM_TRY(read_flag(c, key, &set, error));
    if (!set)
        return MM_OK;
    return mm_fail(error, MM_ERR_UNSUPPORTED, "%s: \"%s\" is not supported", c->document.path, key);
}

/* PEFT takes keys as regular expressions; in practice they are paths or ends of paths. */
static mm_status read_pattern(const mm_lora_config *c, const mm_json *item, size_t place,
                              mm_lora_alpha_pattern *out, mm_error *error)
{
    const char *key = mm_json_key(item);
    *out = (mm_lora_alpha_pattern){.place = place, .whole = *key == '^'};
    out->path = key + out->whole;
    for (const char *at = out->path; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("._-", *at))
            return mm_fail(error, MM_ERR_UNSUPPORTED,
                           "%s: alpha_pattern: \"%s\" is a regular expression; paths of modules "
                           "are supported",
                           c->document.path, key);
    }
    if (mm_json_number(item, &out->alpha))
        return MM_OK;
    return mm_fail(error, MM_ERR_INPUT, "%s: the alpha of \"%s\" is no finite number",
                   c->document.path, key);
}

static int compare_patterns(const void *a, const void *b)
{
    const mm_lora_alpha_pattern *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    if (order != 0)
        return order;
    return x->place < y->place ? -1 : x->place > y->place;
}

static mm_status read_patterns(mm_lora_config *c, mm_error *error)
{
    char prefixed[64];
    const mm_json *patterns =
        mm_json_member(c->document.root, spelled(c, "alpha_pattern", prefixed));
    size_t count = mm_json_is_object(patterns) ? mm_json_count(patterns) : 0;
    if (count == 0)
        return MM_OK;
    c->pattern = mm_calloc(count, sizeof(*c->pattern));
    if (!c->pattern)
        return mm_fail_memory(error, "a LoRA's config", count * sizeof(*c->pattern));
    for (const mm_json *i = mm_json_first(patterns); i; i = mm_json_next(i), c->count++)
        MM_TRY(read_pattern(c, i, c->count, &c->pattern[c->count], error));
    qsort(c->pattern, count, sizeof(*c->pattern), compare_patterns);
    return MM_OK;
}

static mm_status read_members(mm_lora_config *c, mm_error *error)
{
    if (!mm_json_is_object(c->document.root))
        return mm_fail(error, MM_ERR_INPUT, "%s: not a JSON object", c->document.path);
    MM_TRY(refuse_flag(c, "use_dora", error));
    MM_TRY(refuse_flag(c, "lora_bias", error));
    MM_TRY(read_flag(c, "use_rslora", &c->root_scaled, error));
    char prefixed[64];
    MM_TRY(mm_json_get_double(&c->document, c->document.root, spelled(c, "lora_alpha", prefixed),
                              DEFAULT_ALPHA, -MOST_ALPHA, MOST_ALPHA, &c->alpha, error));
    return read_patterns(c, error);
}

static mm_status finish(mm_lora_config *c, mm_error *error)
{
    mm_status status = read_members(c, error);
    if (status != MM_OK)
        mm_lora_config_free(c);
    return status;
}

mm_status mm_lora_config_parse(mm_lora_config *out, const char *name, const char *text,
                               mm_error *error)
{
    *out = (mm_lora_config){0};
    MM_TRY(mm_json_parse(&out->document, name, text, strlen(text), error));
    return finish(out, error);
}

mm_status mm_lora_config_load(mm_lora_config *out, const char *path, mm_error *error)
{
    *out = (mm_lora_config){0};
    MM_TRY(mm_json_load(&out->document, path, error));
    return finish(out, error);
}

void mm_lora_config_free(mm_lora_config *config)
{
    mm_json_free(&config->document);
    mm_free(config->pattern);
    *config = (mm_lora_config){0};
}

/* The earliest pattern for just this text. */
static const mm_lora_alpha_pattern *find(const mm_lora_config *c, const char *text, bool whole)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(c->pattern[middle].path, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < c->count && strcmp(c->pattern[low].path, text) == 0; low++) {
        if (whole || !c->pattern[low].whole)
            return &c->pattern[low];
    }
    return NULL;
}

double mm_lora_config_alpha(const mm_lora_config *config, const char *path, int64_t rank)
{
    const mm_lora_alpha_pattern *best = NULL;
    for (const char *at = path; at; at = strchr(at, '.') ? strchr(at, '.') + 1 : NULL) {
        const mm_lora_alpha_pattern *found = find(config, at, at == path);
        if (found && (!best || found->place < best->place))
            best = found;
    }
    double alpha = best ? best->alpha : config->alpha;
    return config->root_scaled ? alpha * sqrt((double)rank) : alpha;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/lora_name.h"

#include <stdint.h>
#include <string.h>

#define KOHYA_PREFIX "lora_unet_"

static const struct {
    const char *end;
    mm_lora_part part;
    mm_lora_naming naming;
} ends[] = {
    {".lora_A", MM_LORA_DOWN, MM_LORA_PEFT},
    {".lora_B", MM_LORA_UP, MM_LORA_PEFT},
    {".lora_down", MM_LORA_DOWN, MM_LORA_KOHYA},
    {".lora_up", MM_LORA_UP, MM_LORA_KOHYA},
    {".lora.down", MM_LORA_DOWN, MM_LORA_DIFFUSERS},
    {".lora.up", MM_LORA_UP, MM_LORA_DIFFUSERS},
    {".lora_linear_layer.down", MM_LORA_DOWN, MM_LORA_DIFFUSERS},
    {".lora_linear_layer.up", MM_LORA_UP, MM_LORA_DIFFUSERS},
    {"_lora.down", MM_LORA_DOWN, MM_LORA_DIFFUSERS},
    {"_lora.up", MM_LORA_UP, MM_LORA_DIFFUSERS},
    {".alpha", MM_LORA_ALPHA, MM_LORA_KOHYA},
};

/* What changes a layer in another way than by the product of two matrices. */
static const char *const unsupported[] = {
    ".lora_magnitude_vector",
    ".dora_scale",
    ".lora_mid.",
    ".lora_embedding_",
    ".lora_B.bias",
    ".lora_up.bias",
    ".lora.up.bias",
    ".hada_",
    ".lokr_",
    ".oft_",
    ".on_input",
    ".ia3_",
};

/* Components of a UNet's paths that have a '_' of their own. */
static const char *const compounds[] = {
    "add_embedding", "class_embedding",    "conv_in",         "conv_norm_out", "conv_out",
    "conv_shortcut", "down_blocks",        "linear_1",        "linear_2",      "mid_block",
    "proj_in",       "proj_out",           "temp_attentions", "temp_convs",    "time_emb_proj",
    "to_k",          "time_embedding",     "to_out",          "to_q",          "to_v",
    "up_blocks",     "transformer_blocks", "transformer_in",
};

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t wanted = strlen(end);
    return length >= wanted && memcmp(text + length - wanted, end, wanted) == 0;
}

static size_t compound_at(const char *text)
{
    for (size_t i = 0; i < sizeof(compounds) / sizeof(compounds[0]); i++) {
        size_t length = strlen(compounds[i]);
        if (starts_with(text, compounds[i]) && (text[length] == '_' || !text[length]))
            return length;
    }
    return strcspn(text, "_");
}

/* The dots of a path again, in place. */
static void restore_dots(char *path)
{
    for (char *c = path; *c;) {
        c += compound_at(c);
        if (*c)
            *c++ = '.';
    }
}

static const char *without_prefixes(const char *name, bool *flat)
{
    static const char *const prefixes[] = {"base_model.model.", "unet.", KOHYA_PREFIX};
    *flat = false;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]);) {
        if (!starts_with(name, prefixes[i])) {
            i++;
            continue;
        }
        name += strlen(prefixes[i]);
        *flat = i == 2;
        i = 0; /* programs put them in any order */
    }
    return name;
}

/* Length of the name up to "lora_A", when what follows it is the name of PEFT's adapter. */
static size_t without_adapter(const char *name, size_t length)
{
    size_t at = length;
    while (at > 0 && name[at - 1] != '.')
        at--;
    if (at == 0)
        return length;
    bool behind = ends_with(name, at - 1, ".lora_A") || ends_with(name, at - 1, ".lora_B");
    return behind ? at - 1 : length;
}

static bool is_unsupported(const char *name)
{
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
        if (strstr(name, unsupported[i]))
            return true;
    }
    return false;
}

/* Old attention processors: "attn1.processor.to_out_lora" stands for "attn1.to_out.0". */
static char *module_path(const char *stem, size_t length, bool processor, bool flat,
                         mm_arena *arena)
{
    const char *infix = ".processor.";
    bool list = processor && ends_with(stem, length, ".to_out");
    char *path = mm_arena_format(arena, "%.*s%s", (int)length, stem, list ? ".0" : "");
    if (!path)
        return NULL;
    char *at = strstr(path, infix);
    if (at)
        memmove(at + 1, at + strlen(infix), strlen(at + strlen(infix)) + 1);
    if (flat)
        restore_dots(path);
    return path;
}

static bool is_other_network(const char *name)
{
    return starts_with(name, "text_encoder") || starts_with(name, "lora_te") ||
           starts_with(name, "text_model");
}

bool mm_lora_name_read(mm_lora_name *out, const char *name, mm_arena *arena)
{
    bool flat;
    *out = (mm_lora_name){.part = MM_LORA_NO_PART};
    name = without_prefixes(name, &flat);
    if (is_other_network(name))
        return true;
    size_t length = strlen(name);
    if (length > INT32_MAX)
        return true;
    if (ends_with(name, length, ".weight"))
        length = without_adapter(name, length - strlen(".weight"));
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i].end);
        if (length <= end || !ends_with(name, length, ends[i].end))
            continue;
        out->part = ends[i].part;
        out->naming = flat ? MM_LORA_KOHYA : ends[i].naming;
        out->path = module_path(name, length - end, *ends[i].end == '_', flat, arena);
        return out->path != NULL;
    }
    if (is_unsupported(name))
        out->part = MM_LORA_UNSUPPORTED;
    return true;
}

char *mm_lora_kohya_name(const char *path, mm_arena *arena)
{
    char *name = mm_arena_format(arena, KOHYA_PREFIX "%s", path);
    for (char *c = name; c && *c; c++)
        *c = *c == '.' ? '_' : *c;
    return name;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "weights/tensor_file.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"

/* What follows the stem, in the order in which diffusers and transformers look. */
static const char *const candidates[] = {
    ".safetensors.index.json",      ".safetensors",      ".bin.index.json",      ".bin",
    ".safetensors.index.fp16.json", ".fp16.safetensors", ".bin.index.fp16.json", ".fp16.bin",
};

/* transformers names its pickles otherwise than its safetensors. */
static const char *stem_of(const char *candidate, const char *stem)
{
    bool is_pickle = strstr(candidate, ".bin") != NULL;
    return is_pickle && strcmp(stem, "model") == 0 ? "pytorch_model" : stem;
}

/* Fresh; NULL without memory. */
static char *candidate_path(const char *directory, const char *candidate, const char *stem)
{
    char *name = mm_format("%s%s", stem_of(candidate, stem), candidate);
    char *path = name ? mm_path_join(directory, name) : NULL;
    mm_free(name);
    return path;
}

mm_status mm_component_find(char **out, const char *directory, const char *stem, mm_error *error)
{
    *out = NULL;
    if (!mm_path_is_directory(directory))
        return mm_fail(error, MM_ERR_INPUT, "%s: no such directory", directory);
    for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        char *path = candidate_path(directory, candidates[i], stem);
        if (!path)
            return mm_fail_memory(error, directory, strlen(directory) + strlen(stem));
        if (mm_path_is_file(path)) {
            *out = path;
            return MM_OK;
        }
        mm_free(path);
    }
    return mm_fail(
        error, MM_ERR_INPUT,
        "%s: no weights: neither %s.safetensors nor %s.bin, nor their index of shards or "
        "fp16 variant",
        directory, stem, stem_of(".bin", stem));
}

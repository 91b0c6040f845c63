/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/lora_internal.h"

#include <string.h>

#include "api/status_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* "checkpoint-400" -> 400; -1 when the last component has another form. */
static int64_t checkpoint_step(const char *path)
{
    const char *name = strstr(path, "checkpoint-"), *next;
    if (!name)
        return -1;
    while ((next = strstr(name + 1, "checkpoint-")))
        name = next;
    char digits[24] = "";
    size_t length = strspn(name + 11, "0123456789");
    int64_t step;
    if (length >= sizeof(digits))
        return -1;
    memcpy(digits, name + 11, length);
    return mm_parse_int(digits, &step) ? step : -1;
}

mm_status mm_lora_resolve_path(const char *path, char **out, mm_error *error)
{
    if (!mm_path_is_directory(path)) {
        *out = mm_strdup(path);
        return *out ? MM_OK : mm_fail_memory(error, "a path", strlen(path));
    }
    *out = mm_path_join(path, "lora.safetensors");
    if (*out && !mm_path_is_file(*out)) {
        mm_free(*out);
        *out = mm_format("%s/lora/%lld_unet.pt", path, (long long)checkpoint_step(path));
    }
    if (!*out)
        return mm_fail_memory(error, "a path", strlen(path));
    if (mm_path_is_file(*out))
        return MM_OK;
    mm_free(*out);
    *out = NULL;
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: no LoRA here; a checkpoint directory holds lora.safetensors, or "
                   "lora/<step>_unet.pt",
                   path);
}

static mm_status open_lora(mm_lora **out, mm_model *model, const char *path, mm_error *error)
{
    char *file = NULL;
    MM_TRY(mm_lora_resolve_path(path, &file, error));
    mm_lora *lora = mm_calloc(1, sizeof(*lora));
    mm_status status = lora ? mm_lora_set_load(&lora->set, &model->parts.sites, file,
                                               &model->context->logger, error)
                            : mm_fail_memory(error, "a LoRA", sizeof(*lora));
    mm_free(file);
    if (status != MM_OK) {
        mm_free(lora);
        return status;
    }
    lora->model = mm_model_retain(model);
    *out = lora;
    return MM_OK;
}

mm_status mm_lora_open(mm_lora **out, mm_model *model, const char *path)
{
    if (!out || !model || !path)
        return mm_api_misuse(__func__, "out, model and path must not be NULL");
    *out = NULL;
    mm_error error = {0};
    return mm_api_return(open_lora(out, model, path, &error), &error);
}

void mm_lora_free(mm_lora **lora)
{
    if (!lora || !*lora)
        return;
    mm_lora_set_free(&(*lora)->set);
    mm_model_free(&(*lora)->model);
    mm_free(*lora);
    *lora = NULL;
}

int64_t mm_lora_modules(const mm_lora *lora)
{
    int64_t count = 0;
    for (int32_t i = 0; lora && i < lora->set.count; i++)
        count += lora->set.module[i].rank ? lora->set.module[i].site->count : 0;
    return count;
}

int64_t mm_lora_rank(const mm_lora *lora)
{
    return lora ? lora->set.rank : 0;
}

const char *mm_lora_metadata(const mm_lora *lora, const char *key)
{
    return lora && key ? mm_lora_set_get_metadata(&lora->set, key) : NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

mm_status mm_lora_save(const mm_lora *lora, const char *path)
{
    if (!lora || !path)
        return mm_api_misuse(__func__, "lora and path must not be NULL");
    mm_error error = {0};
    /* Names are laid out in the set's arena; what the LoRA says does not change. */
    mm_lora_set *set = &((mm_lora *)(uintptr_t)lora)->set;
    if (ends_with(path, ".safetensors"))
        return mm_api_return(mm_lora_set_save(set, path, &error), &error);
    if (ends_with(path, ".pt"))
        return mm_api_return(mm_lora_set_save_list(set, path, &error), &error);
    return mm_api_return(
        mm_fail(&error, MM_ERR_USAGE, "%s: a LoRA's file ends with .safetensors or .pt", path),
        &error);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* FNV-1a over 64-bit words: any flipped bit changes it. */
static uint64_t hash_floats(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i += sizeof(uint32_t)) {
        uint32_t word;
        memcpy(&word, p + i, sizeof(word));
        hash = (hash ^ word) * 0x100000001b3u;
    }
    return hash;
}

static uint64_t hash_set(uint64_t hash, const mm_lora_set *set)
{
    for (int32_t i = 0; i < set->count; i++) {
        hash = hash_floats(hash, set->module[i].down.data, set->module[i].down.bytes);
        hash = hash_floats(hash, set->module[i].up.data, set->module[i].up.bytes);
    }
    return hash;
}

static void checksum_text(const mm_training_state *state, char out[17])
{
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)state->done;
    hash = hash_set(hash, state->lora);
    hash = hash_set(hash, &state->first_moment);
    hash = hash_set(hash, &state->second_moment);
    snprintf(out, 17, "%016llx", (unsigned long long)hash);
}

static const char *const moment_prefix[2] = {"first_moment.", "second_moment."};

static mm_status moment_entries(const mm_lora_set *set, const mm_lora_tensor *tensors, size_t count,
                                const char *prefix, mm_arena *names, mm_tensor_entry *out,
                                mm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = mm_arena_format(names, "%s%s", prefix, tensors[i].name);
        if (!name)
            return mm_fail_memory(error, "a name", strlen(tensors[i].name));
        out[i] = (mm_tensor_entry){name, MM_F32, tensors[i].shape,
                                   mm_lora_tensor_values(set, &tensors[i])};
    }
    return MM_OK;
}

static mm_status write_state(const char *path, mm_training_state *state, mm_error *error)
{
    mm_lora_tensor *tensors = NULL;
    size_t count = 0;
    MM_TRY(mm_lora_set_tensors(state->lora, &tensors, &count, error));
    mm_arena names = {0};
    mm_tensor_entry *entries = mm_calloc(2 * count, sizeof(*entries));
    mm_status status = entries ? MM_OK : mm_fail_memory(error, "a checkpoint", count);
    if (status == MM_OK)
        status = moment_entries(&state->first_moment, tensors, count, moment_prefix[0], &names,
                                entries, error);
    if (status == MM_OK)
        status = moment_entries(&state->second_moment, tensors, count, moment_prefix[1], &names,
                                entries + count, error);
    char checksum[17], step[24];
    checksum_text(state, checksum);
    snprintf(step, sizeof(step), "%lld", (long long)state->done);
    mm_metadata_entry metadata[] = {{"mm_checksum", checksum}, {"mm_step", step}};
    if (status == MM_OK)
        status = mm_safetensors_write(path, entries, 2 * count, metadata, 2, error);
    mm_arena_free(&names);
    mm_free(entries);
    mm_free(tensors);
    return status;
}

static mm_status write_files(const char *directory, mm_training_state *state, mm_error *error)
{
    char step[24];
    snprintf(step, sizeof(step), "%lld", (long long)state->done);
    MM_TRY(mm_lora_set_metadata(state->lora, "mm_step", step, error));
    char *lora = mm_path_join(directory, "lora.safetensors");
    char *moments = mm_path_join(directory, "state.safetensors");
    mm_status status = lora && moments ? MM_OK : mm_fail_memory(error, "a path", strlen(directory));
    if (status == MM_OK)
        status = mm_lora_set_save(state->lora, lora, error);
    if (status == MM_OK)
        status = write_state(moments, state, error);
    mm_free(lora);
    mm_free(moments);
    return status;
}

/* Removes a checkpoint's directory with the files we know; others are left, and with them it. */
static void remove_checkpoint(const char *directory)
{
    static const char *const names[] = {"lora.safetensors", "state.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        char *path = mm_path_join(directory, names[i]);
        if (path)
            unlink(path);
        mm_free(path);
    }
    rmdir(directory);
}

static void sync_directory(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    fsync(descriptor);
    close(descriptor);
}

/* Both files are whole before the directory gets its name. */
static mm_status publish(const char *parent, const char *temporary, const char *final,
                         mm_error *error)
{
    sync_directory(temporary);
    if (mm_path_is_directory(final))
        remove_checkpoint(final);
    if (rename(temporary, final) != 0)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be created: %s", final, strerror(errno));
    sync_directory(parent);
    return MM_OK;
}

mm_status mm_checkpoint_save(const char *directory, mm_training_state *state, char **path,
                             mm_error *error)
{
    char *final = mm_format("%s/checkpoint-%lld", directory, (long long)state->done);
    char *temporary =
        mm_format("%s/.checkpoint-%lld.%ld", directory, (long long)state->done, (long)getpid());
    mm_status status = final && temporary ? mm_directory_create(temporary, error)
                                          : mm_fail_memory(error, "a path", strlen(directory));
    if (status == MM_OK)
        status = write_files(temporary, state, error);
    if (status == MM_OK)
        status = publish(directory, temporary, final, error);
    if (status != MM_OK && temporary)
        remove_checkpoint(temporary);
    mm_free(temporary);
    if (status == MM_OK && path)
        *path = final;
    else
        mm_free(final);
    return status;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

mm_status mm_checkpoint_list(const char *directory, int64_t **steps, size_t *count, mm_error *error)
{
    static const char prefix[] = "checkpoint-";
    *steps = NULL;
    *count = 0;
    DIR *listing = opendir(directory);
    if (!listing)
        return mm_fail(error, MM_ERR_INPUT, "%s: cannot be read: %s", directory, strerror(errno));
    mm_status status = MM_OK;
    for (struct dirent *entry; status == MM_OK && (entry = readdir(listing));) {
        int64_t step;
        if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0 ||
            !mm_parse_int(entry->d_name + sizeof(prefix) - 1, &step) || step < 1)
            continue;
        int64_t *grown = mm_realloc(*steps, (*count + 1) * sizeof(*grown));
        if (!grown) {
            status = mm_fail_memory(error, "a list of checkpoints", *count * sizeof(*grown));
            break;
        }
        *steps = grown;
        grown[(*count)++] = step;
    }
    closedir(listing);
    if (*count)
        qsort(*steps, *count, sizeof(**steps), newest_first);
    return status;
}

static mm_status read_lora(const char *directory, mm_training_state *state, mm_error *error)
{
    char *path = mm_path_join(directory, "lora.safetensors");
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_tensor_file *file = NULL;
    mm_status status = mm_tensor_file_open(&file, path, error);
    if (status == MM_OK)
        status = mm_lora_set_read(state->lora, file, "", error);
    mm_tensor_file_close(&file);
    mm_free(path);
    return status;
}

static mm_status read_moments(const char *directory, mm_training_state *state, int64_t step,
                              mm_error *error)
{
    char *path = mm_path_join(directory, "state.safetensors"), checksum[17];
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_tensor_file *file = NULL;
    mm_status status = mm_tensor_file_open(&file, path, error);
    if (status == MM_OK)
        status = mm_lora_set_read(&state->first_moment, file, moment_prefix[0], error);
    if (status == MM_OK)
        status = mm_lora_set_read(&state->second_moment, file, moment_prefix[1], error);
    state->done = step;
    checksum_text(state, checksum);
    const char *stored = file ? mm_tensor_file_metadata(file, "mm_checksum") : NULL;
    if (status == MM_OK && (!stored || strcmp(stored, checksum) != 0))
        status = mm_fail(error, MM_ERR_INPUT, "%s: the checksum is wrong", path);
    mm_tensor_file_close(&file);
    mm_free(path);
    return status;
}

static mm_status load_one(const char *directory, mm_training_state *state, int64_t step,
                          mm_error *error)
{
    char *path = mm_format("%s/checkpoint-%lld", directory, (long long)step);
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory));
    mm_status status = read_lora(path, state, error);
    if (status == MM_OK)
        status = read_moments(path, state, step, error);
    mm_free(path);
    return status;
}

static void clear(mm_lora_set *set)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (!set->module[i].rank)
            continue;
        memset(set->module[i].down.data, 0, set->module[i].down.bytes);
        memset(set->module[i].up.data, 0, set->module[i].up.bytes);
    }
}

mm_status mm_checkpoint_load_newest(const char *directory, mm_training_state *state, uint64_t seed,
                                    const mm_logger *logger, mm_error *error)
{
    int64_t *steps = NULL;
    size_t count = 0;
    MM_TRY(mm_checkpoint_list(directory, &steps, &count, error));
    mm_status status = MM_ERR_INPUT;
    for (size_t i = 0; i < count && status == MM_ERR_INPUT; i++) {
        mm_error why = {0};
        status = load_one(directory, state, steps[i], &why);
        if (status == MM_ERR_MEMORY)
            *error = why;
        else if (status != MM_OK)
            mm_log(logger, MM_LOG_WARNING, "checkpoint %lld is passed over: %s",
                   (long long)steps[i], why.text);
    }
    mm_free(steps);
    if (status == MM_OK || status == MM_ERR_MEMORY)
        return status;
    state->done = 0;
    mm_lora_set_reset(state->lora, seed);
    clear(&state->first_moment);
    clear(&state->second_moment);
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzzing of the tensor file reader. LLVMFuzzerTestOneInput is what libFuzzer calls; the main below
 * replays the given files and, with a number of rounds, random changes of each, so that the target
 * runs with any compiler: fuzz_tensor_file ROUNDS FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "weights/lora_layers.h"
#include "weights/pickle.h"
#include "weights/tensor_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static void read_tensors(const mm_tensor_file *file)
{
    mm_error error = {0};
    float out[256];
    for (size_t i = 0; i < mm_tensor_file_count(file); i++) {
        const mm_tensor_info *info = mm_tensor_file_info(file, i);
        int64_t elements = mm_shape_elements(&info->shape), part = elements < 256 ? elements : 256;
        mm_tensor_file_read_f32(file, i, 0, part, out, &error);
        mm_tensor_file_read_f32(file, i, elements - part, part, out, &error);
        if (!mm_tensor_file_is_list(file) && mm_tensor_file_find(file, info->name) != (int64_t)i)
            abort();
    }
}

/* The same tensors as a LoRA, whatever they are. */
static void read_lora(const mm_tensor_file *file)
{
    mm_error error = {0};
    mm_lora_table table = {0};
    mm_lora_layers layers = {0};
    mm_status status = mm_lora_table_read(&table, file, NULL, &error);
    if (status == MM_OK)
        status = mm_lora_layers_read(&layers, file, &table, NULL, &error);
    for (size_t i = 0; i < layers.count; i++)
        mm_lora_layer_norm(&layers.layer[i]);
    if (status != MM_OK && !error.text[0])
        abort();
    mm_lora_layers_free(&layers);
    mm_lora_table_free(&table);
}

/* The pickle inside an archive, as if its checksum were right. */
static void read_pickle(const uint8_t *data, size_t count)
{
    const uint8_t *start = memmem(data, count, "\x80\2", 2);
    const uint8_t *end = start ? memmem(start, count - (size_t)(start - data), ".PK", 3) : NULL;
    mm_arena arena = {0};
    mm_error error = {0};
    mm_pickle *root = NULL;
    if (end &&
        mm_pickle_read(&root, "fuzz", (const char *)start, (size_t)(end + 1 - start), &arena,
                       &error) != MM_OK &&
        !error.text[0])
        abort();
    mm_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    char path[64];
    mm_tensor_file *file = NULL;
    mm_error error = {0};
    int descriptor = memfd_create("fuzz", 0);
    if (descriptor < 0 || write(descriptor, data, count) != (ssize_t)count)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    mm_status status = mm_tensor_file_open(&file, path, &error);
    if (status == MM_OK) {
        read_tensors(file);
        read_lora(file);
    } else if (file || !error.text[0]) {
        abort();
    }
    mm_tensor_file_close(&file);
    read_pickle(data, count);
    close(descriptor);
    return 0;
}

#ifndef MM_LIBFUZZER
/* A few bytes replaced, copied from elsewhere, or the end cut off. */
static size_t change(const mm_rng *rng, uint8_t *data, size_t count)
{
    static const uint8_t odd[] = {0, 1, 2, 0x7f, 0x80, 0xff, '"', '{', '(', 'R', 'h', 0x85};
    const int64_t last = (int64_t)count - 1, changes = mm_rng_integer(rng, 0, 1, 6);
    for (uint64_t i = 0; i < (uint64_t)changes; i++) {
        size_t at = (size_t)mm_rng_integer(rng, 4 * i + 1, 0, last);
        size_t from = (size_t)mm_rng_integer(rng, 4 * i + 2, 0, last);
        size_t length = (size_t)mm_rng_integer(rng, 4 * i + 3, 1, 12);
        switch (mm_rng_integer(rng, 4 * i + 4, 0, 3)) {
        case 0:
            data[at] = odd[from % sizeof(odd)];
            break;
        case 1:
            data[at] = (uint8_t)(data[at] ^ 1u << from % 8);
            break;
        case 2:
            data[at] = (uint8_t)(data[at] + length);
            break;
        default:
            if (at + length <= count && from + length <= count)
                memmove(data + at, data + from, length);
            break;
        }
    }
    return mm_rng_integer(rng, 99, 0, 15) == 0 ? (size_t)mm_rng_integer(rng, 100, 0, last) : count;
}

static int replay(const char *path, uint32_t rounds)
{
    char *text;
    size_t count;
    mm_error error = {0};
    if (mm_file_read_all(path, 1 << 20, &text, &count, &error) != MM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)text, count);
    uint8_t *changed = malloc(count + 1);
    for (uint32_t round = 0; changed && count > 0 && round < rounds; round++) {
        const mm_rng rng = {.seed = count, .step = round};
        memcpy(changed, text, count);
        LLVMFuzzerTestOneInput(changed, change(&rng, changed, count));
    }
    free(changed);
    mm_free(text);
    return 0;
}

int main(int count, char **arguments)
{
    int failures = 0;
    uint32_t rounds = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 0;
    for (int i = 2; i < count; i++)
        failures += replay(arguments[i], rounds);
    return failures != 0;
}
#endif

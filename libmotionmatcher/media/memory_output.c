/* SPDX-License-Identifier: BSD-2-Clause */
#include "media/memory_output.h"

#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

enum { buffer_bytes = 32 * 1024 };

static int reserve(mm_memory_output *output, size_t end)
{
    if (end <= output->capacity)
        return 0;
    size_t capacity = end < SIZE_MAX / 2 ? 2 * end : end;
    uint8_t *grown = mm_realloc(output->data, capacity);
    if (!grown)
        return AVERROR(ENOMEM);
    memset(grown + output->capacity, 0, capacity - output->capacity);
    output->data = grown;
    output->capacity = capacity;
    return 0;
}

#if LIBAVFORMAT_VERSION_MAJOR >= 61
static int write_bytes(void *opaque, const uint8_t *bytes, int count)
#else
static int write_bytes(void *opaque, uint8_t *bytes, int count)
#endif
{
    mm_memory_output *output = opaque;
    size_t end;
    if (!mm_add_size(output->position, (size_t)count, &end) || reserve(output, end) < 0)
        return AVERROR(ENOMEM);
    memcpy(output->data + output->position, bytes, (size_t)count);
    output->position = end;
    if (end > output->size)
        output->size = end;
    return count;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    mm_memory_output *output = opaque;
    if (whence == AVSEEK_SIZE)
        return (int64_t)output->size;
    if (whence == SEEK_CUR)
        offset += (int64_t)output->position;
    else if (whence == SEEK_END)
        offset += (int64_t)output->size;
    else if (whence != SEEK_SET)
        return AVERROR(EINVAL);
    if (offset < 0)
        return AVERROR(EINVAL);
    output->position = (size_t)offset;
    return offset;
}

int mm_memory_output_open(mm_memory_output *output)
{
    *output = (mm_memory_output){0};
    uint8_t *buffer = av_malloc(buffer_bytes);
    if (buffer)
        output->io =
            avio_alloc_context(buffer, buffer_bytes, 1, output, NULL, write_bytes, seek_bytes);
    if (!output->io)
        av_free(buffer);
    return output->io ? 0 : AVERROR(ENOMEM);
}

void mm_memory_output_flush(mm_memory_output *output)
{
    avio_flush(output->io);
}

void mm_memory_output_close(mm_memory_output *output)
{
    if (output->io)
        av_freep(&output->io->buffer);
    avio_context_free(&output->io);
    mm_free(output->data);
    *output = (mm_memory_output){0};
}

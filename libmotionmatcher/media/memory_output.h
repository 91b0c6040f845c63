/* SPDX-License-Identifier: BSD-2-Clause */
/* A file in memory that FFmpeg's containers can write into, going back as they like. */
#ifndef MM_MEDIA_MEMORY_OUTPUT_H
#define MM_MEDIA_MEMORY_OUTPUT_H

#include <libavformat/avio.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mm_memory_output {
    AVIOContext *io;
    uint8_t *data;
    size_t size, capacity, position;
} mm_memory_output;

/* 0 or AVERROR(ENOMEM). The output must stay where it is while it is open. */
int mm_memory_output_open(mm_memory_output *output);
/* Hands over what the container has not written yet; then data and size are all of the file. */
void mm_memory_output_flush(mm_memory_output *output);
void mm_memory_output_close(mm_memory_output *output);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* One video stream of one local file, open for decoding. */
#ifndef MM_MEDIA_INPUT_H
#define MM_MEDIA_INPUT_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/error.h"
#include "base/file.h"

enum { mm_input_side_limit = 16384 };

typedef struct mm_input {
    mm_file file;
    int64_t position; /* of the next read */
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream;
    AVCodecContext *decoder; /* NULL until mm_input_open_decoder */
} mm_input;

/* The caller closes the input on failure, too. */
mm_status mm_input_open(mm_input *input, const char *path, mm_error *error);
mm_status mm_input_open_decoder(mm_input *input, mm_error *error);
void mm_input_close(mm_input *input);

/* The container's display matrix, 9 numbers; NULL when there is none. */
const int32_t *mm_input_display_matrix(const mm_input *input);
double mm_input_fps(const mm_input *input);

#endif

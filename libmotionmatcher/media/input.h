/* SPDX-License-Identifier: BSD-2-Clause */
/* One video stream of one local file, open for decoding. */
#ifndef MM_MEDIA_INPUT_H
#define MM_MEDIA_INPUT_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "base/error.h"
#include "base/file.h"

/* Pictures beyond a side's length or beyond 8K video's pixels are refused: a few bytes of a damaged
   or hostile file could ask for gigabytes. */
enum { mm_input_side_limit = 16384, mm_input_pixel_limit = 1 << 25 };

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

/* MM_ERR_INPUT when pictures of this size are refused. */
mm_status mm_input_check_size(const mm_input *input, int width, int height, mm_error *error);

/* The container's display matrix, 9 numbers; NULL when there is none. */
const int32_t *mm_input_display_matrix(const mm_input *input);
double mm_input_fps(const mm_input *input);

#endif

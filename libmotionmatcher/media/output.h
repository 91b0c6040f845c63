/* SPDX-License-Identifier: BSD-2-Clause */
/* The kinds of file that mm_media_write makes. Each is made in memory and handed to the file system
   whole, because containers go back to fill in their headers. */
#ifndef MM_MEDIA_OUTPUT_H
#define MM_MEDIA_OUTPUT_H

#include <libavcodec/avcodec.h>
#include <stddef.h>

#include "base/log.h"
#include "media/media.h"

/* Frames per second as a fraction; for 0 the default of the tools. */
AVRational mm_output_rate(const mm_frames *frames);

mm_status mm_output_video(const char *path, const mm_frames *frames, const mm_logger *logger,
                          mm_error *error);
mm_status mm_output_gif(const char *path, const mm_frames *frames, mm_error *error);
mm_status mm_output_contact_sheet(const char *path, const mm_frames *frames, mm_error *error);
/* `pattern` has one %d, or %04d and the like, in its last component; numbers start at 0. */
mm_status mm_output_check_pattern(const char *pattern, mm_error *error);
mm_status mm_output_sequence(const char *pattern, const mm_frames *frames, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavformat/avformat.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "media/media.h"
#include "media/output.h"
#include "media/quiet.h"

static const char *const video_endings[] = {".mp4", ".mkv", ".mov", ".webm", ".avi"};

static const char *ending_of(const char *path)
{
    const char *name = strrchr(path, '/'), *dot = strrchr(name ? name : path, '.');
    return dot ? dot : "";
}

static bool has_number(const char *path)
{
    const char *name = strrchr(path, '/');
    return strchr(name ? name : path, '%') != NULL;
}

static bool is_video(const char *ending)
{
    for (size_t i = 0; i < sizeof(video_endings) / sizeof(*video_endings); i++)
        if (strcasecmp(ending, video_endings[i]) == 0)
            return true;
    return false;
}

typedef enum output_kind {
    OUTPUT_UNKNOWN = 0,
    OUTPUT_VIDEO,
    OUTPUT_GIF,
    OUTPUT_SEQUENCE,
    OUTPUT_CONTACT_SHEET
} output_kind;

static output_kind kind_of(const char *path)
{
    const char *ending = ending_of(path);
    if (is_video(ending))
        return OUTPUT_VIDEO;
    if (strcasecmp(ending, ".gif") == 0)
        return OUTPUT_GIF;
    if (strcmp(ending, ".jpg") == 0)
        return OUTPUT_CONTACT_SHEET;
    if (strcasecmp(ending, ".png") != 0)
        return OUTPUT_UNKNOWN;
    return has_number(path) ? OUTPUT_SEQUENCE : OUTPUT_CONTACT_SHEET;
}

mm_status mm_media_check_path(const char *path, mm_error *error)
{
    output_kind kind = kind_of(path);
    if (kind == OUTPUT_SEQUENCE)
        return mm_output_check_pattern(path, error);
    if (kind != OUTPUT_UNKNOWN)
        return MM_OK;
    return mm_fail(error, MM_ERR_USAGE,
                   "%s: the name must end with .mp4, .mkv, .mov, .webm, .avi, .gif, .png or .jpg",
                   path);
}

static mm_status write_by_name(const char *path, const mm_frames *frames, const mm_logger *logger,
                               mm_error *error)
{
    switch (kind_of(path)) {
    case OUTPUT_VIDEO:
        return mm_output_video(path, frames, logger, error);
    case OUTPUT_GIF:
        return mm_output_gif(path, frames, error);
    case OUTPUT_SEQUENCE:
        return mm_output_sequence(path, frames, error);
    case OUTPUT_CONTACT_SHEET:
        return mm_output_contact_sheet(path, frames, error);
    case OUTPUT_UNKNOWN:
        break;
    }
    return mm_media_check_path(path, error);
}

mm_status mm_media_write(const char *path, const mm_frames *frames, const mm_logger *logger,
                         mm_error *error)
{
    if (frames->count < 1 || frames->width < 1 || frames->height < 1 || !frames->data)
        return mm_fail(error, MM_ERR_USAGE, "%s: there are no frames to write", path);
    if (!(frames->fps >= 0 && frames->fps <= 1000))
        return mm_fail(error, MM_ERR_USAGE, "%s: %g frames per second are outside 0..1000", path,
                       frames->fps);
    mm_quiet_begin();
    mm_status status = write_by_name(path, frames, logger, error);
    mm_quiet_end();
    return status;
}

#define MM_PASTE(text) #text
#define MM_QUOTE(text) MM_PASTE(text)

/* Of the headers at build time: the libraries at run time have the same major versions. */
const char *mm_media_versions(void)
{
    return "libavformat " MM_QUOTE(LIBAVFORMAT_VERSION) ", libavcodec " MM_QUOTE(
        LIBAVCODEC_VERSION) ", libavfilter " MM_QUOTE(LIBAVFILTER_VERSION);
}

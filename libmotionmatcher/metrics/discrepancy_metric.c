/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/discrepancy_metric.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/number.h"
#include "metrics/track_files.h"

#define MOST_SIDE 16384

typedef struct discrepancy {
    mm_metric base;
    mm_discrepancy_settings settings;
    mm_tracker *tracker;
    mm_tracker_size most; /* of what is expected, before it is decoded */
    mm_tracker_size room; /* for which there is memory */
    size_t budget;        /* bytes beside the weights */
    mm_tracks reference;  /* rescaled, unless the comparison is native */
    char *reference_path; /* that they are of */
    mm_track_files files; /* names given so far */
    /* The video at hand. */
    char *path;
    mm_frames video;
    int64_t capacity; /* frames */
} discrepancy;

static mm_status size_fail(const char *option, const char *text, bool native, mm_error *error)
{
    return mm_fail(error, MM_ERR_USAGE, "%s: '%s' is not a size such as 384x384%s", option, text,
                   native ? " or 'native'" : "");
}

mm_status mm_discrepancy_parse_size(const char *option, const char *text, bool *native,
                                    int64_t *width, int64_t *height, mm_error *error)
{
    char across[16] = "";
    const char *cross = strchr(text, 'x');
    *width = *height = 0;
    if (native && (*native = strcmp(text, "native") == 0))
        return MM_OK;
    if (!cross || (size_t)(cross - text) >= sizeof(across))
        return size_fail(option, text, native != NULL, error);
    memcpy(across, text, (size_t)(cross - text));
    if (!mm_parse_int(across, width) || !mm_parse_int(cross + 1, height) || *width < 2 ||
        *height < 2 || *width > MOST_SIDE || *height > MOST_SIDE)
        return size_fail(option, text, native != NULL, error);
    return MM_OK;
}

static void metric_free(mm_metric *metric)
{
    discrepancy *d = (discrepancy *)metric;
    mm_tracker_free(&d->tracker, metric->runtime->backend);
    mm_tracks_free(&d->reference);
    mm_track_files_free(&d->files);
    mm_frames_free(&d->video);
    mm_free(d->reference_path);
    mm_free(d->path);
    mm_free(d);
}

static size_t weight_bytes(const mm_metric *metric)
{
    const discrepancy *d = (const discrepancy *)metric;
    return mm_tracker_weight_bytes(d->tracker, metric->runtime->backend);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Videos of another length than the reference's cannot be compared, so its length tells. */
static void expect(mm_metric *metric, const mm_media_info *info, bool reference)
{
    discrepancy *d = (discrepancy *)metric;
    if (reference)
        d->most.frames = larger(d->most.frames, info->frames);
    d->most.width = larger(d->most.width, info->width);
    d->most.height = larger(d->most.height, info->height);
}

static mm_status make_room(discrepancy *d, const mm_tracker_size *size, size_t *bytes,
                           mm_error *error)
{
    size_t pictures = (size_t)(size->frames * size->width * size->height * 3);
    MM_TRY(mm_tracker_plan(d->tracker, d->base.runtime->backend, size, bytes, error));
    *bytes += (d->settings.save ? 2 : 1) * pictures;
    if (*bytes > d->budget)
        return mm_fail(error, MM_ERR_MEMORY,
                       "tracking %lld points through %lld frames of %lldx%lld takes %zu MiB beside "
                       "the weights; %zu MiB of the memory budget are left",
                       (long long)(size->grid * size->grid), (long long)size->frames,
                       (long long)size->width, (long long)size->height, *bytes >> 20,
                       d->budget >> 20);
    d->room = *size;
    return MM_OK;
}

static mm_status plan(mm_metric *metric, size_t budget, size_t *bytes, mm_error *error)
{
    discrepancy *d = (discrepancy *)metric;
    mm_tracker_size size = d->most;
    size.grid = d->settings.grid;
    if (size.frames < 2)
        size.frames = 16;
    d->budget = budget;
    return make_room(d, &size, bytes, error);
}

static mm_status save(discrepancy *d, const char *prefix, const char *path, const mm_frames *video,
                      const mm_tracks *tracks, mm_error *error)
{
    if (!d->settings.save)
        return MM_OK;
    mm_track_report report = {d->settings.saved, d->settings.user, d->base.runtime->logger};
    return mm_track_files_write(&d->files, prefix, path, video, tracks, &report, error);
}

static mm_status follow(discrepancy *d, const mm_frames *video, mm_tracks *out, mm_error *error)
{
    const mm_discrepancy_settings *s = &d->settings;
    mm_tracker_request request = {video, s->grid, s->progress, s->user};
    mm_tracker_size size = {video->count, video->width, video->height, s->grid};
    size_t bytes;
    /* Containers need not tell the truth. */
    if (size.frames > d->room.frames || size.width > d->room.width || size.height > d->room.height)
        MM_TRY(make_room(d, &size, &bytes, error));
    return mm_tracker_run(d->tracker, d->base.runtime, &request, out, error);
}

static void rescale(const discrepancy *d, mm_tracks *tracks)
{
    if (d->settings.width > 0)
        mm_tracks_rescale(tracks, d->settings.width, d->settings.height);
}

static mm_status reserve(discrepancy *d, const char *path, int64_t frames, size_t picture,
                         mm_error *error)
{
    size_t bytes;
    if (!mm_mul_size((size_t)frames, picture, &bytes) || bytes > d->budget)
        return mm_fail(error, MM_ERR_MEMORY,
                       "%s: %lld frames of %zu KiB do not fit into the %zu MiB that are left of "
                       "the memory budget",
                       path, (long long)frames, picture >> 10, d->budget >> 20);
    uint8_t *grown = mm_realloc(d->video.data, bytes);
    if (!grown)
        return mm_fail_memory(error, "a video", bytes);
    d->video.data = grown;
    d->capacity = frames;
    return MM_OK;
}

/* frames: for which memory is taken when there is none. */
static mm_status keep_frame(discrepancy *d, const char *path, const mm_picture *frame,
                            int64_t frames, mm_error *error)
{
    size_t bytes = (size_t)(frame->width * frame->height * 3);
    if (d->video.count == d->capacity)
        MM_TRY(reserve(d, path, frames, bytes, error));
    d->video.width = (int32_t)frame->width;
    d->video.height = (int32_t)frame->height;
    memcpy(d->video.data + (size_t)d->video.count * bytes, frame->rgb, bytes);
    d->video.count++;
    return MM_OK;
}

static mm_status keep_reference_frame(void *user, const uint8_t *rgb, int32_t width, int32_t height,
                                      mm_error *error)
{
    discrepancy *d = user;
    int64_t frames = d->capacity ? 2 * d->capacity : d->room.frames;
    return keep_frame(d, d->reference_path, &(mm_picture){rgb, width, height}, frames, error);
}

static void drop_frames(discrepancy *d)
{
    mm_frames_free(&d->video);
    d->capacity = 0;
}

static mm_status follow_reference(discrepancy *d, mm_error *error)
{
    const char *path = d->reference_path;
    mm_status status = follow(d, &d->video, &d->reference, error);
    if (status != MM_OK)
        return mm_error_prefix(error, "%s", path);
    MM_TRY(save(d, "reference-", path, &d->video, &d->reference, error));
    rescale(d, &d->reference);
    return MM_OK;
}

static mm_status track_reference(discrepancy *d, const char *path, mm_error *error)
{
    mm_decode_request request = {.frame_step = 1};
    int64_t count;
    mm_tracks_free(&d->reference);
    MM_TRY(mm_metric_keep_text(&d->reference_path, path, error));
    mm_status status = mm_media_decode_each(path, &request, d->base.runtime->logger,
                                            keep_reference_frame, d, &count, error);
    if (status == MM_OK)
        status = follow_reference(d, error);
    drop_frames(d);
    if (status == MM_OK)
        return MM_OK;
    /* The next video shall not take half of it for the whole. */
    mm_free(d->reference_path);
    d->reference_path = NULL;
    return status;
}

static mm_status load(mm_metric *metric, mm_error *error)
{
    discrepancy *d = (discrepancy *)metric;
    MM_TRY(mm_tracker_load(d->tracker, metric->runtime, error));
    if (d->settings.save)
        MM_TRY(mm_directory_create(d->settings.save, error));
    return MM_OK;
}

static mm_status begin(mm_metric *metric, const mm_metric_video *video, mm_error *error)
{
    discrepancy *d = (discrepancy *)metric;
    drop_frames(d);
    MM_TRY(mm_metric_keep_text(&d->path, video->path, error));
    if (mm_metric_has_text(&d->reference_path, video->reference))
        return MM_OK;
    return track_reference(d, video->reference, error);
}

static mm_status wrong_length(const discrepancy *d, const char *more, mm_error *error)
{
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: %s%lld frame%s, while the reference has %lld: motion discrepancy compares "
                   "videos of one length",
                   d->path, more, (long long)d->video.count, d->video.count == 1 ? "" : "s",
                   (long long)d->reference.frames);
}

static mm_status add_frame(mm_metric *metric, const mm_picture *frame, mm_error *error)
{
    discrepancy *d = (discrepancy *)metric;
    if (d->video.count == d->reference.frames)
        return wrong_length(d, "more than ", error);
    return keep_frame(d, d->path, frame, d->reference.frames, error);
}

static mm_status compare(discrepancy *d, mm_tracks *tracks, double *value, mm_error *error)
{
    MM_TRY(save(d, "", d->path, &d->video, tracks, error));
    rescale(d, tracks);
    bool native = d->settings.width == 0;
    return mm_motion_discrepancy(tracks, &d->reference,
                                 native ? MM_DISCREPANCY_WIDTH : d->settings.width,
                                 native ? MM_DISCREPANCY_HEIGHT : d->settings.height, value, error);
}

static mm_status finish(mm_metric *metric, double *values, mm_error *error)
{
    discrepancy *d = (discrepancy *)metric;
    mm_tracks tracks;
    if (d->video.count != d->reference.frames)
        return wrong_length(d, "", error);
    mm_status status = follow(d, &d->video, &tracks, error);
    if (status == MM_ERR_MEMORY)
        mm_error_prefix(error, "%s", d->path);
    if (status == MM_OK)
        status = compare(d, &tracks, &values[0], error);
    if (status == MM_ERR_NONFINITE)
        mm_error_prefix(error, "%s: motion_discrepancy", d->path);
    mm_tracks_free(&tracks);
    return status;
}

static const mm_metric_table table = {
    .name = "motion discrepancy",
    .figure_count = 1,
    .figure = {"motion_discrepancy"},
    .needs_reference = true,
    .free = metric_free,
    .expect = expect,
    .weight_bytes = weight_bytes,
    .plan = plan,
    .load = load,
    .begin = begin,
    .add_frame = add_frame,
    .finish = finish,
};

static mm_status open(discrepancy *d, mm_error *error)
{
    const mm_discrepancy_settings *s = &d->settings;
    MM_TRY(mm_tracker_open(&d->tracker, s->tracker, s->tracker_width, s->tracker_height,
                           d->base.runtime->logger, error));
    if (s->save) {
        d->files.folder = s->save;
        MM_TRY(mm_directory_check_creatable(s->save, error));
    }
    return MM_OK;
}

mm_status mm_discrepancy_metric_create(mm_metric **out, const mm_runtime *runtime,
                                       const mm_discrepancy_settings *settings, mm_error *error)
{
    *out = NULL;
    discrepancy *d = mm_calloc(1, sizeof(*d));
    if (!d)
        return mm_fail_memory(error, "a metric", sizeof(*d));
    d->base = (mm_metric){&table, runtime};
    d->settings = *settings;
    mm_status status = open(d, error);
    if (status != MM_OK) {
        metric_free(&d->base);
        return status;
    }
    *out = &d->base;
    return MM_OK;
}

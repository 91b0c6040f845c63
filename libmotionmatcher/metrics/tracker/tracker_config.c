/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "metrics/tracker/tracker_network.h"
#include "models/config_file.h"

#define MOST_WINDOW 4096
#define MOST_DEPTH 64
#define MOST_RADIUS 15

/* Dimension `at` of a tensor that must have `rank` of them, at most `most`. */
static mm_status read_side(const mm_tensor_file *file, const char *name, int32_t rank, int32_t at,
                           int64_t most, int64_t *out, mm_error *error)
{
    const char *path = mm_tensor_file_path(file);
    int64_t index = mm_tensor_file_find(file, name);
    if (index < 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: not the weights of CoTracker3's offline model: the tensor '%s' is "
                       "missing",
                       path, name);
    const mm_shape *shape = &mm_tensor_file_info(file, (size_t)index)->shape;
    char text[128];
    if (shape->rank != rank || shape->dim[at] < 1 || shape->dim[at] > most)
        return mm_fail(error, MM_ERR_INPUT, "%s: the tensor '%s' is %s, which no tracker has", path,
                       name, mm_shape_text(shape, text, sizeof(text)));
    *out = shape->dim[at];
    return MM_OK;
}

static mm_status read_channels(const mm_tensor_file *file, const char *name, int32_t rank,
                               int64_t *out, mm_error *error)
{
    return read_side(file, name, rank, 0, MM_MOST_CHANNELS, out, error);
}

static mm_status read_features(mm_tracker_config *c, const mm_tensor_file *file, mm_error *error)
{
    char name[64];
    MM_TRY(read_channels(file, "fnet.conv1.weight", 4, &c->stem, error));
    for (int i = 0; i < MM_TRACKER_STAGES; i++) {
        snprintf(name, sizeof(name), "fnet.layer%d.0.conv1.weight", i + 1);
        MM_TRY(read_channels(file, name, 4, &c->stage[i], error));
    }
    MM_TRY(read_channels(file, "fnet.conv2.weight", 4, &c->fused, error));
    return read_channels(file, "fnet.conv3.weight", 4, &c->features, error);
}

/* A row of correlations is (2 radius + 1)^4 long. */
static mm_status read_correlation(mm_tracker_config *c, const mm_tensor_file *file, mm_error *error)
{
    int64_t row;
    MM_TRY(read_channels(file, "corr_mlp.fc1.weight", 2, &c->correlation_hidden, error));
    MM_TRY(read_channels(file, "corr_mlp.fc2.weight", 2, &c->correlation, error));
    MM_TRY(read_side(file, "corr_mlp.fc1.weight", 2, 1, INT32_MAX, &row, error));
    for (c->radius = 1; c->radius <= MOST_RADIUS; c->radius++) {
        int64_t patch = (2 * c->radius + 1) * (2 * c->radius + 1);
        if (patch * patch == row)
            return MM_OK;
    }
    return mm_fail(error, MM_ERR_INPUT,
                   "%s: 'corr_mlp.fc1.weight' reads %lld correlations, which is no fourth power of "
                   "an odd number",
                   mm_tensor_file_path(file), (long long)row);
}

static mm_status read_update(mm_tracker_config *c, const mm_tensor_file *file, mm_error *error)
{
    static const char input[] = "updateformer.input_transform.weight";
    static const char mlp[] = "updateformer.time_blocks.0.mlp.fc1.weight";
    MM_TRY(read_channels(file, input, 2, &c->hidden, error));
    MM_TRY(read_side(file, input, 2, 1, MM_MOST_CHANNELS, &c->token, error));
    MM_TRY(read_channels(file, mlp, 2, &c->feed_forward, error));
    MM_TRY(read_side(file, "updateformer.virual_tracks", 4, 1, MM_MOST_CHANNELS, &c->virtual_tracks,
                     error));
    MM_TRY(read_side(file, "time_emb", 3, 1, MOST_WINDOW, &c->window, error));
    char name[64];
    for (c->depth = 0; c->depth <= MOST_DEPTH; c->depth++) {
        snprintf(name, sizeof(name), "updateformer.time_blocks.%d.attn.to_q.weight", (int)c->depth);
        if (mm_tensor_file_find(file, name) < 0)
            return MM_OK;
    }
    return mm_fail(error, MM_ERR_INPUT, "%s: more than %d time blocks", mm_tensor_file_path(file),
                   MOST_DEPTH);
}

mm_status mm_tracker_config_read(mm_tracker_config *c, const mm_tensor_file *file, mm_error *error)
{
    MM_TRY(read_features(c, file, error));
    MM_TRY(read_correlation(c, file, error));
    MM_TRY(read_update(c, file, error));
    const char *path = mm_tensor_file_path(file);
    int64_t token = MM_TRACKER_STATE + MM_TRACKER_LEVELS * c->correlation + MM_TRACKER_MOTION;
    if (c->token != token)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: tokens of %lld values, where %d levels of %lld correlations make %lld",
                       path, (long long)c->token, MM_TRACKER_LEVELS, (long long)c->correlation,
                       (long long)token);
    if (c->hidden % MM_TRACKER_HEAD_WIDTH != 0)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a width of %lld does not split into heads of %d channels", path,
                       (long long)c->hidden, MM_TRACKER_HEAD_WIDTH);
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the networks' config.json files have in common. Keys that are absent or null take the
 * class's default, unknown ones are ignored. Numbers are bounded so that no shape made of them can
 * overflow.
 */
#ifndef MM_MODELS_CONFIG_FILE_H
#define MM_MODELS_CONFIG_FILE_H

#include "base/json.h"
#include "graph/graph.h"

#define MM_MOST_CHANNELS 16384

/* Loads the document; "_class_name", where it is given, must be `class_name`: MM_ERR_UNSUPPORTED.
 */
mm_status mm_config_open(mm_json_document *document, const char *path, const char *class_name,
                         mm_error *error);
/* MM_ERR_UNSUPPORTED when the key has a value other than null. */
mm_status mm_config_refuse(const mm_json_document *document, const char *key, mm_error *error);
mm_status mm_config_channels(const mm_json_document *document, const char *key, int64_t fallback,
                             int64_t *out, mm_error *error);
/* act_fn of diffusers. */
mm_status mm_config_activation(const mm_json_document *document, mm_activation_kind *out,
                               mm_error *error);
/* hidden_act of transformers, in the document or a section of it. */
mm_status mm_config_hidden_activation(const mm_json_document *document, const mm_json *section,
                                      const char *fallback, mm_activation_kind *out,
                                      mm_error *error);
/* block_out_channels: as many as *levels, at most `capacity`; defaults are left alone. */
mm_status mm_config_levels(const mm_json_document *document, int32_t capacity, int64_t *channels,
                           int32_t *levels, mm_error *error);
/* norm_num_groups (32), which must divide the channels of every level. */
mm_status mm_config_groups(const mm_json_document *document, const int64_t *channels,
                           int32_t levels, int64_t *out, mm_error *error);

/* A list of block types, one a level: *attention[i] is whether it is `with` rather than `without`.
   `with` may be NULL. An absent list leaves the defaults, of `default_levels` entries, alone. */
mm_status mm_config_blocks(const mm_json_document *document, const char *key, const char *with,
                           const char *without, int32_t levels, int32_t default_levels,
                           bool *attention, mm_error *error);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file options.h
 * Settings by name. Every handle that can be configured has one table of options (name, type,
 * range, default, help); an mm_options holds values for one table. The same tables drive config
 * files, command lines and help texts.
 *
 * Tables: "context" (device, precision, threads, memory budget), "train", "sample", "features",
 * "evaluate", "retrieve".
 *
 * Values are texts in C locale: "384", "5e-4", "true", "16G", a word of a choice. '-' and '_' in
 * names are the same. The keys of the released MotionMatcher code's configuration files, with their
 * section ("train_data.width"), are further names of table "train".
 *
 * An empty text is a value. What was set cannot be unset: make new options.
 *
 * Parameters: a function that makes its handle from others (create, open, decode) has `out` first,
 * one that asks a handle for something has it last.
 *
 * Thread-safety: one mm_options must not be used by two threads at a time.
 */
#ifndef MOTIONMATCHER_OPTIONS_H
#define MOTIONMATCHER_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "motionmatcher/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Values for the options of one table. */
typedef struct mm_options mm_options;

/** Where a value comes from; a later kind never yields to an earlier one. */
#define MM_SOURCE_DEFAULT 0
/** A config file. */
#define MM_SOURCE_FILE 1
/** A pair key=value for any option. */
#define MM_SOURCE_SET 2
/** The command line, or a program that decides. */
#define MM_SOURCE_COMMAND_LINE 3

/**
 * All options of a table at their defaults.
 * @param out   receives the handle, to be freed with mm_options_free(); NULL on failure.
 * @param table one of the names above.
 * @return MM_OK; MM_ERR_USAGE: no such table; MM_ERR_MEMORY.
 */
MM_API mm_status mm_options_create(mm_options **out, const char *table);
/** Frees and sets *options to NULL; accepts NULL and a pointer to NULL. */
MM_API void mm_options_free(mm_options **options);

/**
 * Sets one option. For a repeatable option (a list) the value is appended to those of the same
 * source, and replaces those of an earlier one.
 * @param source an MM_SOURCE_ value; a value of an earlier source than the present one is ignored.
 * @return MM_OK; MM_ERR_USAGE: unknown key (the message names the nearest), not a value of its
 * type, outside its range, not UTF-8 (what fits only some models, such as a scale factor, is
 * checked where the options are used); MM_ERR_UNSUPPORTED: a key of the released code that would
 *         change the result and is not implemented; MM_ERR_MEMORY.
 */
MM_API mm_status mm_options_set(mm_options *options, const char *key, const char *value,
                                int32_t source);

/**
 * The value as a text, for lists one item after the other.
 * @param index 0, or the item of a list.
 * @param out   receives a string owned by the options, valid until they are changed; NULL when the
 *              option has no value or the list has no such item.
 * @return MM_OK; MM_ERR_USAGE: unknown key; MM_ERR_MEMORY.
 */
MM_API mm_status mm_options_get(mm_options *options, const char *key, size_t index,
                                const char **out);
/** Where the value comes from (MM_SOURCE_...), or -1 for an unknown key. */
MM_API int32_t mm_options_source(const mm_options *options, const char *key);

/**
 * Reads a config file as MM_SOURCE_FILE: JSON with this table's names, or a MotionMatcher YAML
 * config unchanged. Keys of other tables are handed to `other` when that is given (may be NULL).
 * Keys about speed alone are named once through mm_options_notices(). On failure what was read
 * before the fault stays set.
 * @return MM_OK; MM_ERR_INPUT: unreadable or malformed; MM_ERR_USAGE: an unknown key (the message
 *         names the nearest) or bad value; MM_ERR_UNSUPPORTED: a key that would change the result
 * and is not implemented; MM_ERR_MEMORY.
 */
MM_API mm_status mm_options_load(mm_options *options, mm_options *other, const char *path);
/** Notices of the last mm_options_load(), one a line, "" when there were none; owned by the
 * options. */
MM_API const char *mm_options_notices(const mm_options *options);

/**
 * All values as a JSON object, in the table's order.
 * @param out receives a string to be freed with mm_string_free().
 * @return MM_OK; MM_ERR_MEMORY.
 */
MM_API mm_status mm_options_to_json(mm_options *options, char **out);
/** Frees a string that a function says is to be freed with this; accepts NULL. */
MM_API void mm_string_free(char *text);

/** One row of a table. All strings are static. */
typedef struct mm_option_info {
    uint32_t struct_size; /**< set by the caller to sizeof(mm_option_info) */
    int32_t repeatable;   /**< 1 for a list */
    const char *name;     /**< as mm_options_set() takes it */
    const char *type;     /**< "flag", "integer", "real", "size", "text", "choice" or "list" */
    const char *fallback; /**< default as a text; "" for none */
    const char *unit;     /**< unit, kind of name ("file"), or the words to choose from, by '|' */
    const char *help;     /**< one line: what it does */
    double low;           /**< least value of a number */
    double high;          /**< largest value of a number */
} mm_option_info;

/** Number of options in a table; 0 for an unknown table. */
MM_API size_t mm_option_count(const char *table);
/** @return MM_OK; MM_ERR_USAGE: no such table or index, or struct_size is too small. */
MM_API mm_status mm_option_describe(const char *table, size_t index, mm_option_info *info);

#ifdef __cplusplus
}
#endif

#endif

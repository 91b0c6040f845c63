/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON documents of at most 4 MiB, checked for UTF-8 and depth before they are parsed. */
#ifndef MM_BASE_JSON_H
#define MM_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/number.h"

#define MM_JSON_LIMIT (4u << 20)

/* A value inside a document; lives as long as the document. It is a cJSON node. */
typedef struct cJSON mm_json;

typedef struct mm_json_document {
    mm_json *root;
    char *path; /* for messages: the file, or what the text is */
} mm_json_document;

/* MM_ERR_INPUT: unreadable, over the limit, not UTF-8, a byte order mark, nested deeper than 64,
   text after the value, duplicate keys in one object. */
mm_status mm_json_load(mm_json_document *document, const char *path, mm_error *error);
mm_status mm_json_parse(mm_json_document *document, const char *name, const char *text,
                        size_t bytes, mm_error *error);
void mm_json_free(mm_json_document *document);

/* Member of an object; NULL when absent, null, or `object` is no object. */
const mm_json *mm_json_member(const mm_json *object, const char *key);
size_t mm_json_count(const mm_json *array_or_object);
const mm_json *mm_json_item(const mm_json *array, size_t index); /* O(index) */

/* Walking an array or object in linear time; NULL at its end, or when it is neither. */
const mm_json *mm_json_first(const mm_json *array_or_object);
const mm_json *mm_json_next(const mm_json *item);
const char *mm_json_key(const mm_json *member); /* of an object's member */

bool mm_json_is_object(const mm_json *value);
bool mm_json_is_array(const mm_json *value);
bool mm_json_is_bool(const mm_json *value);
const char *mm_json_text(const mm_json *value);         /* NULL when it is no string */
bool mm_json_number(const mm_json *value, double *out); /* false unless a finite number */
bool mm_json_whole(const mm_json *value, int64_t *out); /* whole and below 2^53 in size */

/* Typed members with a default where the key is absent or null; a value of another type, not whole
   where it must be, or outside low..high is MM_ERR_INPUT naming file, key, value and range. */
mm_status mm_json_get_int(const mm_json_document *document, const mm_json *object, const char *key,
                          int64_t fallback, int64_t low, int64_t high, int64_t *out,
                          mm_error *error);
mm_status mm_json_get_double(const mm_json_document *document, const mm_json *object,
                             const char *key, double fallback, double low, double high, double *out,
                             mm_error *error);
mm_status mm_json_get_bool(const mm_json_document *document, const mm_json *object, const char *key,
                           bool fallback, bool *out, mm_error *error);
/* *out points into the document (or is `fallback`, which may be NULL). */
mm_status mm_json_get_string(const mm_json_document *document, const mm_json *object,
                             const char *key, const char *fallback, const char **out,
                             mm_error *error);
/* An array of 1..capacity whole numbers; *count is left alone when the key is absent. */
mm_status mm_json_get_ints(const mm_json_document *document, const mm_json *object, const char *key,
                           int64_t low, int64_t high, size_t capacity, int64_t *out, size_t *count,
                           mm_error *error);

/* True when the text is well-formed UTF-8 (no overlong forms, surrogates or NUL). */
bool mm_utf8_valid(const char *text, size_t bytes);

/* Building JSON text: locale-independent, keys in the order they are added. */
typedef struct mm_json_writer {
    char *text; /* free with mm_free */
    size_t bytes, capacity;
    int32_t depth;
    bool failed; /* no memory: everything after is ignored */
    bool need_comma, pretty;
} mm_json_writer;

void mm_json_begin(mm_json_writer *writer, const char *key, char bracket); /* '{' or '[' */
void mm_json_end(mm_json_writer *writer, char bracket);                    /* '}' or ']' */
/* key is NULL inside arrays. Doubles are written with the fewest digits that read back equal. */
void mm_json_put_string(mm_json_writer *writer, const char *key, const char *value);
void mm_json_put_int(mm_json_writer *writer, const char *key, int64_t value);
void mm_json_put_double(mm_json_writer *writer, const char *key, double value);
void mm_json_put_bool(mm_json_writer *writer, const char *key, bool value);
void mm_json_put_null(mm_json_writer *writer, const char *key);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/number.h"

#define MOST_DEPTH 64
#define MOST_NUMBER_TEXT 62            /* cJSON copies numbers into a buffer of 64 */
#define WHOLE_BELOW 9007199254740992.0 /* 2^53: from here doubles skip whole numbers */

/* Length of the well-formed sequence at `text`, 0 when there is none. */
static size_t utf8_sequence(const char *text, size_t bytes)
{
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x80)
        return c[0] != 0;
    size_t length = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4 || bytes < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool surrogate = c[0] == 0xed && c[1] > 0x9f;
    bool beyond = c[0] == 0xf4 && c[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

bool mm_utf8_valid(const char *text, size_t bytes)
{
    for (size_t at = 0, length; at < bytes; at += length) {
        length = utf8_sequence(text + at, bytes - at);
        if (length == 0)
            return false;
    }
    return true;
}

/* The grammar is checked here, strictly, before cJSON sees the text: cJSON takes a good deal that
   is no JSON, and what it refuses after this can only be lack of memory. */
typedef struct scanner {
    const char *name, *text;
    size_t at, bytes;
    int depth;
    mm_error *error;
} scanner;

static mm_status scan_fail(const scanner *s, const char *what)
{
    unsigned long long line = 1;
    for (size_t i = 0; i < s->at && i < s->bytes; i++)
        line += s->text[i] == '\n';
    return mm_fail(s->error, MM_ERR_INPUT, "%s: no valid JSON, line %llu (byte %zu): %s", s->name,
                   line, s->at, what);
}

static int peek(const scanner *s)
{
    return s->at < s->bytes ? (unsigned char)s->text[s->at] : -1;
}

static void skip_blanks(scanner *s)
{
    while (peek(s) == ' ' || peek(s) == '\t' || peek(s) == '\n' || peek(s) == '\r')
        s->at++;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(int c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits; -1 when they are not there. */
static int scan_hex(scanner *s)
{
    int value = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int digit = hex_digit(peek(s));
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool scan_unicode_escape(scanner *s)
{
    int unit = scan_hex(s);
    if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return false;
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    if (s->bytes - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
        return false;
    s->at += 2;
    unit = scan_hex(s);
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static mm_status scan_string(scanner *s)
{
    for (s->at++; peek(s) != '"'; s->at++) {
        if (peek(s) < 0x20)
            return scan_fail(s, peek(s) < 0 ? "the text ends inside a string"
                                            : "a control character inside a string");
        if (peek(s) != '\\')
            continue;
        s->at++;
        if (peek(s) <= 0 || !strchr("\"\\/bfnrtu", peek(s)))
            return scan_fail(s, "an unknown escape");
        if (peek(s) != 'u')
            continue;
        s->at++;
        if (!scan_unicode_escape(s))
            return scan_fail(s, "an escape that is no character");
        s->at--;
    }
    s->at++;
    return MM_OK;
}

static bool scan_digits(scanner *s)
{
    size_t first = s->at;
    while (is_digit(peek(s)))
        s->at++;
    return s->at > first;
}

static mm_status scan_number(scanner *s)
{
    size_t first = s->at;
    s->at += peek(s) == '-';
    bool leading_zero = peek(s) == '0', good = scan_digits(s);
    good = good && !(leading_zero && s->at - first > 1 + (size_t)(s->text[first] == '-'));
    if (good && peek(s) == '.') {
        s->at++;
        good = scan_digits(s);
    }
    if (good && (peek(s) == 'e' || peek(s) == 'E')) {
        s->at++;
        s->at += peek(s) == '+' || peek(s) == '-';
        good = scan_digits(s);
    }
    if (!good)
        return scan_fail(s, "not a number");
    return s->at - first <= MOST_NUMBER_TEXT ? MM_OK : scan_fail(s, "a number of too many digits");
}

static mm_status scan_word(scanner *s, const char *word)
{
    size_t length = strlen(word);
    if (s->bytes - s->at < length || memcmp(s->text + s->at, word, length) != 0)
        return scan_fail(s, "a value is expected");
    s->at += length;
    return MM_OK;
}

static mm_status scan_value(scanner *s);

static mm_status scan_key(scanner *s)
{
    if (peek(s) != '"')
        return scan_fail(s, "a key in double quotes is expected");
    MM_TRY(scan_string(s));
    skip_blanks(s);
    if (peek(s) != ':')
        return scan_fail(s, "':' is expected");
    s->at++;
    return MM_OK;
}

static mm_status scan_container(scanner *s, int close)
{
    if (++s->depth > MOST_DEPTH)
        return scan_fail(s, "nested too deeply");
    s->at++;
    skip_blanks(s);
    if (peek(s) == close)
        goto done;
    for (;; s->at++) {
        skip_blanks(s);
        if (close == '}')
            MM_TRY(scan_key(s));
        MM_TRY(scan_value(s));
        skip_blanks(s);
        if (peek(s) == close)
            break;
        if (peek(s) != ',')
            return scan_fail(s, close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
    }
done:
    s->at++;
    s->depth--;
    return MM_OK;
}

static mm_status scan_value(scanner *s)
{
    skip_blanks(s);
    switch (peek(s)) {
    case '{':
        return scan_container(s, '}');
    case '[':
        return scan_container(s, ']');
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    case -1:
        return scan_fail(s, "the text ends where a value is expected");
    default:
        return scan_number(s);
    }
}

static mm_status scan_document(const char *name, const char *text, size_t bytes, mm_error *error)
{
    scanner s = {.name = name, .text = text, .bytes = bytes, .error = error};
    if (bytes > MM_JSON_LIMIT)
        return mm_fail(error, MM_ERR_INPUT, "%s: %zu bytes of JSON, at most %u are read", name,
                       bytes, MM_JSON_LIMIT);
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return scan_fail(&s, "a byte order mark, which JSON must not have");
    if (!mm_utf8_valid(text, bytes))
        return mm_fail(error, MM_ERR_INPUT, "%s: no valid JSON: not UTF-8 text", name);
    MM_TRY(scan_value(&s));
    skip_blanks(&s);
    return s.at == bytes ? MM_OK : scan_fail(&s, "text after the end of the value");
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static mm_status check_keys(const char *name, const cJSON *object, size_t count, mm_error *error)
{
    const char **keys = mm_calloc(count, sizeof(*keys));
    if (!keys)
        return mm_fail_memory(error, "the keys of a JSON object", count * sizeof(*keys));
    size_t n = 0;
    for (const cJSON *member = object->child; member; member = member->next)
        keys[n++] = member->string;
    qsort(keys, n, sizeof(*keys), compare_keys);
    mm_status status = MM_OK;
    for (size_t i = 1; i < n && status == MM_OK; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = mm_fail(error, MM_ERR_INPUT, "%s: the key \"%s\" stands twice in one object",
                             name, keys[i]);
    }
    mm_free(keys);
    return status;
}

/* Depth was bounded by the scan, so this may recurse. */
static mm_status check_duplicates(const char *name, const cJSON *value, mm_error *error)
{
    size_t count = 0;
    for (const cJSON *child = value->child; child; child = child->next) {
        MM_TRY(check_duplicates(name, child, error));
        count++;
    }
    return cJSON_IsObject(value) && count > 1 ? check_keys(name, value, count, error) : MM_OK;
}

mm_status mm_json_parse(mm_json_document *document, const char *name, const char *text,
                        size_t bytes, mm_error *error)
{
    *document = (mm_json_document){0};
    MM_TRY(scan_document(name, text, bytes, error));
    locale_t before = mm_locale_enter();
    document->root = cJSON_ParseWithLength(text, bytes);
    mm_locale_leave(before);
    document->path = mm_strdup(name);
    mm_status status = document->root && document->path
                           ? check_duplicates(name, document->root, error)
                           : mm_fail_memory(error, name, bytes);
    if (status != MM_OK)
        mm_json_free(document);
    return status;
}

mm_status mm_json_load(mm_json_document *document, const char *path, mm_error *error)
{
    char *text;
    size_t bytes;
    *document = (mm_json_document){0};
    MM_TRY(mm_file_read_all(path, MM_JSON_LIMIT, &text, &bytes, error));
    mm_status status = mm_json_parse(document, path, text, bytes, error);
    mm_free(text);
    return status;
}

void mm_json_free(mm_json_document *document)
{
    cJSON_Delete(document->root);
    mm_free(document->path);
    *document = (mm_json_document){0};
}

const mm_json *mm_json_member(const mm_json *object, const char *key)
{
    if (!cJSON_IsObject(object))
        return NULL;
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(member) ? NULL : member;
}

size_t mm_json_count(const mm_json *container)
{
    size_t count = 0;
    for (const cJSON *child = mm_json_first(container); child; child = child->next)
        count++;
    return count;
}

const mm_json *mm_json_item(const mm_json *array, size_t index)
{
    const cJSON *child = mm_json_first(array);
    while (child && index-- > 0)
        child = child->next;
    return child;
}

const mm_json *mm_json_first(const mm_json *container)
{
    return cJSON_IsArray(container) || cJSON_IsObject(container) ? container->child : NULL;
}

const mm_json *mm_json_next(const mm_json *item)
{
    return item->next;
}

const char *mm_json_key(const mm_json *member)
{
    return member->string;
}

bool mm_json_is_object(const mm_json *value)
{
    return cJSON_IsObject(value);
}

bool mm_json_is_array(const mm_json *value)
{
    return cJSON_IsArray(value);
}

bool mm_json_is_bool(const mm_json *value)
{
    return cJSON_IsBool(value);
}

const char *mm_json_text(const mm_json *value)
{
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

bool mm_json_number(const mm_json *value, double *out)
{
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble))
        return false;
    *out = value->valuedouble;
    return true;
}

bool mm_json_whole(const mm_json *value, int64_t *out)
{
    double number;
    if (!mm_json_number(value, &number) || fabs(number) >= WHOLE_BELOW || number != floor(number))
        return false;
    *out = (int64_t)number;
    return true;
}

static const char *describe(const mm_json *value, char *out, size_t size)
{
    if (cJSON_IsNumber(value))
        return mm_double_text(value->valuedouble, out, size);
    return cJSON_IsString(value)   ? "a text"
           : cJSON_IsArray(value)  ? "a list"
           : cJSON_IsObject(value) ? "an object"
           : cJSON_IsTrue(value)   ? "true"
           : cJSON_IsFalse(value)  ? "false"
                                   : "null";
}

static mm_status fail_whole(const mm_json_document *document, const char *key, const mm_json *value,
                            int64_t low, int64_t high, mm_error *error)
{
    char text[MM_DOUBLE_TEXT];
    return mm_fail(error, MM_ERR_INPUT, "%s: \"%s\" is %s, must be a whole number in %lld..%lld",
                   document->path, key, describe(value, text, sizeof(text)), (long long)low,
                   (long long)high);
}

static mm_status fail_type(const mm_json_document *document, const char *key, const mm_json *value,
                           const char *wanted, mm_error *error)
{
    char text[MM_DOUBLE_TEXT];
    return mm_fail(error, MM_ERR_INPUT, "%s: \"%s\" is %s, must be %s", document->path, key,
                   describe(value, text, sizeof(text)), wanted);
}

mm_status mm_json_get_int(const mm_json_document *document, const mm_json *object, const char *key,
                          int64_t fallback, int64_t low, int64_t high, int64_t *out,
                          mm_error *error)
{
    const mm_json *value = mm_json_member(object, key);
    *out = fallback;
    if (!value)
        return MM_OK;
    if (!mm_json_whole(value, out) || *out < low || *out > high)
        return fail_whole(document, key, value, low, high, error);
    return MM_OK;
}

mm_status mm_json_get_double(const mm_json_document *document, const mm_json *object,
                             const char *key, double fallback, double low, double high, double *out,
                             mm_error *error)
{
    const mm_json *value = mm_json_member(object, key);
    *out = fallback;
    if (!value)
        return MM_OK;
    if (!mm_json_number(value, out) || *out < low || *out > high) {
        char is[MM_DOUBLE_TEXT], from[MM_DOUBLE_TEXT], to[MM_DOUBLE_TEXT];
        return mm_fail(error, MM_ERR_INPUT, "%s: \"%s\" is %s, must be a number in %s..%s",
                       document->path, key, describe(value, is, sizeof(is)),
                       mm_double_text(low, from, sizeof(from)),
                       mm_double_text(high, to, sizeof(to)));
    }
    return MM_OK;
}

mm_status mm_json_get_bool(const mm_json_document *document, const mm_json *object, const char *key,
                           bool fallback, bool *out, mm_error *error)
{
    const mm_json *value = mm_json_member(object, key);
    *out = fallback;
    if (!value)
        return MM_OK;
    if (!cJSON_IsBool(value))
        return fail_type(document, key, value, "true or false", error);
    *out = cJSON_IsTrue(value);
    return MM_OK;
}

mm_status mm_json_get_string(const mm_json_document *document, const mm_json *object,
                             const char *key, const char *fallback, const char **out,
                             mm_error *error)
{
    const mm_json *value = mm_json_member(object, key);
    *out = fallback;
    if (!value)
        return MM_OK;
    if (!cJSON_IsString(value))
        return fail_type(document, key, value, "a text", error);
    *out = value->valuestring;
    return MM_OK;
}

mm_status mm_json_get_ints(const mm_json_document *document, const mm_json *object, const char *key,
                           int64_t low, int64_t high, size_t capacity, int64_t *out, size_t *count,
                           mm_error *error)
{
    const mm_json *list = mm_json_member(object, key);
    if (!list)
        return MM_OK;
    if (!cJSON_IsArray(list))
        return fail_type(document, key, list, "a list of whole numbers", error);
    size_t n = mm_json_count(list);
    if (n < 1 || n > capacity)
        return mm_fail(error, MM_ERR_INPUT, "%s: \"%s\" has %zu numbers, must have 1..%zu",
                       document->path, key, n, capacity);
    *count = 0;
    for (const cJSON *item = list->child; item; item = item->next) {
        int64_t value;
        if (!mm_json_whole(item, &value) || value < low || value > high)
            return fail_whole(document, key, item, low, high, error);
        out[(*count)++] = value;
    }
    return MM_OK;
}

static void put_bytes(mm_json_writer *writer, const char *text, size_t bytes)
{
    size_t needed = writer->bytes + bytes + 1;
    if (writer->failed)
        return;
    if (needed > writer->capacity) {
        size_t capacity = needed < 256 ? 256 : needed * 2;
        char *grown = mm_realloc(writer->text, capacity);
        if (!grown) {
            writer->failed = true;
            return;
        }
        writer->text = grown;
        writer->capacity = capacity;
    }
    memcpy(writer->text + writer->bytes, text, bytes);
    writer->bytes += bytes;
    writer->text[writer->bytes] = '\0';
}

static void put_text(mm_json_writer *writer, const char *text)
{
    put_bytes(writer, text, strlen(text));
}

static void put_newline(mm_json_writer *writer)
{
    put_text(writer, "\n");
    for (int32_t i = 0; i < writer->depth; i++)
        put_text(writer, "  ");
}

/* One character, escaped where JSON needs it; returns how many bytes of `text` it took. */
static size_t put_character(mm_json_writer *writer, const char *text, size_t bytes)
{
    static const char hex[] = "0123456789abcdef";
    size_t length = utf8_sequence(text, bytes);
    unsigned char c = (unsigned char)*text;
    const char *letter = c < 0x20 ? strchr("\bb\ff\nn\rr\tt", c) : NULL;
    if (length == 0) {
        put_text(writer, "\\ufffd");
        return 1;
    }
    if (c == '"' || c == '\\')
        put_bytes(writer, (const char[]){'\\', (char)c}, 2);
    else if (letter)
        put_bytes(writer, (const char[]){'\\', letter[1]}, 2);
    else if (c < 0x20)
        put_bytes(writer, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    else
        put_bytes(writer, text, length);
    return length;
}

static void put_quoted(mm_json_writer *writer, const char *text)
{
    size_t bytes = strlen(text);
    put_text(writer, "\"");
    for (size_t at = 0; at < bytes;)
        at += put_character(writer, text + at, bytes - at);
    put_text(writer, "\"");
}

static void put_prefix(mm_json_writer *writer, const char *key)
{
    if (writer->need_comma)
        put_text(writer, ",");
    if (writer->pretty && writer->depth > 0)
        put_newline(writer);
    if (key) {
        put_quoted(writer, key);
        put_text(writer, writer->pretty ? ": " : ":");
    }
    writer->need_comma = true;
}

void mm_json_begin(mm_json_writer *writer, const char *key, char bracket)
{
    put_prefix(writer, key);
    put_bytes(writer, &bracket, 1);
    writer->depth++;
    writer->need_comma = false;
}

void mm_json_end(mm_json_writer *writer, char bracket)
{
    writer->depth--;
    if (writer->pretty && writer->need_comma)
        put_newline(writer);
    put_bytes(writer, &bracket, 1);
    writer->need_comma = true;
}

void mm_json_put_string(mm_json_writer *writer, const char *key, const char *value)
{
    put_prefix(writer, key);
    put_quoted(writer, value);
}

void mm_json_put_int(mm_json_writer *writer, const char *key, int64_t value)
{
    char text[MM_INT_TEXT];
    put_prefix(writer, key);
    put_text(writer, mm_int_text(value, text, sizeof(text)));
}

void mm_json_put_double(mm_json_writer *writer, const char *key, double value)
{
    char text[MM_DOUBLE_TEXT];
    put_prefix(writer, key);
    put_text(writer, isfinite(value) ? mm_double_text(value, text, sizeof(text)) : "null");
}

void mm_json_put_bool(mm_json_writer *writer, const char *key, bool value)
{
    put_prefix(writer, key);
    put_text(writer, value ? "true" : "false");
}

void mm_json_put_null(mm_json_writer *writer, const char *key)
{
    put_prefix(writer, key);
    put_text(writer, "null");
}

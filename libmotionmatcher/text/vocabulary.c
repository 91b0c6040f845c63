/* SPDX-License-Identifier: BSD-2-Clause */
#include "text/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* Far above any CLIP vocabulary, and small enough for a table indexed by id. */
enum { id_limit = 1 << 20 };
static const size_t merges_limit = 16u << 20;
static const char end_of_word[] = "</w>";

/* Byte-level BPE writes bytes as letters: printable Latin-1 as itself, the rest from U+0100 on. */
static bool is_own_letter(uint32_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static void fill_alphabet(uint32_t alphabet[256])
{
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; byte++)
        alphabet[byte] = is_own_letter(byte) ? byte : next++;
}

static int compare_entries(const void *a, const void *b)
{
    const mm_vocabulary_entry *left = a, *right = b;
    return strcmp(left->token, right->token);
}

static int compare_merges(const void *a, const void *b)
{
    const mm_merge *left = a, *right = b;
    if (left->pair != right->pair)
        return left->pair < right->pair ? -1 : 1;
    return left->rank < right->rank ? -1 : left->rank > right->rank;
}

int32_t mm_vocabulary_find(const mm_vocabulary *vocabulary, const char *token)
{
    mm_vocabulary_entry key = {token, 0};
    const mm_vocabulary_entry *found = NULL;
    if (vocabulary->entry_count)
        found = bsearch(&key, vocabulary->entries, vocabulary->entry_count, sizeof(key),
                        compare_entries);
    return found ? found->id : -1;
}

const mm_merge *mm_vocabulary_find_merge(const mm_vocabulary *vocabulary, int32_t left,
                                         int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t low = 0, high = vocabulary->merge_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (vocabulary->merges[middle].pair < pair)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < vocabulary->merge_count && vocabulary->merges[low].pair == pair;
    return found ? &vocabulary->merges[low] : NULL;
}

static mm_status check_unique_ids(const mm_vocabulary *vocabulary, const char *path,
                                  mm_error *error)
{
    unsigned char *taken = mm_calloc((size_t)vocabulary->size, 1);
    if (!taken)
        return mm_fail_memory(error, "the vocabulary's ids", (size_t)vocabulary->size);
    mm_status status = MM_OK;
    for (size_t i = 0; i < vocabulary->entry_count && status == MM_OK; i++) {
        int32_t id = vocabulary->entries[i].id;
        if (taken[id])
            status = mm_fail(error, MM_ERR_INPUT, "%s: two tokens have the id %d, one is \"%.64s\"",
                             path, id, vocabulary->entries[i].token);
        taken[id] = 1;
    }
    mm_free(taken);
    return status;
}

static mm_status read_entry(mm_vocabulary *vocabulary, const mm_json *item, const char *path,
                            mm_error *error)
{
    int64_t id;
    if (!mm_json_whole(item, &id) || id < 0 || id >= id_limit)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: the id of token \"%.64s\" is not a whole number in 0..%d", path,
                       mm_json_key(item), id_limit - 1);
    const char *token = mm_arena_strdup(&vocabulary->arena, mm_json_key(item));
    if (!token)
        return mm_fail_memory(error, "a token", strlen(mm_json_key(item)));
    vocabulary->entries[vocabulary->entry_count++] = (mm_vocabulary_entry){token, (int32_t)id};
    if (id >= vocabulary->size)
        vocabulary->size = (int32_t)id + 1;
    return MM_OK;
}

static mm_status read_tokens(mm_vocabulary *vocabulary, const mm_json *object, const char *path,
                             mm_error *error)
{
    size_t count = 0;
    for (const mm_json *item = mm_json_first(object); item; item = mm_json_next(item))
        count += mm_json_key(item) != NULL;
    if (count == 0)
        return mm_fail(error, MM_ERR_INPUT, "%s: no tokens: expected an object of token: id", path);
    vocabulary->entries = mm_arena_alloc(&vocabulary->arena, count * sizeof(mm_vocabulary_entry));
    if (!vocabulary->entries)
        return mm_fail_memory(error, "the vocabulary", count * sizeof(mm_vocabulary_entry));
    for (const mm_json *item = mm_json_first(object); item; item = mm_json_next(item))
        MM_TRY(read_entry(vocabulary, item, path, error));
    qsort(vocabulary->entries, count, sizeof(mm_vocabulary_entry), compare_entries);
    return check_unique_ids(vocabulary, path, error);
}

static mm_status append_merge(mm_vocabulary *vocabulary, mm_merge merge, mm_error *error)
{
    if (vocabulary->merge_count == vocabulary->merge_capacity) {
        size_t capacity = vocabulary->merge_capacity ? 2 * vocabulary->merge_capacity : 4096;
        mm_merge *grown = mm_realloc(vocabulary->merges, capacity * sizeof(mm_merge));
        if (!grown)
            return mm_fail_memory(error, "the merges", capacity * sizeof(mm_merge));
        vocabulary->merges = grown;
        vocabulary->merge_capacity = capacity;
    }
    vocabulary->merges[vocabulary->merge_count++] = merge;
    return MM_OK;
}

/* `where` names the place in the file, such as "line 7". */
static mm_status add_merge(mm_vocabulary *vocabulary, const char *left, const char *right,
                           const char *path, const char *where, mm_error *error)
{
    char *joined = mm_format("%s%s", left, right);
    if (!joined)
        return mm_fail_memory(error, "a merge", strlen(left) + strlen(right) + 1);
    int32_t ids[] = {mm_vocabulary_find(vocabulary, left), mm_vocabulary_find(vocabulary, right),
                     mm_vocabulary_find(vocabulary, joined)};
    const char *tokens[] = {left, right, joined};
    mm_status status = MM_OK;
    for (int i = 0; i < 3 && status == MM_OK; i++)
        if (ids[i] < 0)
            status =
                mm_fail(error, MM_ERR_INPUT, "%s, %s: token \"%.64s\" is not in the vocabulary",
                        path, where, tokens[i]);
    mm_free(joined);
    MM_TRY(status);
    mm_merge merge = {.pair = (uint64_t)(uint32_t)ids[0] << 32 | (uint32_t)ids[1],
                      .rank = (int32_t)vocabulary->merge_count,
                      .result = ids[2]};
    return append_merge(vocabulary, merge, error);
}

/* Takes "left right" apart in place. */
static mm_status add_merge_text(mm_vocabulary *vocabulary, char *text, const char *path,
                                const char *where, mm_error *error)
{
    char *blank = strchr(text, ' ');
    if (!blank || blank == text || blank[1] == '\0' || strchr(blank + 1, ' '))
        return mm_fail(error, MM_ERR_INPUT,
                       "%s, %s: expected two tokens with one blank between, found \"%.64s\"", path,
                       where, text);
    *blank = '\0';
    return add_merge(vocabulary, text, blank + 1, path, where, error);
}

static mm_status read_merge_line(mm_vocabulary *vocabulary, char *line, size_t number,
                                 const char *path, mm_error *error)
{
    char where[32];
    snprintf(where, sizeof(where), "line %zu", number);
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == ' '))
        line[--length] = '\0';
    if (strncmp(line, "#version", 8) == 0)
        return MM_OK;
    return add_merge_text(vocabulary, line, path, where, error);
}

static mm_status parse_merges(mm_vocabulary *vocabulary, char *text, size_t bytes, const char *path,
                              mm_error *error)
{
    if (!mm_utf8_valid(text, bytes))
        return mm_fail(error, MM_ERR_INPUT, "%s: not UTF-8 text", path);
    while (bytes > 0 && strchr("\r\n ", text[bytes - 1]))
        text[--bytes] = '\0';
    size_t number = 1;
    for (char *line = text, *next; line && *text; line = next, number++) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        MM_TRY(read_merge_line(vocabulary, line, number, path, error));
    }
    return MM_OK;
}

static mm_status read_merges(mm_vocabulary *vocabulary, const char *path, mm_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    MM_TRY(mm_file_read_all(path, merges_limit, &text, &bytes, error));
    mm_status status = parse_merges(vocabulary, text, bytes, path, error);
    mm_free(text);
    return status;
}

/* A merge in tokenizer.json is "left right" or ["left", "right"]. */
static mm_status read_json_merge(mm_vocabulary *vocabulary, const mm_json *item, size_t number,
                                 const char *path, mm_error *error)
{
    char where[32];
    snprintf(where, sizeof(where), "merge %zu", number);
    const mm_json *first = mm_json_first(item), *second = first ? mm_json_next(first) : NULL;
    if (second && !mm_json_next(second) && mm_json_text(first) && mm_json_text(second))
        return add_merge(vocabulary, mm_json_text(first), mm_json_text(second), path, where, error);
    if (!mm_json_text(item))
        return mm_fail(error, MM_ERR_INPUT, "%s, %s: expected two tokens", path, where);
    char *text = mm_strdup(mm_json_text(item));
    if (!text)
        return mm_fail_memory(error, "a merge", strlen(mm_json_text(item)) + 1);
    mm_status status = add_merge_text(vocabulary, text, path, where, error);
    mm_free(text);
    return status;
}

static mm_status read_json_model(mm_vocabulary *vocabulary, const mm_json_document *document,
                                 mm_error *error)
{
    const mm_json *model = mm_json_member(document->root, "model");
    MM_TRY(read_tokens(vocabulary, mm_json_member(model, "vocab"), document->path, error));
    const mm_json *merges = mm_json_member(model, "merges");
    size_t number = 1;
    for (const mm_json *item = mm_json_first(merges); item; item = mm_json_next(item), number++)
        MM_TRY(read_json_merge(vocabulary, item, number, document->path, error));
    return MM_OK;
}

static mm_status read_document(mm_vocabulary *vocabulary, const char *path, bool whole_model,
                               mm_error *error)
{
    mm_json_document document = {0};
    MM_TRY(mm_json_load(&document, path, error));
    mm_status status = whole_model ? read_json_model(vocabulary, &document, error)
                                   : read_tokens(vocabulary, document.root, path, error);
    mm_json_free(&document);
    return status;
}

static mm_status read_files(mm_vocabulary *vocabulary, const char *directory, mm_error *error)
{
    char *tokens = mm_path_join(directory, "vocab.json");
    char *merges = mm_path_join(directory, "merges.txt");
    char *both = mm_path_join(directory, "tokenizer.json");
    mm_status status;
    if (!tokens || !merges || !both)
        status = mm_fail_memory(error, "a path", strlen(directory) + 16);
    else if ((vocabulary->from_whole_file = !mm_path_is_file(tokens) && mm_path_is_file(both)))
        status = read_document(vocabulary, both, true, error);
    else if ((status = read_document(vocabulary, tokens, false, error)) == MM_OK)
        status = read_merges(vocabulary, merges, error);
    mm_free(tokens);
    mm_free(merges);
    mm_free(both);
    return status;
}

static void drop_repeated_merges(mm_vocabulary *vocabulary)
{
    size_t kept = 0;
    for (size_t i = 0; i < vocabulary->merge_count; i++) {
        bool repeated = kept > 0 && vocabulary->merges[kept - 1].pair == vocabulary->merges[i].pair;
        vocabulary->merges[repeated ? kept - 1 : kept++] = vocabulary->merges[i];
    }
    vocabulary->merge_count = kept;
}

static void find_bytes(mm_vocabulary *vocabulary)
{
    uint32_t alphabet[256];
    fill_alphabet(alphabet);
    for (int byte = 0; byte < 256; byte++) {
        char token[16] = "";
        int length = u8_uctomb((uint8_t *)token, alphabet[byte], sizeof(token));
        vocabulary->letters[byte] = mm_vocabulary_find(vocabulary, token);
        memcpy(token + length, end_of_word, sizeof(end_of_word));
        vocabulary->endings[byte] = mm_vocabulary_find(vocabulary, token);
    }
}

mm_status mm_vocabulary_load(mm_vocabulary *vocabulary, const char *directory, mm_error *error)
{
    *vocabulary = (mm_vocabulary){0};
    MM_TRY(read_files(vocabulary, directory, error));
    if (vocabulary->merge_count)
        qsort(vocabulary->merges, vocabulary->merge_count, sizeof(mm_merge), compare_merges);
    drop_repeated_merges(vocabulary);
    find_bytes(vocabulary);
    return MM_OK;
}

void mm_vocabulary_free(mm_vocabulary *vocabulary)
{
    mm_arena_free(&vocabulary->arena);
    mm_free(vocabulary->merges);
    *vocabulary = (mm_vocabulary){0};
}

static int byte_of_letter(uint32_t letter)
{
    uint32_t alphabet[256];
    if (letter < 256)
        return is_own_letter(letter) ? (int)letter : -1;
    fill_alphabet(alphabet);
    for (int byte = 0; byte < 256; byte++)
        if (alphabet[byte] == letter)
            return byte;
    return -1;
}

/* Length of the UTF-8 sequence at `bytes`, 0 when it is none. */
static size_t sequence_length(const unsigned char *bytes, size_t left)
{
    ucs4_t point;
    int length = u8_mbtoucr(&point, bytes, left);
    return length > 0 ? (size_t)length : 0;
}

static const char *escape_broken_text(mm_arena *arena, const unsigned char *bytes, size_t count)
{
    char *text = mm_arena_alloc(arena, 4 * count + 1), *out = text;
    for (size_t i = 0; text && i < count;) {
        size_t length = sequence_length(bytes + i, count - i);
        if (length == 0) {
            out += sprintf(out, "\\x%02X", bytes[i++]);
            continue;
        }
        memcpy(out, bytes + i, length);
        out += length;
        i += length;
    }
    return text;
}

const char *mm_vocabulary_display(mm_arena *arena, const char *token)
{
    size_t length = strlen(token), mark = sizeof(end_of_word) - 1, count = 0;
    if (length > mark && strcmp(token + length - mark, end_of_word) == 0)
        length -= mark;
    unsigned char *bytes = mm_arena_alloc(arena, length + 1);
    if (!bytes)
        return NULL;
    for (size_t i = 0; i < length;) {
        ucs4_t letter;
        i += (size_t)u8_mbtouc(&letter, (const uint8_t *)token + i, length - i);
        int byte = byte_of_letter(letter);
        if (byte < 0)
            return token;
        bytes[count++] = (unsigned char)byte;
    }
    return escape_broken_text(arena, bytes, count);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "text/wordpiece.h"

#include <stdlib.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "text/unicode.h"

/* Far above any vocabulary of BERT. */
enum { token_limit = 1 << 20 };
static const size_t file_limit = 16u << 20;
/* Longer words are not looked up. */
enum { longest_word = 100 };

typedef struct entry {
    const char *token;
    int32_t id;
} entry;

/* Tokens that are found in a text before anything else happens to it. */
enum { special_pad, special_unknown, special_start, special_end, special_mask, special_limit = 8 };
static const char *const own_special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

struct mm_wordpiece {
    mm_arena arena;
    entry *entries; /* sorted by token */
    size_t count;
    int32_t size; /* ids are below this */
    entry special[special_limit];
    size_t special_count;
};

/* A text on its way to ids. */
typedef struct encoding {
    const mm_wordpiece *tokenizer;
    int64_t *ids;
    size_t count, limit;
    bool full; /* a piece found no room */
    mm_error *error;
} encoding;

static int compare_entries(const void *a, const void *b)
{
    const entry *left = a, *right = b;
    int order = strcmp(left->token, right->token);
    return order ? order : (left->id > right->id) - (left->id < right->id);
}

static int compare_tokens(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->token, ((const entry *)b)->token);
}

/* -1: none. */
static int32_t find(const mm_wordpiece *t, const char *token)
{
    entry key = {token, 0};
    const entry *found = bsearch(&key, t->entries, t->count, sizeof(key), compare_tokens);
    return found ? found->id : -1;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n' || at[1] == '\0';
    return lines;
}

static void split_lines(mm_wordpiece *t, char *text)
{
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r')
            line[length - 1] = '\0';
        t->entries[t->count] = (entry){line, (int32_t)t->count};
        t->count++;
    }
}

/* Of equal tokens the last one counts, as in the reference tokenizer's dictionary. */
static void drop_repeated(mm_wordpiece *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        bool repeated = kept && strcmp(t->entries[kept - 1].token, t->entries[i].token) == 0;
        t->entries[repeated ? kept - 1 : kept++] = t->entries[i];
    }
    t->count = kept;
}

static mm_status parse(mm_wordpiece *t, const char *path, const char *content, size_t bytes,
                       mm_error *error)
{
    if (!mm_utf8_valid(content, bytes))
        return mm_fail(error, MM_ERR_INPUT, "%s: not UTF-8 text", path);
    size_t lines = count_lines(content);
    if (lines == 0 || lines > token_limit)
        return mm_fail(error, MM_ERR_INPUT, "%s: %zu lines; a vocabulary has one token a line",
                       path, lines);
    char *text = mm_arena_strndup(&t->arena, content, bytes);
    t->entries = mm_arena_alloc(&t->arena, lines * sizeof(entry));
    if (!text || !t->entries)
        return mm_fail_memory(error, "the vocabulary", bytes);
    split_lines(t, text);
    t->size = (int32_t)t->count;
    qsort(t->entries, t->count, sizeof(entry), compare_entries);
    drop_repeated(t);
    return MM_OK;
}

static mm_status find_special(mm_wordpiece *t, const char *path, mm_error *error)
{
    for (size_t i = 0; i < sizeof(own_special) / sizeof(*own_special); i++) {
        int32_t id = find(t, own_special[i]);
        if (id < 0 && i != special_mask)
            return mm_fail(error, MM_ERR_INPUT,
                           "%s: the token %s is missing; the vocabulary of an uncased BERT is "
                           "expected",
                           path, own_special[i]);
        t->special[t->special_count++] = (entry){own_special[i], id};
    }
    return MM_OK;
}

static mm_status add_special(mm_wordpiece *t, const char *const *added, mm_error *error)
{
    for (; added && *added; added++) {
        const char *token = mm_arena_strdup(&t->arena, *added);
        int32_t id = find(t, *added);
        if (!token)
            return mm_fail_memory(error, "a token", strlen(*added));
        if (t->special_count == special_limit)
            return mm_fail(error, MM_ERR_USAGE, "too many special tokens");
        t->special[t->special_count++] = (entry){token, id >= 0 ? id : t->size++};
    }
    return MM_OK;
}

mm_status mm_wordpiece_open(mm_wordpiece **out, const char *path, const char *const *added,
                            mm_error *error)
{
    char *content = NULL;
    size_t bytes = 0;
    *out = NULL;
    mm_wordpiece *t = mm_calloc(1, sizeof(*t));
    if (!t)
        return mm_fail_memory(error, "a tokenizer", sizeof(*t));
    mm_status status = mm_file_read_all(path, file_limit, &content, &bytes, error);
    if (status == MM_OK)
        status = parse(t, path, content, bytes, error);
    mm_free(content);
    if (status == MM_OK)
        status = find_special(t, path, error);
    if (status == MM_OK)
        status = add_special(t, added, error);
    if (status == MM_OK)
        *out = t;
    else
        mm_wordpiece_close(&t);
    return status;
}

void mm_wordpiece_close(mm_wordpiece **tokenizer)
{
    if (!*tokenizer)
        return;
    mm_arena_free(&(*tokenizer)->arena);
    mm_free(*tokenizer);
    *tokenizer = NULL;
}

int64_t mm_wordpiece_vocabulary(const mm_wordpiece *t)
{
    return t->size;
}

static bool put(encoding *e, int32_t id)
{
    e->full = e->full || e->count == e->limit;
    if (!e->full)
        e->ids[e->count++] = id;
    return !e->full;
}

/* The id of points `first` to `end` - 1 of a word; -1: no such token. */
static int32_t piece(const mm_wordpiece *t, const uint32_t *points, size_t first, size_t end)
{
    char token[4 * longest_word + 3] = "##";
    size_t bytes = first ? 2 : 0;
    for (size_t i = first; i < end; i++)
        bytes += (size_t)u8_uctomb((uint8_t *)token + bytes, points[i], 4);
    token[bytes] = '\0';
    return find(t, token);
}

/* Greedy: each piece is the longest that the vocabulary has. A word with a part that has none is
   unknown as a whole. */
static void encode_word(encoding *e, const uint32_t *points, size_t count)
{
    const mm_wordpiece *t = e->tokenizer;
    int32_t ids[longest_word], unknown = t->special[special_unknown].id;
    size_t found = 0;
    for (size_t first = 0, end; count <= longest_word && first < count; first = end) {
        int32_t id = -1;
        for (end = count; end > first && (id = piece(t, points, first, end)) < 0;)
            end--;
        if (id < 0) {
            count = longest_word + 1;
            break;
        }
        ids[found++] = id;
    }
    if (count > longest_word)
        put(e, unknown);
    for (size_t i = 0; count <= longest_word && i < found && put(e, ids[i]);)
        i++;
}

/* The reference tokenizer's tables are of Unicode 8: marks, punctuation and format characters that
   came later are letters to it. The ranges also cover characters of no such class. */
static const struct {
    uint32_t first, last;
} younger[] = {
    {0x5C8, 0x5C9},     {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x8E2},
    {0x9FD, 0x9FE},     {0xA76, 0xA76},     {0xAFA, 0xAFF},     {0xB53, 0xB55},
    {0xC04, 0xC3C},     {0xC77, 0xC77},     {0xC84, 0xC84},     {0xD00, 0xD00},
    {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},
    {0x180F, 0x1886},   {0x1ABF, 0x1AF0},   {0x1B4E, 0x1B4F},   {0x1B7D, 0x1B7F},
    {0x1DF6, 0x1DFB},   {0x2E43, 0x2E63},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},
    {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F89}, {0x11070, 0x11074},
    {0x110C2, 0x110CD}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
    {0x1133B, 0x1133B}, {0x113BB, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
    {0x1182F, 0x11FFF}, {0x12FF1, 0x1612F}, {0x16D6D, 0x16F4F}, {0x16FE2, 0x16FE4},
    {0x1CF00, 0x1D128}, {0x1D25B, 0x1D25C}, {0x1E000, 0x1E6F5}, {0x1E944, 0x1E95F},
};

static bool has_category(uint32_t point, uint32_t categories)
{
    if (!uc_is_general_category_withtable(point, categories))
        return false;
    for (size_t i = 0; i < sizeof(younger) / sizeof(*younger); i++) {
        if (point >= younger[i].first && point <= younger[i].last)
            return false;
    }
    return true;
}

static bool is_punctuation(uint32_t p)
{
    return (p >= 33 && p <= 47) || (p >= 58 && p <= 64) || (p >= 91 && p <= 96) ||
           (p >= 123 && p <= 126) || p == 0x166D || p == 0x111C9 || /* another class since */
           has_category(p, UC_CATEGORY_MASK_P);
}

static bool is_ideograph(uint32_t p)
{
    return (p >= 0x4E00 && p <= 0x9FFF) || (p >= 0x3400 && p <= 0x4DBF) ||
           (p >= 0x20000 && p <= 0x2A6DF) || (p >= 0x2A700 && p <= 0x2B73F) ||
           (p >= 0x2B740 && p <= 0x2B81F) || (p >= 0x2B920 && p <= 0x2CEAF) ||
           (p >= 0xF900 && p <= 0xFAFF) || (p >= 0x2F800 && p <= 0x2FA1F);
}

static bool is_dropped(uint32_t p)
{
    bool is_blank = p == '\t' || p == '\n' || p == '\r';
    uint32_t categories = UC_CATEGORY_MASK_Cc | UC_CATEGORY_MASK_Cf | UC_CATEGORY_MASK_Co;
    return p == 0 || p == 0xFFFD || (!is_blank && has_category(p, categories));
}

static void drop_marks(mm_code_points *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->count; i++) {
        uint32_t point = text->points[i];
        if (!has_category(point, UC_CATEGORY_MASK_Mn) && point != 0x1734)
            text->points[kept++] = point;
    }
    text->count = kept;
}

/* Control characters dropped, one blank for each space, ideographs between blanks. */
static mm_status clean(mm_code_points *out, const uint32_t *points, size_t count, mm_error *error)
{
    out->count = 0;
    out->points = mm_malloc((3 * count + 1) * sizeof(uint32_t));
    if (!out->points)
        return mm_fail_memory(error, "the text's characters", (unsigned long long)count * 12);
    for (size_t i = 0; i < count; i++) {
        if (is_dropped(points[i]))
            continue;
        bool alone = is_ideograph(points[i]);
        if (alone)
            out->points[out->count++] = ' ';
        out->points[out->count++] = uc_is_property_white_space(points[i]) ? ' ' : points[i];
        if (alone)
            out->points[out->count++] = ' ';
    }
    return MM_OK;
}

static void encode_words(encoding *e, const mm_code_points *text)
{
    size_t first = 0;
    for (size_t i = 0; i <= text->count && !e->full; i++) {
        bool ends = i == text->count || text->points[i] == ' ';
        bool mark = !ends && is_punctuation(text->points[i]);
        if (!ends && !mark)
            continue;
        if (i > first)
            encode_word(e, text->points + first, i - first);
        if (mark)
            encode_word(e, text->points + i, 1);
        first = i + 1;
    }
}

/* Text without special tokens. */
static mm_status encode_plain(encoding *e, const uint32_t *points, size_t count)
{
    mm_code_points cleaned = {0}, folded = {0};
    if (count == 0 || e->full)
        return MM_OK;
    mm_status status = clean(&cleaned, points, count, e->error);
    if (status == MM_OK)
        status = mm_code_points_lower_decomposed(&folded, cleaned.points, cleaned.count, e->error);
    if (status == MM_OK) {
        drop_marks(&folded);
        encode_words(e, &folded);
    }
    mm_free(cleaned.points);
    mm_free(folded.points);
    return status;
}

/* The special token that begins at this place; NULL: none. */
static const entry *match_special(const mm_wordpiece *t, const uint32_t *points, size_t count)
{
    for (size_t i = 0; points[0] == '[' && i < t->special_count; i++) {
        const char *token = t->special[i].token;
        size_t length = 0;
        while (token[length] && length < count && points[length] == (unsigned char)token[length])
            length++;
        if (!token[length] && t->special[i].id >= 0)
            return &t->special[i];
    }
    return NULL;
}

static mm_status encode_points(encoding *e, const mm_code_points *text)
{
    size_t begin = 0;
    for (size_t i = 0; i < text->count && !e->full;) {
        const entry *special = match_special(e->tokenizer, text->points + i, text->count - i);
        if (!special) {
            i++;
            continue;
        }
        MM_TRY(encode_plain(e, text->points + begin, i - begin));
        put(e, special->id);
        i += strlen(special->token);
        begin = i;
    }
    return encode_plain(e, text->points + begin, text->count - begin);
}

mm_status mm_wordpiece_encode(const mm_wordpiece *t, const char *text, size_t length, int64_t *ids,
                              size_t *count, bool *truncated, mm_error *error)
{
    encoding e = {.tokenizer = t, .ids = ids + 1, .limit = length - 2, .error = error};
    mm_code_points points = {0};
    size_t bytes = strlen(text);
    if (!mm_utf8_valid(text, bytes))
        return mm_fail(error, MM_ERR_USAGE, "the prompt is not UTF-8 text");
    MM_TRY(mm_code_points_from_utf8(&points, text, bytes, error));
    mm_status status = encode_points(&e, &points);
    mm_free(points.points);
    MM_TRY(status);
    ids[0] = t->special[special_start].id;
    ids[e.count + 1] = t->special[special_end].id;
    *count = e.count + 2;
    if (truncated)
        *truncated = e.full;
    return MM_OK;
}

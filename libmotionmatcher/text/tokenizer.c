/* SPDX-License-Identifier: BSD-2-Clause */
#include "text/tokenizer.h"

#include <string.h>
#include <unistr.h>

#include "base/json.h"
#include "base/memory.h"
#include "text/bpe.h"
#include "text/special_tokens.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

struct mm_tokenizer {
    mm_vocabulary vocabulary;
    mm_special_tokens special;
    const char **display; /* [special.size] */
};

/* One text on its way to ids. */
typedef struct encoding {
    const mm_tokenizer *tokenizer;
    mm_bpe_word word;
    unsigned char *bytes; /* of the word */
    size_t byte_capacity;
    int64_t *ids;
    size_t count, capacity; /* counts on beyond the capacity */
    mm_error *error;
} encoding;

static mm_status fill_display(mm_tokenizer *tokenizer, mm_error *error)
{
    mm_vocabulary *vocabulary = &tokenizer->vocabulary;
    size_t bytes = (size_t)tokenizer->special.size * sizeof(char *);
    tokenizer->display = mm_arena_alloc(&vocabulary->arena, bytes);
    if (!tokenizer->display)
        return mm_fail_memory(error, "the tokens' texts", bytes);
    for (size_t i = 0; i < vocabulary->entry_count; i++) {
        const char *text = mm_vocabulary_display(&vocabulary->arena, vocabulary->entries[i].token);
        if (!text)
            return mm_fail_memory(error, "the tokens' texts", bytes);
        tokenizer->display[vocabulary->entries[i].id] = text;
    }
    for (size_t i = 0; i < tokenizer->special.count; i++)
        tokenizer->display[tokenizer->special.items[i].id] = tokenizer->special.items[i].content;
    return MM_OK;
}

mm_status mm_tokenizer_open(mm_tokenizer **out, const char *directory, mm_error *error)
{
    *out = NULL;
    mm_tokenizer *tokenizer = mm_calloc(1, sizeof(*tokenizer));
    if (!tokenizer)
        return mm_fail_memory(error, "the tokenizer", sizeof(*tokenizer));
    mm_status status = mm_vocabulary_load(&tokenizer->vocabulary, directory, error);
    if (status == MM_OK)
        status =
            mm_special_tokens_load(&tokenizer->special, &tokenizer->vocabulary, directory, error);
    if (status == MM_OK)
        status = fill_display(tokenizer, error);
    if (status == MM_OK)
        *out = tokenizer;
    else
        mm_tokenizer_close(&tokenizer);
    return status;
}

void mm_tokenizer_close(mm_tokenizer **tokenizer)
{
    if (!*tokenizer)
        return;
    mm_special_tokens_free(&(*tokenizer)->special);
    mm_vocabulary_free(&(*tokenizer)->vocabulary);
    mm_free(*tokenizer);
    *tokenizer = NULL;
}

int64_t mm_tokenizer_vocabulary(const mm_tokenizer *tokenizer)
{
    return tokenizer->special.size;
}

size_t mm_tokenizer_unpadded(const mm_tokenizer *tokenizer, const int64_t *ids, size_t length)
{
    size_t count = length;
    while (count > 1 && ids[count - 1] == tokenizer->special.pad)
        count--;
    /* CLIP pads with the end token itself. */
    return tokenizer->special.pad == tokenizer->special.end && count < length ? count + 1 : count;
}

const char *mm_tokenizer_token(const mm_tokenizer *tokenizer, int64_t id)
{
    return id < 0 || id >= tokenizer->special.size ? NULL : tokenizer->display[id];
}

static void put_id(encoding *state, int32_t id)
{
    if (state->count < state->capacity)
        state->ids[state->count] = id;
    state->count++;
}

static mm_status reserve_bytes(encoding *state, size_t count)
{
    if (count <= state->byte_capacity)
        return MM_OK;
    unsigned char *grown = mm_realloc(state->bytes, count);
    if (!grown)
        return mm_fail_memory(state->error, "a word", count);
    state->bytes = grown;
    state->byte_capacity = count;
    return MM_OK;
}

static mm_status encode_word(encoding *state, const uint32_t *points, size_t count)
{
    const mm_tokenizer *tokenizer = state->tokenizer;
    size_t bytes = 0;
    MM_TRY(reserve_bytes(state, 4 * count));
    for (size_t i = 0; i < count; i++)
        bytes += (size_t)u8_uctomb(state->bytes + bytes, points[i], 4);
    MM_TRY(mm_bpe_encode(&state->word, &tokenizer->vocabulary, tokenizer->special.unknown,
                         state->bytes, bytes, state->error));
    for (size_t i = 0; i < state->word.count; i++)
        if (!state->word.symbols[i].merged)
            put_id(state, state->word.symbols[i].id);
    return MM_OK;
}

static size_t match_text(const uint32_t *points, size_t count, const char *text)
{
    size_t length = 0;
    while (text[length] && length < count && points[length] == (unsigned char)text[length])
        length++;
    return text[length] ? 0 : length;
}

/* CLIP's pattern has the two markers as words, but the byte-level step behind it splits words once
   more, at the same borders as all other text. So all that a marker still does is to end there. */
static size_t marker_length(const uint32_t *points, size_t count)
{
    size_t length = match_text(points, count, "<|startoftext|>");
    return length ? length : match_text(points, count, "<|endoftext|>");
}

static size_t contraction_length(const uint32_t *points, size_t count)
{
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    size_t length = 0;
    for (size_t i = 0; length == 0 && i < sizeof(endings) / sizeof(*endings); i++)
        length = match_text(points, count, endings[i]);
    return length;
}

static size_t run_length(const uint32_t *points, size_t count)
{
    mm_letter_class class = mm_letter_classify(points[0]);
    size_t length = 1;
    if (class == MM_LETTER_SPACE || class == MM_LETTER_NUMBER)
        return length;
    while (length < count && mm_letter_classify(points[length]) == class)
        length++;
    return length;
}

/* Text without special tokens. */
static mm_status encode_plain(encoding *state, const uint32_t *points, size_t count)
{
    size_t marker_end = 0;
    for (size_t i = 0, length; i < count; i += length) {
        if (i >= marker_end)
            marker_end = i + marker_length(points + i, count - i);
        size_t left = (i < marker_end ? marker_end : count) - i;
        length = contraction_length(points + i, left);
        if (!length)
            length = run_length(points + i, left);
        if (mm_letter_classify(points[i]) != MM_LETTER_SPACE)
            MM_TRY(encode_word(state, points + i, length));
    }
    return MM_OK;
}

static bool stands_alone(const mm_code_points *text, size_t position, size_t length)
{
    bool before = position > 0 && mm_letter_in_word(text->points[position - 1]);
    size_t end = position + length;
    return !before && (end == text->count || !mm_letter_in_word(text->points[end]));
}

static mm_status encode_normalized(encoding *state, const mm_code_points *text);

static mm_status encode_between(encoding *state, bool normalized, const uint32_t *points,
                                size_t count)
{
    if (count == 0)
        return MM_OK;
    if (normalized)
        return encode_plain(state, points, count);
    mm_code_points text = {0};
    mm_status status = mm_code_points_normalize(&text, points, count, state->error);
    if (status == MM_OK)
        status = encode_normalized(state, &text);
    mm_free(text.points);
    return status;
}

static mm_status cut_special_tokens(encoding *state, bool normalized, const mm_code_points *text)
{
    const mm_special_tokens *special = &state->tokenizer->special;
    size_t begin = 0;
    for (size_t i = 0; i < text->count;) {
        const mm_special_token *token = mm_special_tokens_match(special, normalized, text, i);
        size_t length = token ? token->pattern.count : 1;
        if (token && (!token->single_word || stands_alone(text, i, length))) {
            MM_TRY(encode_between(state, normalized, text->points + begin, i - begin));
            put_id(state, token->id);
            begin = i + length;
        }
        i += length;
    }
    return encode_between(state, normalized, text->points + begin, text->count - begin);
}

static mm_status encode_normalized(encoding *state, const mm_code_points *text)
{
    return cut_special_tokens(state, true, text);
}

static mm_status encode_text(encoding *state, const char *text)
{
    size_t bytes = strlen(text);
    if (!mm_utf8_valid(text, bytes))
        return mm_fail(state->error, MM_ERR_USAGE, "the prompt is not UTF-8 text");
    mm_code_points points = {0};
    MM_TRY(mm_code_points_from_utf8(&points, text, bytes, state->error));
    mm_status status = cut_special_tokens(state, false, &points);
    mm_free(points.points);
    return status;
}

mm_status mm_tokenizer_encode(const mm_tokenizer *tokenizer, const char *text, size_t length,
                              int64_t *ids, size_t *truncated, mm_error *error)
{
    if (length < 2)
        return mm_fail(error, MM_ERR_USAGE, "%zu tokens have no room for the start and end tokens",
                       length);
    encoding state = {
        .tokenizer = tokenizer, .ids = ids + 1, .capacity = length - 2, .error = error};
    mm_status status = encode_text(&state, text);
    mm_free(state.bytes);
    mm_bpe_free(&state.word);
    MM_TRY(status);
    size_t kept = state.count < length - 2 ? state.count : length - 2;
    ids[0] = tokenizer->special.start;
    ids[kept + 1] = tokenizer->special.end;
    for (size_t i = kept + 2; i < length; i++)
        ids[i] = tokenizer->special.pad;
    if (truncated)
        *truncated = state.count - kept;
    return MM_OK;
}

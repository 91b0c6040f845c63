/* SPDX-License-Identifier: BSD-2-Clause */
#include "text/special_tokens.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* More would make the search slow; textual inversion adds tens. */
enum { token_limit = 4096, content_limit = 1024 };

enum {
    role_start,
    role_end,
    role_unknown,
    role_separator,
    role_pad,
    role_class,
    role_mask,
    role_count
};

/* In the order in which they are added, with CLIP's own for files that name none. */
static const struct {
    const char *key, *fallback;
} roles[role_count] = {
    [role_start] = {"bos_token", "<|startoftext|>"},
    [role_end] = {"eos_token", "<|endoftext|>"},
    [role_unknown] = {"unk_token", "<|endoftext|>"},
    [role_separator] = {"sep_token", NULL},
    [role_pad] = {"pad_token", "<|endoftext|>"},
    [role_class] = {"cls_token", NULL},
    [role_mask] = {"mask_token", NULL},
};

/* The files while they are read; documents that do not exist stay zero. */
typedef struct special_files {
    mm_json_document config, map, whole;
} special_files;

static mm_status load_optional(mm_json_document *document, const char *directory, const char *name,
                               mm_error *error)
{
    char *path = mm_path_join(directory, name);
    if (!path)
        return mm_fail_memory(error, "a path", strlen(directory) + strlen(name) + 2);
    mm_status status = mm_path_is_file(path) ? mm_json_load(document, path, error) : MM_OK;
    mm_free(path);
    return status;
}

static mm_special_token *find(const mm_special_tokens *tokens, const char *content)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (strcmp(tokens->items[i].content, content) == 0)
            return &tokens->items[i];
    return NULL;
}

/* A token the vocabulary lacks gets the next free id. */
static int32_t choose_id(mm_special_tokens *tokens, const mm_vocabulary *vocabulary,
                         const char *content)
{
    int32_t id = mm_vocabulary_find(vocabulary, content);
    return id >= 0 ? id : tokens->size++;
}

static mm_status append(mm_special_tokens *tokens, mm_vocabulary *vocabulary, const char *content,
                        mm_special_token **out, mm_error *error)
{
    if (tokens->count == token_limit || strlen(content) > content_limit)
        return mm_fail(
            error, MM_ERR_INPUT,
            "the tokenizer's files name more than %d special tokens, or one of more than %d bytes",
            token_limit, content_limit);
    if (!tokens->items)
        tokens->items = mm_calloc(token_limit, sizeof(mm_special_token));
    const char *kept = mm_arena_strdup(&vocabulary->arena, content);
    if (!tokens->items || !kept)
        return mm_fail_memory(error, "special tokens", token_limit * sizeof(mm_special_token));
    *out = &tokens->items[tokens->count++];
    (*out)->content = kept;
    (*out)->id = choose_id(tokens, vocabulary, content);
    return MM_OK;
}

/* One way of writing a token down: a text, or an object with flags. */
typedef struct description {
    const char *content;
    bool is_text, normalized, single_word;
} description;

static mm_status read_description(description *out, const mm_json_document *document,
                                  const mm_json *item, bool special, mm_error *error)
{
    *out = (description){.content = mm_json_text(item), .is_text = true};
    if (out->content)
        return MM_OK;
    out->is_text = false;
    MM_TRY(mm_json_get_string(document, item, "content", NULL, &out->content, error));
    if (!out->content)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: a special token is neither a text nor an object with \"content\"",
                       document->path);
    MM_TRY(mm_json_get_bool(document, item, "special", special, &special, error));
    MM_TRY(mm_json_get_bool(document, item, "normalized", !special, &out->normalized, error));
    return mm_json_get_bool(document, item, "single_word", false, &out->single_word, error);
}

/* A token may play several roles and be described differently in each. As in the reference
   tokenizer the last description counts, but not one that repeats an earlier one. */
static mm_status add(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                     const description *described, bool settled, mm_error *error)
{
    if (*described->content == '\0')
        return MM_OK;
    mm_special_token *token = find(tokens, described->content);
    if (!token)
        MM_TRY(append(tokens, vocabulary, described->content, &token, error));
    uint32_t bit =
        1u << (described->is_text + 2 * described->normalized + 4 * described->single_word);
    if (token->settled || (token->descriptions & bit))
        return MM_OK;
    token->descriptions |= bit;
    token->settled = settled;
    token->normalized = described->normalized;
    token->single_word = described->single_word;
    return MM_OK;
}

static mm_status add_all(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                         const mm_json_document *document, const mm_json *list, bool special,
                         mm_error *error)
{
    for (const mm_json *item = mm_json_first(list); item; item = mm_json_next(item)) {
        description described;
        MM_TRY(read_description(&described, document, item, special, error));
        MM_TRY(add(tokens, vocabulary, &described, !special, error));
    }
    return MM_OK;
}

/* The map is older than added_tokens_decoder and is only asked where that is missing. */
static const mm_json *find_role(const special_files *files, const char *key,
                                const mm_json_document **document)
{
    bool use_map = !mm_json_member(files->config.root, "added_tokens_decoder");
    const mm_json *item = use_map ? mm_json_member(files->map.root, key) : NULL;
    *document = item ? &files->map : &files->config;
    return item ? item : mm_json_member(files->config.root, key);
}

static mm_status add_role(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                          const special_files *files, int role, int32_t *id, mm_error *error)
{
    const mm_json_document *document;
    const mm_json *item = find_role(files, roles[role].key, &document);
    description described = {.content = roles[role].fallback, .is_text = true};
    *id = -1;
    if (item)
        MM_TRY(read_description(&described, document, item, true, error));
    if (!described.content)
        return MM_OK;
    if (*described.content == '\0')
        return mm_fail(error, MM_ERR_INPUT, "%s: %s is empty", document->path, roles[role].key);
    MM_TRY(add(tokens, vocabulary, &described, false, error));
    *id = find(tokens, described.content)->id;
    return MM_OK;
}

static mm_status add_roles(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                           const special_files *files, mm_error *error)
{
    int32_t ids[role_count];
    for (int role = 0; role < role_count; role++)
        MM_TRY(add_role(tokens, vocabulary, files, role, &ids[role], error));
    tokens->start = ids[role_start];
    tokens->end = ids[role_end];
    tokens->pad = ids[role_pad];
    tokens->unknown = ids[role_unknown];
    return MM_OK;
}

static mm_status add_extra(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                           const special_files *files, mm_error *error)
{
    static const char *const keys[] = {"additional_special_tokens", "extra_special_tokens"};
    for (int i = 0; i < 2; i++) {
        const mm_json_document *document;
        const mm_json *list = find_role(files, keys[i], &document);
        MM_TRY(add_all(tokens, vocabulary, document, list, true, error));
    }
    return MM_OK;
}

static mm_status add_everything(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                                const special_files *files, mm_error *error)
{
    const mm_json *decoder = mm_json_member(files->config.root, "added_tokens_decoder");
    const mm_json *whole = mm_json_member(files->whole.root, "added_tokens");
    MM_TRY(add_all(tokens, vocabulary, decoder ? &files->config : &files->whole,
                   decoder ? decoder : whole, false, error));
    MM_TRY(add_roles(tokens, vocabulary, files, error));
    return add_extra(tokens, vocabulary, files, error);
}

static mm_status set_pattern(mm_special_token *token, mm_error *error)
{
    mm_code_points plain = {0};
    MM_TRY(mm_code_points_from_utf8(&plain, token->content, strlen(token->content), error));
    if (!token->normalized) {
        token->pattern = plain;
        return MM_OK;
    }
    mm_status status = mm_code_points_normalize(&token->pattern, plain.points, plain.count, error);
    mm_free(plain.points);
    return status;
}

static mm_status set_patterns(mm_special_tokens *tokens, mm_error *error)
{
    for (size_t i = 0; i < tokens->count; i++) {
        mm_special_token *token = &tokens->items[i];
        MM_TRY(set_pattern(token, error));
        if (token->pattern.count)
            tokens->starts[token->normalized][token->pattern.points[0] & 255] = true;
    }
    return MM_OK;
}

mm_status mm_special_tokens_load(mm_special_tokens *tokens, mm_vocabulary *vocabulary,
                                 const char *directory, mm_error *error)
{
    special_files files = {0};
    *tokens = (mm_special_tokens){.size = vocabulary->size};
    mm_status status = load_optional(&files.config, directory, "tokenizer_config.json", error);
    if (status == MM_OK)
        status = load_optional(&files.map, directory, "special_tokens_map.json", error);
    if (status == MM_OK && vocabulary->from_whole_file)
        status = load_optional(&files.whole, directory, "tokenizer.json", error);
    if (status == MM_OK)
        status = add_everything(tokens, vocabulary, &files, error);
    if (status == MM_OK)
        status = set_patterns(tokens, error);
    mm_json_free(&files.config);
    mm_json_free(&files.map);
    mm_json_free(&files.whole);
    return status;
}

void mm_special_tokens_free(mm_special_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        mm_free(tokens->items[i].pattern.points);
    mm_free(tokens->items);
    *tokens = (mm_special_tokens){0};
}

static bool matches(const mm_code_points *pattern, const mm_code_points *text, size_t position)
{
    const uint32_t *place = text->points + position;
    return pattern->count > 0 && pattern->count <= text->count - position &&
           pattern->points[0] == *place &&
           memcmp(pattern->points, place, pattern->count * sizeof(uint32_t)) == 0;
}

const mm_special_token *mm_special_tokens_match(const mm_special_tokens *tokens, bool normalized,
                                                const mm_code_points *text, size_t position)
{
    const mm_special_token *longest = NULL;
    if (!tokens->starts[normalized][text->points[position] & 255])
        return NULL;
    for (size_t i = 0; i < tokens->count; i++) {
        const mm_special_token *token = &tokens->items[i];
        if (token->normalized == normalized && matches(&token->pattern, text, position) &&
            (!longest || token->pattern.count > longest->pattern.count))
            longest = token;
    }
    return longest;
}

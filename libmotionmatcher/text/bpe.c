/* SPDX-License-Identifier: BSD-2-Clause */
#include "text/bpe.h"

#include <stdbool.h>

#include "base/memory.h"

/* Each symbol starts at most one candidate, and each merge adds at most two. */
enum { candidates_per_symbol = 3 };

static mm_status reserve(mm_bpe_word *word, size_t count, mm_error *error)
{
    if (count <= word->capacity)
        return MM_OK;
    if (count > INT32_MAX / candidates_per_symbol)
        return mm_fail(error, MM_ERR_USAGE, "a word of %zu bytes is too long", count);
    size_t capacity = count < 64 ? 64 : count;
    mm_bpe_symbol *symbols = mm_realloc(word->symbols, capacity * sizeof(*symbols));
    if (symbols)
        word->symbols = symbols;
    mm_bpe_candidate *heap = NULL;
    if (symbols)
        heap = mm_realloc(word->heap, capacity * candidates_per_symbol * sizeof(*heap));
    if (!heap)
        return mm_fail_memory(error, "splitting a word", capacity * sizeof(*symbols));
    word->heap = heap;
    word->capacity = capacity;
    return MM_OK;
}

static bool goes_before(mm_bpe_candidate a, mm_bpe_candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.position < b.position;
}

static void heap_push(mm_bpe_word *word, mm_bpe_candidate candidate)
{
    size_t place = word->heap_count++;
    while (place > 0 && goes_before(candidate, word->heap[(place - 1) / 2])) {
        word->heap[place] = word->heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    word->heap[place] = candidate;
}

static mm_bpe_candidate heap_pop(mm_bpe_word *word)
{
    mm_bpe_candidate top = word->heap[0], last = word->heap[--word->heap_count];
    size_t place = 0, child;
    while ((child = 2 * place + 1) < word->heap_count) {
        if (child + 1 < word->heap_count && goes_before(word->heap[child + 1], word->heap[child]))
            child++;
        if (!goes_before(word->heap[child], last))
            break;
        word->heap[place] = word->heap[child];
        place = child;
    }
    word->heap[place] = last;
    return top;
}

static const mm_merge *merge_at(const mm_bpe_word *word, const mm_vocabulary *vocabulary,
                                int32_t position)
{
    const mm_bpe_symbol *symbol = &word->symbols[position];
    if (symbol->merged || symbol->next < 0)
        return NULL;
    return mm_vocabulary_find_merge(vocabulary, symbol->id, word->symbols[symbol->next].id);
}

static void push_candidate(mm_bpe_word *word, const mm_vocabulary *vocabulary, int32_t position)
{
    const mm_merge *merge = merge_at(word, vocabulary, position);
    if (merge)
        heap_push(word, (mm_bpe_candidate){merge->rank, position, merge->result});
}

static void merge_with_next(mm_bpe_word *word, int32_t position, int32_t result)
{
    mm_bpe_symbol *symbol = &word->symbols[position], *right = &word->symbols[symbol->next];
    right->merged = 1;
    symbol->id = result;
    symbol->next = right->next;
    if (right->next >= 0)
        word->symbols[right->next].previous = position;
}

static void set_symbols(mm_bpe_word *word, const mm_vocabulary *vocabulary, int32_t unknown,
                        const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        int32_t id = (last ? vocabulary->endings : vocabulary->letters)[bytes[i]];
        word->symbols[i] = (mm_bpe_symbol){.id = id < 0 ? unknown : id,
                                           .previous = (int32_t)i - 1,
                                           .next = last ? -1 : (int32_t)i + 1};
    }
    word->count = count;
}

mm_status mm_bpe_encode(mm_bpe_word *word, const mm_vocabulary *vocabulary, int32_t unknown,
                        const unsigned char *bytes, size_t count, mm_error *error)
{
    MM_TRY(reserve(word, count, error));
    set_symbols(word, vocabulary, unknown, bytes, count);
    word->heap_count = 0;
    for (size_t i = 0; i < count; i++)
        push_candidate(word, vocabulary, (int32_t)i);
    while (word->heap_count > 0) {
        mm_bpe_candidate top = heap_pop(word);
        const mm_merge *merge = merge_at(word, vocabulary, top.position);
        if (!merge || merge->result != top.result)
            continue; /* one of the two has been merged since */
        merge_with_next(word, top.position, top.result);
        if (word->symbols[top.position].previous >= 0)
            push_candidate(word, vocabulary, word->symbols[top.position].previous);
        push_candidate(word, vocabulary, top.position);
    }
    return MM_OK;
}

void mm_bpe_free(mm_bpe_word *word)
{
    mm_free(word->symbols);
    mm_free(word->heap);
    *word = (mm_bpe_word){0};
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "conformance.h"

typedef struct attention_case {
    mm_sequences sequences;
    int64_t heads, width;
    bool causal;
} attention_case;

static const attention_case cases[] = {
    {{2, 6, 1}, 2, 8, false},    {{1, 4, 6}, 3, 5, false},   {{2, 3, 5}, 1, 16, false},
    {{1, 70, 1}, 2, 4, false},   {{2, 9, 1}, 2, 8, true},    {{1, 1, 4}, 2, 3, false},
    {{1, 131, 1}, 1, 40, false}, {{1, 150, 1}, 1, 16, true},
};

static mm_node *packed(mm_suite *s, const attention_case *c)
{
    mm_suite_begin(s);
    s->low = -2.0f;
    s->high = 2.0f;
    int64_t rows = c->sequences.outer * c->sequences.length * c->sequences.inner;
    return mm_suite_parameter(s, MM_SHAPE(rows, 3 * c->heads * c->width));
}

void mm_case_attention(mm_suite *s)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const attention_case *c = &cases[i];
        mm_node *qkv = packed(s, c);
        mm_suite_check(s, mm_attention(s->graph, qkv, c->sequences, c->heads, c->width, c->causal));
    }
}

void mm_case_attention_map(mm_suite *s)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const attention_case *c = &cases[i];
        if (c->causal)
            continue;
        mm_node *qkv = packed(s, c);
        mm_suite_check(s, mm_attention_map(s->graph, qkv, c->sequences, c->heads, c->width));
    }
}

/* Queries of `rows` rows for each of `batches` key sets. */
static mm_node *cross(mm_suite *s, int64_t batches, int64_t rows, int64_t tokens, int64_t heads,
                      int64_t width, mm_node **kv)
{
    mm_suite_begin(s);
    s->low = -2.0f;
    s->high = 2.0f;
    *kv = mm_suite_weight(s, MM_SHAPE(batches, tokens, 2 * heads * width));
    return mm_suite_parameter(s, MM_SHAPE(batches, rows, heads * width));
}

static const int64_t cross_cases[][5] = {
    {1, 6, 7, 2, 8}, {2, 5, 77, 1, 5}, {3, 4, 3, 4, 16}, {1, 1, 1, 1, 1}, {2, 33, 20, 2, 40}};

void mm_case_cross_attention(mm_suite *s)
{
    for (size_t i = 0; i < sizeof(cross_cases) / sizeof(cross_cases[0]); i++) {
        const int64_t *c = cross_cases[i];
        mm_node *kv, *q = cross(s, c[0], c[1], c[2], c[3], c[4], &kv);
        mm_suite_check(s, mm_cross_attention(s->graph, q, kv, c[3], c[4]));
    }
}

void mm_case_cross_attention_map(mm_suite *s)
{
    for (size_t i = 0; i < sizeof(cross_cases) / sizeof(cross_cases[0]); i++) {
        const int64_t *c = cross_cases[i];
        mm_node *kv, *q = cross(s, c[0], c[1], c[2], c[3], c[4], &kv);
        mm_suite_check(s, mm_cross_attention_map(s->graph, q, kv, c[3], c[4]));
    }
}

MM_CASE_BY_GRADIENT(attention_grad)
MM_CASE_BY_GRADIENT(attention_map_grad)
MM_CASE_BY_GRADIENT(cross_attention_grad)
MM_CASE_BY_GRADIENT(cross_attention_map_grad)

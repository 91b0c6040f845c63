/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every network's builder shares: the graph it appends to, the weights it declares, the linear
 * layers it offers for adaptation (LoRA), and the layers themselves (layers.c).
 *
 * A network is a function from (builder, config, inputs) to nodes. The schema that files are
 * checked against is what one throwaway build declares; every later build finds the same weights
 * again.
 */
#ifndef MM_MODELS_BUILDER_H
#define MM_MODELS_BUILDER_H

#include "graph/ops.h"
#include "weights/lora_table.h"

typedef enum mm_site_kind {
    MM_SITE_SPATIAL = 0, /* in a Transformer2DModel */
    MM_SITE_TEMPORAL = 1 /* in a TransformerTemporalModel */
} mm_site_kind;

/* Linear layers that read the same input and that a LoRA adapts: to_q, to_k, to_v together, or one
   alone. Only the targets of the method: attn1 and ff of spatial transformers; attn1, attn2 and ff
   of temporal ones. */
typedef struct mm_lora_site {
    int32_t index; /* in the list */
    mm_site_kind kind;
    int32_t order; /* place among the sites of its kind in the order of PyTorch's named modules */
    int32_t count; /* 1 or 3 */
    const char *path[3]; /* "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q" */
    int64_t in_features, out_features; /* of each */
} mm_lora_site;

typedef struct mm_site_list {
    mm_arena arena;
    mm_lora_site **site; /* in order of building; found again by path[0] */
    int32_t count, capacity;
} mm_site_list;

void mm_site_list_free(mm_site_list *list);
/* All layers as the released code walks them; paths belong to the list of sites. */
mm_status mm_site_list_order(const mm_site_list *list, mm_lora_order *out, mm_error *error);

typedef struct mm_builder mm_builder;

/* Adds to a linear site: returns [..., count * out_features] to be added to the base product, or
   NULL for nothing. */
typedef mm_node *(*mm_adapter)(void *user, mm_builder *builder, const mm_lora_site *site,
                               mm_node *x);

struct mm_builder {
    mm_graph *graph;
    mm_weight_set *weights;
    mm_site_list *sites; /* NULL for networks without sites */
    mm_adapter adapter;  /* NULL: the base network */
    void *adapter_user;
    mm_node *dropout_key;    /* i32 [3] input of mm_dropout; NULL: no dropout anywhere */
    float conv_dropout;      /* in temporal convolutions; 0: none */
    uint32_t dropout_layers; /* handed out so far */
    int64_t frames;          /* of one clip */
    bool exact;       /* the weights of the layers that follow are f32 whatever the others are */
    const char *path; /* of the module being built, "" at the root */
};

#endif

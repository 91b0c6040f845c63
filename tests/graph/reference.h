/* SPDX-License-Identifier: BSD-2-Clause */
/* Every op's meaning in plain loops and double precision, and a backend made of them. */
#ifndef MM_TESTS_GRAPH_REFERENCE_H
#define MM_TESTS_GRAPH_REFERENCE_H

#include "graph/backend.h"

/* Whole numbers come as doubles too. */
typedef void mm_reference(const mm_node *node, double *y, const double *const *x);

/* NULL for gradient ops that are tested through their forward op alone. */
mm_reference *mm_reference_of(mm_op op);

/* reference_layers.c */
mm_reference mm_reference_conv2d, mm_reference_temporal_conv, mm_reference_group_norm,
    mm_reference_layer_norm, mm_reference_attention, mm_reference_attention_map,
    mm_reference_cross_attention, mm_reference_cross_attention_map, mm_reference_resize_nearest,
    mm_reference_resize_bilinear, mm_reference_patch_correlation, mm_reference_embedding,
    mm_reference_timestep_embedding;

double mm_reference_activate(mm_activation_kind kind, double x);

/* A backend that runs the references; `spoil_workspace` bytes of every call are overwritten. */
mm_status mm_plain_backend_create(mm_backend **out, size_t spoil_workspace, mm_error *error);

#endif

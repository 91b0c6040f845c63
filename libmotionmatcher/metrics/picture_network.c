/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics/picture_network.h"

#include <string.h>

#include "base/memory.h"

static int64_t patches_of(const mm_picture_network *n)
{
    int64_t side = n->geometry.side / n->patch_size;
    return side * side;
}

static size_t patch_floats(const mm_picture_network *n)
{
    return (size_t)(patches_of(n) * 3 * n->patch_size * n->patch_size);
}

static void free_executable(mm_picture_executable *e)
{
    mm_executable_free(&e->executable);
    mm_graph_free(&e->graph.graph);
    *e = (mm_picture_executable){0};
}

static mm_status build(const mm_picture_network *n, mm_picture_graph *g, int64_t pictures,
                       mm_error *error)
{
    mm_shape shape = MM_SHAPE(pictures, patches_of(n), 3 * n->patch_size * n->patch_size);
    g->patches = mm_input(g->graph, "patches", MM_F32, &shape);
    g->zeros = mm_input(g->graph, "zeros", MM_I64, &MM_SHAPE(pictures));
    MM_TRY(n->build(n->user, g, pictures, error));
    return mm_graph_status(g->graph, error);
}

static mm_status compile(const mm_picture_network *n, mm_picture_executable *e, int64_t pictures,
                         size_t budget, mm_error *error)
{
    free_executable(e);
    e->pictures = pictures;
    MM_TRY(mm_graph_create(&e->graph.graph, MM_F32, error));
    mm_status status = build(n, &e->graph, pictures, error);
    if (status == MM_OK)
        status = mm_executable_create(&e->executable, e->graph.graph, &e->graph.output, 1,
                                      n->runtime->backend,
                                      &(mm_compile_options){.arena_budget = budget}, error);
    if (status != MM_OK)
        free_executable(e);
    return status;
}

/* Frames, their squares and the network's values, beside the executables' arenas. */
static size_t buffer_bytes(const mm_picture_network *n, int64_t pictures)
{
    size_t square = (size_t)(3 * n->geometry.side * n->geometry.side);
    return square + (size_t)pictures * (patch_floats(n) + (size_t)n->outputs) * sizeof(float);
}

/* The rest of a video that `full` does not divide has an arena of its own, which is no larger. */
static size_t total_bytes(const mm_picture_network *n, int64_t pictures, size_t arena)
{
    return buffer_bytes(n, pictures) + (pictures > 1 ? 2 : 1) * arena;
}

mm_status mm_picture_network_plan(mm_picture_network *n, size_t budget, size_t *bytes,
                                  mm_error *error)
{
    mm_picture_network_reset(n, true);
    for (int64_t pictures = MM_PICTURES_AT_ONCE;; pictures /= 2) {
        mm_plan_summary summary;
        MM_TRY(compile(n, &n->full, pictures, 0, error));
        mm_executable_summary(n->full.executable, &summary);
        *bytes = total_bytes(n, pictures, summary.arena_bytes);
        n->most = pictures;
        if (*bytes <= budget)
            return MM_OK;
        if (pictures == 1)
            return mm_fail(error, MM_ERR_MEMORY,
                           "one frame needs %zu MiB beside the weights, %zu MiB are left of the "
                           "memory budget",
                           (*bytes >> 20) + 1, budget >> 20);
    }
}

static mm_status allocate(mm_picture_network *n, mm_error *error)
{
    if (n->patches)
        return MM_OK;
    n->patches = mm_malloc((size_t)n->most * patch_floats(n) * sizeof(float));
    n->values = mm_malloc((size_t)(n->most * n->outputs) * sizeof(float));
    n->square = mm_malloc((size_t)(3 * n->geometry.side * n->geometry.side));
    if (n->patches && n->values && n->square)
        return MM_OK;
    return mm_fail_memory(error, "frames", buffer_bytes(n, n->most));
}

static mm_status write_inputs(const mm_picture_executable *e, mm_error *error)
{
    int64_t zeros[MM_PICTURES_AT_ONCE] = {0};
    MM_TRY(mm_executable_write(e->executable, e->graph.zeros, zeros,
                               (size_t)e->pictures * sizeof(*zeros), error));
    const mm_node *other = e->graph.other;
    return other ? mm_executable_write(e->executable, other, e->graph.other_data,
                                       mm_node_bytes(other), error)
                 : MM_OK;
}

static mm_status compute(mm_picture_network *n, int64_t count, mm_error *error)
{
    mm_picture_executable *e = count == n->most ? &n->full : &n->rest;
    mm_run_control control = {.cancel = n->runtime->cancel};
    if (e->pictures != count)
        MM_TRY(compile(n, e, count, 0, error));
    MM_TRY(write_inputs(e, error));
    MM_TRY(mm_executable_write(e->executable, e->graph.patches, n->patches,
                               (size_t)count * patch_floats(n) * sizeof(float), error));
    MM_TRY(mm_executable_run(e->executable, &control, error));
    MM_TRY(mm_executable_read(e->executable, e->graph.output, n->values,
                              (size_t)(count * n->outputs) * sizeof(float), error));
    return n->take(n->user, n->values, count, error);
}

/* [side][side][3] bytes to one row a patch: [patches][3][size][size]. */
static void put_patches(const mm_picture_network *n, float *out)
{
    int64_t side = n->geometry.side, size = n->patch_size, across = side / size;
    for (int64_t p = 0; p < across * across; p++) {
        const uint8_t *corner = n->square + 3 * (p / across * size * side + p % across * size);
        for (int c = 0; c < 3; c++) {
            const float *value = n->pixels.value[c];
            for (int64_t i = 0; i < size * size; i++)
                *out++ = value[corner[3 * (i / size * side + i % size) + c]];
        }
    }
}

mm_status mm_picture_network_add(mm_picture_network *n, const mm_picture *frame, mm_error *error)
{
    MM_TRY(allocate(n, error));
    MM_TRY(mm_image_scale_and_crop(frame, &n->geometry, n->square, error));
    put_patches(n, n->patches + (size_t)n->waiting * patch_floats(n));
    n->waiting++;
    return n->waiting == n->most ? mm_picture_network_flush(n, error) : MM_OK;
}

mm_status mm_picture_network_flush(mm_picture_network *n, mm_error *error)
{
    int64_t count = n->waiting;
    n->waiting = 0;
    return count ? compute(n, count, error) : MM_OK;
}

static void free_buffers(mm_picture_network *n)
{
    mm_free(n->patches);
    mm_free(n->values);
    mm_free(n->square);
    n->patches = n->values = NULL;
    n->square = NULL;
}

void mm_picture_network_reset(mm_picture_network *n, bool compiled)
{
    n->waiting = 0;
    if (!compiled)
        return;
    free_buffers(n);
    free_executable(&n->full);
    free_executable(&n->rest);
}

void mm_picture_network_free(mm_picture_network *n)
{
    mm_picture_network_reset(n, true);
}

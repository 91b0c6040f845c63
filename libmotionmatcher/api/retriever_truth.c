/* SPDX-License-Identifier: BSD-2-Clause */
/* Which videos a query should find: as a file says, or those of smallest motion discrepancy. */
#include <math.h>
#include <string.h>

#include "api/retriever_internal.h"
#include "base/file.h"
#include "base/memory.h"
#include "metrics/retrieval.h"

#define MOST_FILE_BYTES ((size_t)16 << 20)

void mm_retrieval_truth_free(mm_retrieval_truth *truth)
{
    mm_free(truth->text);
    mm_free(truth->positive);
    *truth = (mm_retrieval_truth){0};
}

/* Without blanks at its ends. */
static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r", text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static mm_status cut_line(mm_retrieval_truth *truth, char *line, const char *path, bool all,
                          mm_error *error)
{
    char *comma = all ? strrchr(line, ',') : NULL;
    line = trim(line);
    if (!*line || *line == '#')
        return MM_OK;
    if (all && !comma)
        return mm_fail(error, MM_ERR_INPUT,
                       "%s: '%s' lacks a comma between the query and a video it should find", path,
                       line);
    if (comma)
        *comma = '\0';
    truth->positive[truth->count++] =
        (mm_positive){comma ? trim(line) : NULL, comma ? trim(comma + 1) : line};
    return MM_OK;
}

mm_status mm_retrieval_truth_read(mm_retrieval_truth *out, const char *path, bool all,
                                  mm_error *error)
{
    size_t bytes, lines = 1;
    *out = (mm_retrieval_truth){0};
    MM_TRY(mm_file_read_all(path, MOST_FILE_BYTES, &out->text, &bytes, error));
    for (size_t i = 0; i < bytes; i++)
        lines += out->text[i] == '\n';
    out->positive = mm_malloc(lines * sizeof(*out->positive));
    if (!out->positive)
        return mm_fail_memory(error, "a list of videos", lines * sizeof(*out->positive));
    for (char *line = out->text; line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        MM_TRY(cut_line(out, line, path, all, error));
        line = end;
    }
    return out->count ? MM_OK : mm_fail(error, MM_ERR_INPUT, "%s: names no video", path);
}

/* The path itself, or the name of the file. */
static bool names(const char *text, const char *path)
{
    const char *slash = strrchr(path, '/');
    return strcmp(text, path) == 0 || (slash && strcmp(text, slash + 1) == 0);
}

static bool is_known(const mm_retriever *r, const char *text)
{
    for (size_t i = 0; i < r->count; i++) {
        if (names(text, r->clip[i].path))
            return true;
    }
    return false;
}

mm_status mm_retrieval_truth_check(const mm_retriever *r, mm_error *error)
{
    for (size_t i = 0; i < r->truth.count; i++) {
        const mm_positive *p = &r->truth.positive[i];
        const char *stranger = !is_known(r, p->video)               ? p->video
                               : p->query && !is_known(r, p->query) ? p->query
                                                                    : NULL;
        if (stranger)
            return mm_fail(error, MM_ERR_USAGE, "%s: '%s' is not among the videos",
                           r->config->positives, stranger);
    }
    return MM_OK;
}

static bool should_find(const mm_retrieval_truth *truth, const char *query, const char *video)
{
    for (size_t i = 0; i < truth->count; i++) {
        const mm_positive *p = &truth->positive[i];
        if (names(p->video, video) && (!p->query || names(p->query, query)))
            return true;
    }
    return false;
}

/* The wanted share of the candidates, the nearest by motion discrepancy. */
static void mark_nearest(const mm_retriever *r, const double *discrepancy, size_t count,
                         size_t *order, bool *positive)
{
    double share = r->config->positive_share * (double)count;
    size_t wanted = share < 1.0 ? 1 : (size_t)lrint(share);
    mm_rank_by_distance(discrepancy, count, order);
    for (size_t i = 0; i < count; i++)
        positive[order[i]] = i < wanted;
}

static mm_status find_by_tracks(const mm_retriever *r, size_t query, bool *positive,
                                mm_error *error)
{
    size_t count = 0;
    double *discrepancy = mm_malloc(r->count * (sizeof(double) + sizeof(size_t)));
    if (!discrepancy)
        return mm_fail_memory(error, "distances", r->count * 16);
    mm_status status = MM_OK;
    for (size_t i = 0; i < r->count && status == MM_OK; i++) {
        if (i != query && mm_clip_usable(&r->clip[i]))
            status =
                mm_motion_discrepancy(&r->clip[query].tracks, &r->clip[i].tracks, r->config->width,
                                      r->config->height, &discrepancy[count++], error);
    }
    if (status == MM_OK)
        mark_nearest(r, discrepancy, count, (size_t *)(void *)(discrepancy + r->count), positive);
    mm_free(discrepancy);
    return status;
}

mm_status mm_retrieval_truth_of(const mm_retriever *r, size_t query, bool *positive,
                                mm_error *error)
{
    if (r->tracker)
        return find_by_tracks(r, query, positive, error);
    for (size_t i = 0, count = 0; i < r->count; i++) {
        if (i != query && mm_clip_usable(&r->clip[i]))
            positive[count++] = should_find(&r->truth, r->clip[query].path, r->clip[i].path);
    }
    return MM_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures that are known, a line each: key, frames, two values, and a full stop that says that the
   line is whole. Lines are only ever added, so that nothing is lost when a run ends early. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

struct report_cache {
    report_entry *entry; /* in the order of the keys */
    size_t count;
    char *path;
    int descriptor;
};

static bool parse_line(const char *line, report_entry *out)
{
    char stop = 0;
    int end = 0;
    int found = sscanf(line, "%64[0-9a-f] %" SCNd64 " %lf %lf %c%n", out->key, &out->frames,
                       &out->value[0], &out->value[1], &stop, &end);
    return found == 5 && stop == '.' && line[end] == '\n' && strlen(out->key) == 64 &&
           out->frames > 0;
}

static int compare_entries(const void *a, const void *b)
{
    const report_entry *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static mm_status append(report *r, report_cache *cache, const report_entry *entry)
{
    report_entry *grown = realloc(cache->entry, (cache->count + 1) * sizeof(*grown));
    if (!grown)
        return report_fail_memory(r);
    cache->entry = grown;
    cache->entry[cache->count++] = *entry;
    return MM_OK;
}

/* Other lines than ours, and a last one that was cut off, are passed over. */
static mm_status read_entries(report *r, report_cache *cache, bool *cut)
{
    char line[256];
    report_entry entry;
    mm_status status = MM_OK;
    FILE *file = fopen(cache->path, "r");
    *cut = false;
    while (file && status == MM_OK && fgets(line, sizeof(line), file)) {
        *cut = !strchr(line, '\n');
        if (parse_line(line, &entry))
            status = append(r, cache, &entry);
    }
    if (file)
        fclose(file);
    if (cache->count)
        qsort(cache->entry, cache->count, sizeof(*cache->entry), compare_entries);
    return status;
}

static mm_status fail(report *r, const char *path)
{
    return cli_fail(r->cli, MM_ERR_RUNTIME, "%s: cannot be written: %s", path, strerror(errno));
}

static mm_status open_file(report *r, report_cache *cache)
{
    bool cut;
    mm_status status = read_entries(r, cache, &cut);
    if (status != MM_OK)
        return status;
    cache->descriptor = open(cache->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (cache->descriptor < 0 || (cut && write(cache->descriptor, "\n", 1) != 1))
        return fail(r, cache->path);
    return MM_OK;
}

mm_status report_cache_open(report *r)
{
    if (mkdir(r->cache_folder, 0777) != 0 && errno != EEXIST)
        return fail(r, r->cache_folder);
    r->cache = calloc(1, sizeof(*r->cache));
    if (!r->cache)
        return report_fail_memory(r);
    r->cache->descriptor = -1;
    r->cache->path = report_join(r, r->cache_folder, "scores.txt");
    return r->cache->path ? open_file(r, r->cache) : report_fail_memory(r);
}

void report_cache_close(report_cache *cache)
{
    if (!cache)
        return;
    if (cache->descriptor >= 0)
        close(cache->descriptor);
    free(cache->entry);
    free(cache);
}

const report_entry *report_cache_find(const report_cache *cache, const char *key)
{
    report_entry wanted;
    snprintf(wanted.key, sizeof(wanted.key), "%s", key);
    if (cache->count == 0)
        return NULL;
    return bsearch(&wanted, cache->entry, cache->count, sizeof(*cache->entry), compare_entries);
}

mm_status report_cache_add(report *r, const report_entry *entry)
{
    char line[256];
    int length = snprintf(line, sizeof(line), "%s %" PRId64 " %.17g %.17g .\n", entry->key,
                          entry->frames, entry->value[0], entry->value[1]);
    if (write(r->cache->descriptor, line, (size_t)length) != length ||
        fdatasync(r->cache->descriptor) != 0)
        return fail(r, r->cache->path);
    return MM_OK;
}

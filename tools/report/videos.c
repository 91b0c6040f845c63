/* SPDX-License-Identifier: BSD-2-Clause */
/* The folders of the methods, with a folder for each pair in it. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "report.h"

typedef struct name_list {
    char **item; /* kept by the report */
    size_t count;
} name_list;

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static mm_status append_name(report *r, name_list *list, const char *name)
{
    char **grown = realloc(list->item, (list->count + 1) * sizeof(*grown));
    if (!grown)
        return report_fail_memory(r);
    list->item = grown;
    list->item[list->count] = report_keep(r, "%s", name);
    return list->item[list->count++] ? MM_OK : report_fail_memory(r);
}

/* What is in a folder, in order; hidden files are passed over. */
static mm_status list_folder(report *r, const char *folder, name_list *out)
{
    *out = (name_list){0};
    DIR *directory = opendir(folder);
    if (!directory)
        return cli_fail(r->cli, MM_ERR_INPUT, "%s: cannot be opened: %s", folder, strerror(errno));
    mm_status status = MM_OK;
    for (struct dirent *entry; status == MM_OK && (entry = readdir(directory));) {
        if (entry->d_name[0] != '.')
            status = append_name(r, out, entry->d_name);
    }
    closedir(directory);
    if (out->count)
        qsort(out->item, out->count, sizeof(*out->item), compare_names);
    return status;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_video_name(const char *name)
{
    static const char *const endings[] = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof(endings) / sizeof(*endings); i++) {
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    }
    return false;
}

static mm_status add_video(report *r, size_t pair, char *path)
{
    report_video *grown = realloc(r->video, (r->video_count + 1) * sizeof(*grown));
    if (!grown)
        return report_fail_memory(r);
    r->video = grown;
    report_video *video = &r->video[r->video_count++];
    *video = (report_video){.method = r->method_count - 1, .pair = pair, .path = path};
    for (size_t i = 0; i < REPORT_FIGURES; i++)
        video->value[i] = NAN;
    return MM_OK;
}

static mm_status add_pair_folder(report *r, size_t pair, const char *folder)
{
    name_list names;
    size_t before = r->video_count;
    mm_status status = list_folder(r, folder, &names);
    for (size_t i = 0; status == MM_OK && i < names.count; i++) {
        char *path = report_join(r, folder, names.item[i]);
        if (!path)
            status = report_fail_memory(r);
        else if (is_video_name(names.item[i]) && !is_folder(path))
            status = add_video(r, pair, path);
    }
    free(names.item);
    if (status == MM_OK && r->video_count == before) {
        cli_notice(r->cli, "%s: no videos in this folder", folder);
        r->missing++;
    }
    return status;
}

/* A folder of videos, or a single video with the name of such a folder. */
static mm_status add_entry(report *r, const char *folder, const char *name)
{
    char *path = report_join(r, folder, name), *stem = report_keep(r, "%s", name);
    if (!path || !stem)
        return report_fail_memory(r);
    bool whole = is_folder(path);
    if (!whole && !is_video_name(name))
        return MM_OK;
    if (!whole)
        *strrchr(stem, '.') = '\0';
    size_t pair = report_find_pair(r, stem);
    if (pair == r->pair_count) {
        cli_notice(r->cli, "%s: left out: it is called like no pair in %s, or like several", path,
                   r->pairs_path);
        return MM_OK;
    }
    return whole ? add_pair_folder(r, pair, path) : add_video(r, pair, path);
}

static mm_status add_method(report *r, char *name, const char *folder)
{
    name_list names;
    char **grown = realloc(r->method, (r->method_count + 1) * sizeof(*grown));
    if (!grown)
        return report_fail_memory(r);
    r->method = grown;
    r->method[r->method_count++] = name;
    mm_status status = list_folder(r, folder, &names);
    for (size_t i = 0; status == MM_OK && i < names.count; i++)
        status = add_entry(r, folder, names.item[i]);
    free(names.item);
    return status;
}

static int compare_videos(const void *a, const void *b)
{
    const report_video *x = a, *y = b;
    if (x->method != y->method)
        return x->method < y->method ? -1 : 1;
    if (x->pair != y->pair)
        return x->pair < y->pair ? -1 : 1;
    return strcmp(x->path, y->path);
}

static void tell_incomplete(const report *r)
{
    for (size_t method = 0; method < r->method_count; method++) {
        size_t found = 0;
        const report_video *last = NULL;
        for (size_t i = 0; i < r->video_count; i++) {
            const report_video *video = &r->video[i];
            found += video->method == method && (!last || last->pair != video->pair);
            last = video->method == method ? video : last;
        }
        if (found < r->pair_count)
            cli_notice(r->cli, "%s has videos for %zu of %zu pairs", r->method[method], found,
                       r->pair_count);
    }
}

/* Is there a folder, or a video, with the number 0? */
static mm_status look_for_zero(report *r, const char *folder)
{
    name_list names;
    mm_status status = list_folder(r, folder, &names);
    for (size_t i = 0; i < names.count; i++) {
        size_t zeros = strspn(names.item[i], "0");
        r->from_zero |= zeros > 0 && (names.item[i][zeros] == '\0' || names.item[i][zeros] == '.');
    }
    free(names.item);
    return status;
}

static mm_status learn_numbering(report *r, const name_list *methods)
{
    for (size_t i = 0; i < methods->count; i++) {
        char *folder = report_join(r, r->videos_path, methods->item[i]);
        mm_status status = folder ? MM_OK : report_fail_memory(r);
        if (status == MM_OK && is_folder(folder))
            status = look_for_zero(r, folder);
        if (status != MM_OK)
            return status;
    }
    return MM_OK;
}

mm_status report_find_videos(report *r)
{
    name_list names;
    mm_status status = list_folder(r, r->videos_path, &names);
    if (status == MM_OK)
        status = learn_numbering(r, &names);
    for (size_t i = 0; status == MM_OK && i < names.count; i++) {
        char *folder = report_join(r, r->videos_path, names.item[i]);
        if (!folder)
            status = report_fail_memory(r);
        else if (is_folder(folder))
            status = add_method(r, names.item[i], folder);
    }
    free(names.item);
    if (status != MM_OK)
        return status;
    if (r->video_count == 0)
        return cli_fail(r->cli, MM_ERR_INPUT,
                        "%s: no videos in it: <method>/<pair>/*.mp4 is expected, where a pair's "
                        "folder is called as column 'pair' of %s says, or else by its number, "
                        "prompt or reference",
                        r->videos_path, r->pairs_path);
    qsort(r->video, r->video_count, sizeof(*r->video), compare_videos);
    tell_incomplete(r);
    return MM_OK;
}

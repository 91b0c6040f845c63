/* SPDX-License-Identifier: BSD-2-Clause */
/* A result belongs to the contents of all that it was made of: video, reference, prompt, model and
   settings. Names and times of files play no part. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report.h"

/* Changes when the same input would give other figures. */
#define FIGURES_VERSION "1"

static void add_text(cli_sha256 *hash, const char *text)
{
    cli_sha256_add(hash, text ? text : "", (text ? strlen(text) : 0) + 1);
}

static bool digest_file(const char *path, char out[CLI_DIGEST_TEXT])
{
    cli_sha256 hash;
    cli_sha256_begin(&hash);
    *out = '\0';
    if (!cli_sha256_add_file(&hash, path))
        return false;
    cli_sha256_end(&hash, out);
    return true;
}

static int select_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Of all files of a folder, not of its subfolders. */
static bool add_folder(report *r, cli_sha256 *hash, const char *folder)
{
    struct dirent **entry;
    int count = scandir(folder, &entry, select_file, alphasort);
    bool fine = count >= 0;
    for (int i = 0; i < count; i++) {
        struct stat info;
        char *path = report_join(r, folder, entry[i]->d_name);
        bool file = path && stat(path, &info) == 0 && S_ISREG(info.st_mode);
        if (fine && file) {
            add_text(hash, entry[i]->d_name);
            fine = cli_sha256_add_file(hash, path);
        }
        free(entry[i]);
    }
    if (count >= 0)
        free(entry);
    return fine;
}

static mm_status digest_model(report *r, const char *path, char out[CLI_DIGEST_TEXT])
{
    struct stat info;
    cli_sha256 hash;
    cli_sha256_begin(&hash);
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    if (folder ? !add_folder(r, &hash, path) : !cli_sha256_add_file(&hash, path))
        return cli_fail(r->cli, MM_ERR_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    cli_sha256_end(&hash, out);
    return MM_OK;
}

static mm_status digest_models(report *r)
{
    mm_status status = MM_OK;
    for (size_t i = 0; status == MM_OK && i < report_metric_count; i++) {
        const char *path = cli_text(r->cli, report_metrics[i].option);
        if (path)
            status = digest_model(r, path, r->model_digest[i]);
    }
    return status;
}

mm_status report_digest_inputs(report *r)
{
    char message[256];
    mm_status status = digest_models(r);
    for (size_t i = 0; i < r->pair_count; i++) {
        if (r->pair[i].reference)
            digest_file(r->pair[i].reference, r->pair[i].digest);
    }
    for (size_t i = 0; status == MM_OK && i < r->video_count; i++) {
        report_video *video = &r->video[i];
        if (digest_file(video->path, video->digest))
            continue;
        snprintf(message, sizeof(message), "cannot be read: %s", strerror(errno));
        status = report_add_problem(r, video, message);
    }
    return status;
}

void report_make_key(report *r, const report_metric *metric, const report_pair *pair,
                     const report_video *video, char out[CLI_DIGEST_TEXT])
{
    bool moves = strcmp(metric->option, "tracker_model") == 0;
    cli_sha256 hash;
    cli_sha256_begin(&hash);
    add_text(&hash, FIGURES_VERSION);
    add_text(&hash, metric->option);
    add_text(&hash, r->model_digest[metric - report_metrics]);
    for (size_t i = 0; metric->settings[i]; i++)
        add_text(&hash, cli_text(r->cli, metric->settings[i]));
    add_text(&hash, moves ? pair->digest : pair->prompt);
    add_text(&hash, video ? video->digest : "");
    cli_sha256_end(&hash, out);
}

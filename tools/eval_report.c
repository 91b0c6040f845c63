/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"

static const char *pairs_path, *videos_path, *output_path;

char *report_keep(report *r, const char *format, ...)
{
    char *text = NULL;
    if (r->kept_count == r->kept_capacity) {
        size_t capacity = r->kept_capacity ? 2 * r->kept_capacity : 64;
        char **grown = realloc(r->kept, capacity * sizeof(*grown));
        if (!grown)
            return NULL;
        r->kept = grown;
        r->kept_capacity = capacity;
    }
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return length < 0 ? NULL : (r->kept[r->kept_count++] = text);
}

mm_status report_fail_memory(report *r)
{
    return cli_fail(r->cli, MM_ERR_MEMORY, "not enough memory");
}

char *report_join(report *r, const char *folder, const char *name)
{
    size_t length = strlen(folder);
    bool slash = length > 0 && folder[length - 1] == '/';
    return report_keep(r, "%s%s%s", folder, slash ? "" : "/", name);
}

mm_status report_add_problem(report *r, report_video *video, const char *message)
{
    cli_clear_bar(r->cli);
    bool named = strstr(message, video->path) != NULL;
    char *text = report_keep(r, "%s%s%s", named ? "" : video->path, named ? "" : ": ", message);
    if (!text)
        return report_fail_memory(r);
    cli_report_log(r->cli, MM_LEVEL_WARNING, text);
    if (!video->problem)
        video->problem = text;
    return MM_OK;
}

void report_free(report *r)
{
    report_cache_close(r->cache);
    mm_context_free(&r->pictures);
    for (size_t i = 0; i < r->kept_count; i++)
        free(r->kept[i]);
    free(r->kept);
    free(r->pair);
    free(r->method);
    free(r->video);
    free(r->mean);
}

/* The other files are named after the page. */
static mm_status name_outputs(report *r)
{
    const char *slash = strrchr(output_path, '/'), *name = slash ? slash + 1 : output_path;
    const char *dot = strrchr(name, '.');
    bool html = dot && dot != name && (strcmp(dot, ".html") == 0 || strcmp(dot, ".htm") == 0);
    int stem = (int)(html ? dot - output_path : (long)strlen(output_path));
    if (!*name)
        return cli_fail(r->cli, MM_ERR_USAGE, "--output: '%s' is not the name of a file",
                        output_path);
    r->html = report_keep(r, "%s", output_path);
    r->json = report_keep(r, "%.*s.json", stem, output_path);
    r->csv = report_keep(r, "%.*s.csv", stem, output_path);
    r->cache_folder = report_keep(r, "%.*s.cache", stem, output_path);
    return r->html && r->json && r->csv && r->cache_folder ? MM_OK : report_fail_memory(r);
}

static mm_status check_usage(report *r)
{
    if (!pairs_path || !videos_path || !output_path)
        return cli_fail(r->cli, MM_ERR_USAGE, "--%s is needed; see --help",
                        !pairs_path    ? "pairs"
                        : !videos_path ? "videos"
                                       : "output");
    r->pairs_path = pairs_path;
    r->videos_path = videos_path;
    mm_status status = name_outputs(r);
    if (status == MM_OK && (strcmp(r->csv, pairs_path) == 0 || strcmp(r->json, pairs_path) == 0))
        status =
            cli_fail(r->cli, MM_ERR_USAGE, "--output: the report would replace %s", pairs_path);
    return status == MM_OK ? report_choose_metrics(r) : status;
}

/* Nothing is computed for hours that cannot be written in the end. */
static mm_status try_outputs(report *r)
{
    char *paths[] = {r->html, r->json, r->csv};
    mm_status status = MM_OK;
    for (size_t i = 0; status == MM_OK && i < sizeof(paths) / sizeof(*paths); i++)
        status = report_output_try(r, paths[i]);
    return status;
}

static mm_status write_all(report *r)
{
    mm_status status = report_summarize(r);
    if (status == MM_OK)
        status = report_write_csv(r);
    if (status == MM_OK)
        status = report_write_json(r);
    if (status == MM_OK)
        status = report_write_page(r);
    if (status != MM_OK)
        return status;
    char *written[] = {r->html, r->json, r->csv};
    if (r->cli->json)
        report_print_events(r);
    else
        report_print_table(r);
    for (size_t i = 0; i < sizeof(written) / sizeof(*written); i++)
        cli_report_event(r->cli, &(mm_event){.kind = MM_EVENT_OUTPUT, .path = written[i]});
    return MM_OK;
}

static mm_status tell_problems(report *r)
{
    size_t bad = 0;
    const char *first = NULL;
    for (size_t i = 0; i < r->video_count; i++) {
        bad += r->video[i].problem != NULL;
        first = first ? first : r->video[i].problem;
    }
    if (bad)
        return cli_fail(r->cli, MM_ERR_RUNTIME,
                        "%zu of %zu videos could not be scored in full; the first: %s", bad,
                        r->video_count, first);
    if (r->missing)
        return cli_fail(r->cli, MM_ERR_RUNTIME, "folders without videos: %lld",
                        (long long)r->missing);
    return MM_OK;
}

static mm_status make(report *r)
{
    mm_status status = try_outputs(r);
    if (status == MM_OK)
        status = report_check(r);
    if (status == MM_OK)
        status = report_cache_open(r);
    if (status == MM_OK)
        status = mm_context_create(&r->pictures, r->cli->context_options);
    if (status == MM_OK)
        status = report_digest_inputs(r);
    if (status == MM_OK)
        status = report_measure(r);
    if (status == MM_OK)
        status = write_all(r);
    return status == MM_OK ? tell_problems(r) : status;
}

static mm_status run(cli_state *cli)
{
    report r = {.cli = cli};
    if (cli->print_config)
        return cli_print_config(cli);
    mm_status status = check_usage(&r);
    if (status == MM_OK)
        status = report_read_pairs(&r);
    if (status == MM_OK)
        status = report_find_videos(&r);
    if (status == MM_OK)
        status = cli_open_context(cli);
    if (status == MM_OK)
        status = cli->dry_run ? report_plan(&r) : make(&r);
    report_free(&r);
    return status;
}

static const char *const keys[] = {"clip_model",   "image_reward_model",
                                   "vision_heads", "tracker_model",
                                   "grid",         "size",
                                   "tracker_size", NULL};

static const cli_extra extras[] = {
    {"pairs", "FILE",
     "CSV file with a reference and a prompt a line; titles 'pair', 'reference' "
     "and 'prompt' may head it",
     &pairs_path, NULL},
    {"videos", "DIR", "folder with <method>/<pair>/*.mp4", &videos_path, NULL},
    {"output", "FILE", "the page; .json, .csv and the folder .cache lie beside it", &output_path,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

const cli_command eval_report = {
    .name = "report",
    .help = "compares methods by all figures, on a page with their videos",
    .tool =
        {
            .name = "mm-eval",
            .usage = "mm-eval report --pairs FILE.csv --videos DIR --output report.html "
                     "[--clip-model DIR]\n       [--image-reward-model DIR] [--tracker-model FILE] "
                     "[options]",
            .summary = "Scores the videos of several methods for the same pairs of a reference and "
                       "a prompt,\nwith every metric whose model is named. What was scored before "
                       "is not scored again.",
            .table = "evaluate",
            .keys = keys,
            .extras = extras,
        },
    .run = run,
};

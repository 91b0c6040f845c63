/* SPDX-License-Identifier: BSD-2-Clause */
/* A page that compares methods: the videos of every method for every pair of a reference and a
   prompt, their figures, and means with intervals. */
#ifndef MM_TOOLS_REPORT_H
#define MM_TOOLS_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "../common/sha256.h"
#include "../eval.h"
#include "motionmatcher/evaluator.h"

#define REPORT_FIGURES 4

typedef struct report_pair {
    char *name;      /* of the folders with its videos; NULL: they are found by number or text */
    char *label;     /* the name, else the number */
    char *reference; /* path; NULL: none was given */
    char *prompt;
    char digest[CLI_DIGEST_TEXT]; /* of the reference; empty when it cannot be read */
    char *sheet, *tracks;         /* pictures of the reference; NULL: none */
} report_pair;

typedef struct report_video {
    size_t method, pair;
    char *path;
    char digest[CLI_DIGEST_TEXT];
    int64_t frames;               /* 0: not known yet */
    double value[REPORT_FIGURES]; /* NaN: not measured, or undefined */
    char *problem;                /* the first that came up; NULL: none */
    char *sheet, *tracks;         /* pictures; NULL: none */
} report_video;

/* A mean and its 95 % interval; NaN where there is nothing to take the mean of. */
typedef struct report_mean {
    double mean, low, high;
    int64_t videos;
} report_mean;

typedef struct report_cache report_cache;

typedef struct report {
    cli_state *cli;
    mm_context *pictures; /* decodes while the other one is at work */
    const char *pairs_path, *videos_path;
    char *html, *json, *csv, *cache_folder; /* paths of what is written */
    report_pair *pair;
    size_t pair_count;
    bool from_zero; /* folders are numbered from 0, not from 1 */
    char **method;  /* names */
    size_t method_count;
    report_video *video; /* in the order of methods, pairs and names */
    size_t video_count;
    report_mean *mean;                                  /* [methods][REPORT_FIGURES] */
    bool measured[REPORT_FIGURES];                      /* the models for it were named */
    char model_digest[REPORT_FIGURES][CLI_DIGEST_TEXT]; /* of the metrics */
    int64_t missing;                                    /* pairs and methods without a video */
    report_cache *cache;
    char **kept; /* texts to be freed at the end */
    size_t kept_count, kept_capacity;
} report;

/* A fresh text that lives as long as the report; NULL without memory. */
char *report_keep(report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
mm_status report_fail_memory(report *r);
void report_free(report *r);
/* "<folder>/<name>", kept. */
char *report_join(report *r, const char *folder, const char *name);
/* Remembers what is wrong with a video, if nothing was wrong before, and says it. */
mm_status report_add_problem(report *r, report_video *video, const char *message);

/* pairs.c: reads the CSV file. MM_ERR_INPUT names file and line. */
mm_status report_read_pairs(report *r);
/* The pair whose videos lie in a folder, or file, of this name; pair_count: none. */
size_t report_find_pair(const report *r, const char *name);

/* videos.c: fills methods and videos from <videos>/<method>/<pair>/. */
mm_status report_find_videos(report *r);

/* cache.c: what earlier runs measured. */
typedef struct report_entry {
    char key[CLI_DIGEST_TEXT];
    int64_t frames;
    double value[2];
} report_entry;

/* Reads what there is; the folder is created. */
mm_status report_cache_open(report *r);
void report_cache_close(report_cache *cache);
const report_entry *report_cache_find(const report_cache *cache, const char *key);
/* On disk when this returns. */
mm_status report_cache_add(report *r, const report_entry *entry);

/* metrics.c */
typedef struct report_metric {
    const char *name, *option; /* that names its model */
    size_t figure[2], figures; /* indices, and how many */
    double cost;               /* a video's time with the published model, in CLIP's; roughly */
    const char *settings[4];   /* options that its figures depend on; NULL ends them */
} report_metric;

extern const report_metric report_metrics[];
extern const size_t report_metric_count;
extern const char *const report_figures[REPORT_FIGURES]; /* names, in the order of the paper */
/* What is asked for; MM_ERR_USAGE: nothing is. */
mm_status report_choose_metrics(report *r);
/* Opens an evaluator for one metric. tracks: folder for pictures of tracks; NULL: none. */
mm_status report_open_metric(report *r, const report_metric *metric, const char *tracks,
                             mm_evaluator **out);

/* keys.c: by which results are known again. */
mm_status report_digest_inputs(report *r);
/* Of a video's figures; with a NULL video, of the tracks of the pair's reference. */
void report_make_key(report *r, const report_metric *metric, const report_pair *pair,
                     const report_video *video, char out[CLI_DIGEST_TEXT]);

/* measure.c: figures of all videos; without the cache's they are computed, and stored there. */
mm_status report_measure(report *r);
/* Looks at every model and video, and tells the memory plan. */
mm_status report_plan(report *r);
/* Looks at the models alone. */
mm_status report_check(report *r);

/* pictures.c */
/* A contact sheet of a video, from the cache or into it; *out stays NULL where that is impossible.
   frames 0: what the file says. */
void report_make_sheet(report *r, const char *video, const char *digest, int64_t frames,
                       char **out);
/* Where a smaller copy of a picture of tracks lies; NULL when there is none yet. */
char *report_find_tracks(report *r, const char *key);
/* Makes it from the full picture. */
char *report_shrink_tracks(report *r, const char *picture, const char *key);
/* The file as base64; false when it cannot be read. */
bool report_print_base64(FILE *file, const char *path);

/* summary.c: means of all videos of each method, resampled by pairs. */
mm_status report_summarize(report *r);
/* The mean over the videos of one method and pair. */
double report_pair_mean(const report *r, size_t method, size_t pair, size_t figure);

/* A file that appears whole or not at all. */
typedef struct report_output {
    FILE *file;
    char *path, *temporary;
} report_output;

/* output.c */
mm_status report_output_begin(report *r, report_output *out, char *path);
/* Closes and names the file, or removes it where `status` is a failure; returns the first failure.
 */
mm_status report_output_end(report *r, report_output *out, mm_status status);
/* Could it be written? Nothing is left behind. */
mm_status report_output_try(report *r, char *path);

/* page.c, tables.c */
mm_status report_write_page(report *r);
mm_status report_write_json(report *r);
mm_status report_write_csv(report *r);
void report_print_table(const report *r);
void report_print_events(const report *r);

#endif

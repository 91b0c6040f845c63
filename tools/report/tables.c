/* SPDX-License-Identifier: BSD-2-Clause */
/* The report's numbers for programs, and on the terminal. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "motionmatcher/version.h"
#include "report.h"

static void print_mean(FILE *file, const report_mean *m)
{
    fputs("{\"mean\":", file);
    cli_write_json_number(file, m->mean);
    fputs(",\"low\":", file);
    cli_write_json_number(file, m->low);
    fputs(",\"high\":", file);
    cli_write_json_number(file, m->high);
    fprintf(file, ",\"videos\":%" PRId64 "}", m->videos);
}

static void print_means(const report *r, FILE *file, size_t method)
{
    for (size_t f = 0; f < REPORT_FIGURES; f++) {
        if (!r->measured[f])
            continue;
        fprintf(file, ",\"%s\":", report_figures[f]);
        print_mean(file, &r->mean[method * REPORT_FIGURES + f]);
    }
}

static void print_text(FILE *file, const char *before, const char *text)
{
    fputs(before, file);
    if (text)
        cli_write_json(file, text);
    else
        fputs("null", file);
}

static void print_settings(const report *r, FILE *file)
{
    bool first = true;
    print_text(file, "{\"version\":", mm_version());
    for (size_t i = 0; i < report_metric_count; i++) {
        const report_metric *metric = &report_metrics[i];
        if (!r->measured[metric->figure[0]])
            continue;
        for (size_t k = 0; metric->settings[k]; k++) {
            fprintf(file, ",\"%s\":", metric->settings[k]);
            cli_write_json(file, cli_text(r->cli, metric->settings[k]));
        }
    }
    fputs(",\"models\":{", file);
    for (size_t i = 0; i < report_metric_count; i++) {
        const char *path = cli_text(r->cli, report_metrics[i].option);
        if (!path)
            continue;
        fprintf(file, "%s\"%s\":", first ? "" : ",", report_metrics[i].option);
        print_text(file, "{\"path\":", path);
        print_text(file, ",\"sha256\":", r->model_digest[i]);
        fputc('}', file);
        first = false;
    }
    fputs("}}", file);
}

static void print_pair(FILE *file, const report_pair *pair)
{
    print_text(file, "{\"pair\":", pair->label);
    print_text(file, ",\"reference\":", pair->reference);
    print_text(file, ",\"sha256\":", *pair->digest ? pair->digest : NULL);
    print_text(file, ",\"prompt\":", pair->prompt);
    fputc('}', file);
}

static void print_video(const report *r, FILE *file, const report_video *video)
{
    print_text(file, "{\"method\":", r->method[video->method]);
    print_text(file, ",\"pair\":", r->pair[video->pair].label);
    print_text(file, ",\"path\":", video->path);
    print_text(file, ",\"sha256\":", *video->digest ? video->digest : NULL);
    fprintf(file, ",\"frames\":%" PRId64, video->frames);
    for (size_t f = 0; f < REPORT_FIGURES; f++) {
        if (!r->measured[f])
            continue;
        fprintf(file, ",\"%s\":", report_figures[f]);
        cli_write_json_number(file, video->value[f]);
    }
    print_text(file, ",\"problem\":", video->problem);
    fputc('}', file);
}

static void print_document(const report *r, FILE *file)
{
    fputs("{\"settings\":", file);
    print_settings(r, file);
    fputs(",\n\"methods\":[", file);
    for (size_t i = 0; i < r->method_count; i++) {
        print_text(file, i ? ",\n{\"method\":" : "\n{\"method\":", r->method[i]);
        print_means(r, file, i);
        fputc('}', file);
    }
    fputs("],\n\"pairs\":[", file);
    for (size_t i = 0; i < r->pair_count; i++) {
        fputs(i ? ",\n" : "\n", file);
        print_pair(file, &r->pair[i]);
    }
    fputs("],\n\"videos\":[", file);
    for (size_t i = 0; i < r->video_count; i++) {
        fputs(i ? ",\n" : "\n", file);
        print_video(r, file, &r->video[i]);
    }
    fputs("]}\n", file);
}

mm_status report_write_json(report *r)
{
    report_output out;
    mm_status status = report_output_begin(r, &out, r->json);
    if (status != MM_OK)
        return status;
    print_document(r, out.file);
    return report_output_end(r, &out, MM_OK);
}

static void print_cells(const report *r, FILE *file, const report_video *video)
{
    const report_pair *pair = &r->pair[video->pair];
    const char *texts[] = {r->method[video->method], pair->label,
                           pair->reference ? pair->reference : "", pair->prompt, video->path};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        cli_write_csv(file, texts[i]);
        fputc(',', file);
    }
    fprintf(file, "%" PRId64 ",", video->frames);
    for (size_t f = 0; f < REPORT_FIGURES; f++) {
        if (isfinite(video->value[f]))
            cli_write_json_number(file, video->value[f]);
        fputc(',', file);
    }
    cli_write_csv(file, video->problem ? video->problem : "");
    fputs("\r\n", file);
}

mm_status report_write_csv(report *r)
{
    report_output out;
    mm_status status = report_output_begin(r, &out, r->csv);
    if (status != MM_OK)
        return status;
    fputs("method,pair,reference,prompt,video,frames,", out.file);
    for (size_t f = 0; f < REPORT_FIGURES; f++)
        fprintf(out.file, "%s,", report_figures[f]);
    fputs("problem\r\n", out.file);
    for (size_t i = 0; i < r->video_count; i++)
        print_cells(r, out.file, &r->video[i]);
    return report_output_end(r, &out, MM_OK);
}

void report_print_events(const report *r)
{
    for (size_t i = 0; i < r->method_count; i++) {
        print_text(stdout, "{\"event\":\"mean\",\"method\":", r->method[i]);
        for (size_t f = 0; f < REPORT_FIGURES; f++) {
            if (!r->measured[f])
                continue;
            const report_mean *m = &r->mean[i * REPORT_FIGURES + f];
            const double values[] = {m->mean, m->low, m->high};
            static const char *const endings[] = {"", "_low", "_high"};
            for (int k = 0; k < 3; k++) {
                printf(",\"%s%s\":", report_figures[f], endings[k]);
                cli_write_json_number(stdout, values[k]);
            }
        }
        puts("}");
    }
}

static void print_cell(const report_mean *m, const eval_column *c)
{
    char text[64] = "-";
    if (isfinite(m->low))
        snprintf(text, sizeof(text), "%.*f [%.*f, %.*f]", c->decimals, c->factor * m->mean,
                 c->decimals, c->factor * m->low, c->decimals, c->factor * m->high);
    else if (isfinite(m->mean))
        snprintf(text, sizeof(text), "%.*f", c->decimals, c->factor * m->mean);
    printf("  %-30s", text);
}

void report_print_table(const report *r)
{
    size_t width = strlen("method");
    for (size_t i = 0; i < r->method_count; i++)
        width = strlen(r->method[i]) > width ? strlen(r->method[i]) : width;
    printf("\n%-*s", (int)width, "method");
    for (size_t f = 0; f < REPORT_FIGURES; f++) {
        if (r->measured[f])
            printf("  %-30s", eval_column_of(report_figures[f])->title);
    }
    puts("");
    for (size_t i = 0; i < r->method_count; i++) {
        printf("%-*s", (int)width, r->method[i]);
        for (size_t f = 0; f < REPORT_FIGURES; f++) {
            if (r->measured[f])
                print_cell(&r->mean[i * REPORT_FIGURES + f], eval_column_of(report_figures[f]));
        }
        puts("");
    }
}

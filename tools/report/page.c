/* SPDX-License-Identifier: BSD-2-Clause */
/* The page: one file that asks for nothing else, now or later. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "motionmatcher/version.h"
#include "report.h"

/* The policy keeps a browser from fetching anything, whatever a name or a prompt may hold. */
static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Comparison of "
    "methods</title>\n"
    "<style>\n"
    ":root{color-scheme:light dark}\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.35rem .9rem;text-align:right;border-bottom:1px solid #8885}\n"
    "th:first-child,td:first-child{text-align:left}\n"
    "thead th{border-bottom:2px solid}\n"
    "small{opacity:.75}\n"
    ".best{font-weight:700}\n"
    ".pair{border-top:1px solid #8885;padding-top:.6rem;margin-top:1.6rem}\n"
    ".row{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}\n"
    "figure{margin:0;width:min(24rem,100%)}\n"
    "figure img{width:100%;display:block;margin-bottom:.3rem}\n"
    "figcaption,code{overflow-wrap:anywhere}\n"
    "code{font-size:.85em}\n"
    ".problem{color:#c33}\n"
    "</style>\n</head>\n<body>\n<h1>Comparison of methods</h1>\n";

typedef struct column_text {
    const char *title, *unit;
} column_text;

static const column_text column_texts[REPORT_FIGURES] = {
    {"CLIP text similarity", "&times;100"},
    {"ImageReward", ""},
    {"Frame consistency", "&times;100"},
    {"Motion discrepancy", ""},
};

static const eval_column *column(size_t figure)
{
    return eval_column_of(report_figures[figure]);
}

/* The method with the best mean; of one method alone none is. */
static size_t best_method(const report *r, size_t figure)
{
    size_t best = r->method_count;
    double sign = column(figure)->higher_is_better ? 1.0 : -1.0;
    for (size_t i = 0; r->method_count > 1 && i < r->method_count; i++) {
        double mean = r->mean[i * REPORT_FIGURES + figure].mean;
        bool better = best == r->method_count ||
                      sign * mean > sign * r->mean[best * REPORT_FIGURES + figure].mean;
        if (isfinite(mean) && better)
            best = i;
    }
    return best;
}

static void print_titles(const report *r, FILE *file, const char *first)
{
    fprintf(file, "<table>\n<thead><tr><th>%s</th>", first);
    for (size_t f = 0; f < REPORT_FIGURES; f++) {
        if (r->measured[f])
            fprintf(file, "<th>%s %s<br><small>%s</small></th>", column_texts[f].title,
                    column(f)->higher_is_better ? "&uarr;" : "&darr;", column_texts[f].unit);
    }
    fputs("</tr></thead>\n<tbody>\n", file);
}

static void print_value(FILE *file, size_t figure, double value)
{
    const eval_column *c = column(figure);
    if (isfinite(value))
        fprintf(file, "%.*f", c->decimals, c->factor * value);
    else
        fputs("&ndash;", file);
}

static void print_mean(FILE *file, const report_mean *m, size_t figure, bool best)
{
    fprintf(file, "<td%s>", best ? " class=\"best\"" : "");
    print_value(file, figure, m->mean);
    if (isfinite(m->low)) {
        fputs("<br><small>[", file);
        print_value(file, figure, m->low);
        fputs(", ", file);
        print_value(file, figure, m->high);
        fputs("]</small>", file);
    }
    fputs("</td>", file);
}

static void print_means(const report *r, FILE *file)
{
    size_t best[REPORT_FIGURES];
    for (size_t f = 0; f < REPORT_FIGURES; f++)
        best[f] = best_method(r, f);
    print_titles(r, file, "Method");
    for (size_t i = 0; i < r->method_count; i++) {
        fputs("<tr><td>", file);
        cli_write_html(file, r->method[i]);
        fputs("</td>", file);
        for (size_t f = 0; f < REPORT_FIGURES; f++) {
            if (r->measured[f])
                print_mean(file, &r->mean[i * REPORT_FIGURES + f], f, best[f] == i);
        }
        fputs("</tr>\n", file);
    }
    fputs("</tbody></table>\n", file);
}

static void print_explanation(const report *r, FILE *file)
{
    fputs(
        "<p>Means over all videos of a method. Below them 95&nbsp;% bootstrap intervals: pairs of "
        "a reference and a prompt are drawn with replacement 10&#8239;000 times (videos, where "
        "there is one pair alone). &uarr; higher is better, &darr; lower is better; the best mean "
        "is bold.",
        file);
    if (r->measured[3]) {
        char words[256];
        eval_size_in_words(cli_text(r->cli, "size"), words, sizeof(words));
        fputs(" Motion discrepancy at size ", file);
        cli_write_html(file, words);
        fputs(".", file);
    }
    fputs("</p>\n", file);
}

static void print_picture(FILE *file, const char *path, const char *what, const char *of)
{
    if (!path)
        return;
    fputs("<img loading=\"lazy\" src=\"data:image/jpeg;base64,", file);
    report_print_base64(file, path);
    fprintf(file, "\" alt=\"%s ", what);
    cli_write_html(file, of);
    fputs("\">\n", file);
}

static void print_pictures(FILE *file, const char *sheet, const char *tracks, const char *of)
{
    print_picture(file, sheet, "Frames of", of);
    print_picture(file, tracks, "Tracks of points in", of);
}

static void print_reference(FILE *file, const report_pair *pair)
{
    if (!pair->reference)
        return;
    fputs("<figure>\n", file);
    print_pictures(file, pair->sheet, pair->tracks, pair->reference);
    fputs("<figcaption><b>Reference</b> <code>", file);
    cli_write_html(file, pair->reference);
    fputs("</code>", file);
    if (!*pair->digest)
        fputs(" <span class=\"problem\">cannot be read</span>", file);
    fputs("</figcaption>\n</figure>\n", file);
}

static void print_video(const report *r, FILE *file, const report_video *video)
{
    fputs("<figure>\n", file);
    print_pictures(file, video->sheet, video->tracks, video->path);
    fputs("<figcaption><b>", file);
    cli_write_html(file, r->method[video->method]);
    fputs("</b> <code>", file);
    cli_write_html(file, video->path);
    fputs("</code><br>", file);
    for (size_t f = 0; f < REPORT_FIGURES; f++) {
        if (!r->measured[f])
            continue;
        fprintf(file, "%s ", column_texts[f].title);
        print_value(file, f, video->value[f]);
        fputs("<br>", file);
    }
    if (video->problem) {
        fputs("<span class=\"problem\">", file);
        cli_write_html(file, video->problem);
        fputs("</span>", file);
    }
    fputs("</figcaption>\n</figure>\n", file);
}

static void print_pair_means(const report *r, FILE *file, size_t pair)
{
    print_titles(r, file, "Method");
    for (size_t i = 0; i < r->method_count; i++) {
        fputs("<tr><td>", file);
        cli_write_html(file, r->method[i]);
        fputs("</td>", file);
        for (size_t f = 0; f < REPORT_FIGURES; f++) {
            if (!r->measured[f])
                continue;
            fputs("<td>", file);
            print_value(file, f, report_pair_mean(r, i, pair, f));
            fputs("</td>", file);
        }
        fputs("</tr>\n", file);
    }
    fputs("</tbody></table>\n", file);
}

static void print_pair(const report *r, FILE *file, size_t index)
{
    const report_pair *pair = &r->pair[index];
    fputs("<section class=\"pair\">\n<h3>", file);
    cli_write_html(file, pair->label);
    fputs(": &ldquo;", file);
    cli_write_html(file, pair->prompt);
    fputs("&rdquo;</h3>\n", file);
    print_pair_means(r, file, index);
    fputs("<div class=\"row\">\n", file);
    print_reference(file, pair);
    for (size_t i = 0; i < r->video_count; i++) {
        if (r->video[i].pair == index)
            print_video(r, file, &r->video[i]);
    }
    fputs("</div>\n</section>\n", file);
}

static void print_problems(const report *r, FILE *file)
{
    bool any = false;
    for (size_t i = 0; i < r->video_count; i++) {
        if (!r->video[i].problem)
            continue;
        fputs(any ? "<li>" : "<h2>Not scored in full</h2>\n<ul>\n<li>", file);
        cli_write_html(file, r->video[i].problem);
        fputs("</li>\n", file);
        any = true;
    }
    if (any)
        fputs("</ul>\n", file);
}

static void print_models(const report *r, FILE *file)
{
    fprintf(file, "<h2>Made with</h2>\n<p>mm-eval %s, in single precision.</p>\n<ul>\n",
            mm_version());
    for (size_t i = 0; i < report_metric_count; i++) {
        const char *path = cli_text(r->cli, report_metrics[i].option);
        if (!path)
            continue;
        fprintf(file, "<li>%s: <code>", report_metrics[i].name);
        cli_write_html(file, path);
        fprintf(file, "</code>, SHA-256 <code>%s</code></li>\n", r->model_digest[i]);
    }
    fputs("</ul>\n</body>\n</html>\n", file);
}

mm_status report_write_page(report *r)
{
    report_output out;
    mm_status status = report_output_begin(r, &out, r->html);
    if (status != MM_OK)
        return status;
    fputs(head, out.file);
    print_means(r, out.file);
    print_explanation(r, out.file);
    print_problems(r, out.file);
    fputs("<h2>Pairs</h2>\n", out.file);
    for (size_t i = 0; i < r->pair_count; i++)
        print_pair(r, out.file, i);
    print_models(r, out.file);
    return report_output_end(r, &out, MM_OK);
}

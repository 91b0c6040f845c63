/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of pairs: comma-separated values (RFC 4180), with or without a line of titles. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "report.h"

#define MOST_BYTES ((size_t)16 << 20)
#define MOST_CELLS 64

typedef struct csv {
    const char *path;
    char *next;
    size_t line; /* where the last row began, from 1 */
    size_t lines_read;
    char *cell[MOST_CELLS];
    size_t cells;
} csv;

/* Which cell holds what; MOST_CELLS: none. */
typedef struct columns {
    size_t pair, reference, prompt;
} columns;

static mm_status fail_at(report *r, const csv *c, const char *what)
{
    return cli_fail(r->cli, MM_ERR_INPUT, "%s, line %zu: %s", c->path, c->line, what);
}

/* Unquotes in place; *end is behind the cell. NULL: the quote is not closed. */
static char *take_quoted(csv *c, char *text, char **end)
{
    char *out = text, *in = text + 1;
    for (; *in && (*in != '"' || in[1] == '"'); in++) {
        c->lines_read += *in == '\n';
        in += *in == '"';
        *out++ = *in;
    }
    if (!*in)
        return NULL;
    *end = in + 1 + strspn(in + 1, " \t");
    *out = '\0';
    return text;
}

static char *take_plain(char *text, char **end)
{
    char *last = text + strcspn(text, ",\r\n");
    *end = last;
    while (last > text && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    /* The separator is looked at before it is overwritten. */
    if (last != *end)
        *last = '\0';
    return text;
}

/* Ends the cell; *more: another follows in this row. False: text behind a closing quote. */
static bool end_cell(csv *c, char *end, bool *more)
{
    char separator = *end;
    *more = separator == ',';
    if (separator != '\0' && !strchr(",\r\n", separator))
        return false;
    *end = '\0';
    c->next = end + (separator != '\0');
    if (separator == '\r' && *c->next == '\n')
        c->next++;
    c->lines_read += separator == '\n' || separator == '\r';
    return true;
}

/* *done: the file ends here. */
static mm_status read_row(report *r, csv *c, bool *done)
{
    bool more = true;
    c->cells = 0;
    c->line = c->lines_read + 1;
    *done = *c->next == '\0';
    while (!*done && more) {
        char *text = c->next + strspn(c->next, " \t"), *end = NULL;
        char *cell = *text == '"' ? take_quoted(c, text, &end) : take_plain(text, &end);
        if (!cell)
            return fail_at(r, c, "a quotation mark is not closed");
        if (c->cells == MOST_CELLS)
            return fail_at(r, c, "too many columns");
        if (!end_cell(c, end, &more))
            return fail_at(r, c, "text follows a closing quotation mark");
        c->cell[c->cells++] = cell;
    }
    return MM_OK;
}

static size_t find_column(const csv *c, const char *title)
{
    for (size_t i = 0; i < c->cells; i++) {
        if (strcasecmp(c->cell[i], title) == 0)
            return i;
    }
    return MOST_CELLS;
}

/* True when the row names the columns. */
static bool read_titles(const csv *c, columns *out)
{
    *out = (columns){find_column(c, "pair"), find_column(c, "reference"), find_column(c, "prompt")};
    if (out->reference < MOST_CELLS || out->prompt < MOST_CELLS)
        return true;
    *out = c->cells == 2 ? (columns){MOST_CELLS, 0, 1} : (columns){0, 1, 2};
    return false;
}

/* A path that is not absolute counts from the file that names it, if there is something. */
static char *find_reference(report *r, const char *path)
{
    const char *slash = strrchr(r->pairs_path, '/');
    struct stat info;
    if (*path == '/' || !slash)
        return report_keep(r, "%s", path);
    char *beside = report_keep(r, "%.*s/%s", (int)(slash - r->pairs_path), r->pairs_path, path);
    return !beside || stat(beside, &info) == 0 ? beside : report_keep(r, "%s", path);
}

static mm_status check_name(report *r, const csv *c, const char *name)
{
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail_at(r, c, "the name of a pair must be the name of a folder");
    for (size_t i = 0; i < r->pair_count; i++) {
        if (strcmp(r->pair[i].name, name) == 0)
            return fail_at(r, c, "there is a pair of this name already");
    }
    return MM_OK;
}

static mm_status fill_pair(report *r, const csv *c, const columns *in, report_pair *out)
{
    const char *reference = in->reference < c->cells ? c->cell[in->reference] : "";
    *out = (report_pair){
        .prompt = report_keep(r, "%s", in->prompt < c->cells ? c->cell[in->prompt] : "")};
    if (*reference && !(out->reference = find_reference(r, reference)))
        return report_fail_memory(r);
    if (in->pair < MOST_CELLS && !(out->name = report_keep(r, "%s", c->cell[in->pair])))
        return report_fail_memory(r);
    out->label = out->name ? out->name : report_keep(r, "%zu", r->pair_count + 1);
    return out->prompt && out->label ? MM_OK : report_fail_memory(r);
}

static mm_status add_pair(report *r, const csv *c, const columns *in)
{
    if ((in->reference < MOST_CELLS && in->reference >= c->cells) ||
        (in->prompt < MOST_CELLS && in->prompt >= c->cells) ||
        (in->pair < MOST_CELLS && in->pair >= c->cells))
        return fail_at(r, c, "a row of reference and prompt is expected");
    if (r->measured[3] && (in->reference >= c->cells || !*c->cell[in->reference]))
        return fail_at(r, c, "motion discrepancy needs a reference for every pair");
    mm_status status = in->pair < MOST_CELLS ? check_name(r, c, c->cell[in->pair]) : MM_OK;
    report_pair *grown = realloc(r->pair, (r->pair_count + 1) * sizeof(*grown));
    if (!grown)
        return report_fail_memory(r);
    r->pair = grown;
    if (status == MM_OK)
        status = fill_pair(r, c, in, &r->pair[r->pair_count]);
    if (status == MM_OK)
        r->pair_count++;
    return status;
}

static mm_status read_rows(report *r, csv *c)
{
    columns in = {0};
    bool done = false, first = true;
    for (;;) {
        mm_status status = read_row(r, c, &done);
        if (status != MM_OK || done)
            return status;
        if (c->cells == 1 && !*c->cell[0])
            continue;
        if (!first || !read_titles(c, &in))
            status = add_pair(r, c, &in);
        if (status != MM_OK)
            return status;
        first = false;
    }
}

static mm_status load(report *r, char **out)
{
    FILE *file = fopen(r->pairs_path, "rb");
    char *text = malloc(MOST_BYTES + 2);
    size_t bytes = file && text ? fread(text, 1, MOST_BYTES + 1, file) : 0;
    mm_status status = MM_OK;
    if (!text)
        status = report_fail_memory(r);
    else if (!file || ferror(file))
        status = cli_fail(r->cli, MM_ERR_INPUT, "%s: %s", r->pairs_path, strerror(errno));
    else if (bytes > MOST_BYTES || memchr(text, '\0', bytes))
        status = cli_fail(r->cli, MM_ERR_INPUT, "%s: not a text file of pairs", r->pairs_path);
    if (file)
        fclose(file);
    if (status != MM_OK) {
        free(text);
        return status;
    }
    text[bytes] = '\0';
    *out = text;
    return MM_OK;
}

mm_status report_read_pairs(report *r)
{
    char *text = NULL;
    mm_status status = load(r, &text);
    if (status != MM_OK)
        return status;
    csv c = {.path = r->pairs_path, .next = text};
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        c.next += 3;
    status = read_rows(r, &c);
    if (status == MM_OK && r->pair_count == 0)
        status =
            cli_fail(r->cli, MM_ERR_INPUT,
                     "%s: no pairs; lines of a reference and a prompt are expected", r->pairs_path);
    free(text);
    return status;
}

/* The next letter of a text in which words alone count: '_' between words, 0 at the end. */
static int next_letter(const char **text)
{
    const char *p = *text;
    bool gap = false;
    while (*p && !isalnum((unsigned char)*p) && (unsigned char)*p < 0x80) {
        gap = true;
        p++;
    }
    *text = p;
    if (gap && *p)
        return '_';
    if (*p)
        *text = p + 1;
    return tolower((unsigned char)*p);
}

static bool same_words(const char *a, const char *b)
{
    /* Nothing counts before the first word. */
    while (*a && !isalnum((unsigned char)*a) && (unsigned char)*a < 0x80)
        a++;
    while (*b && !isalnum((unsigned char)*b) && (unsigned char)*b < 0x80)
        b++;
    for (;;) {
        int x = next_letter(&a), y = next_letter(&b);
        if (x != y)
            return false;
        if (x == 0)
            return true;
    }
}

/* The name of the reference without folder and ending; empty without one. */
static void copy_stem(const report_pair *pair, char *out, size_t bytes)
{
    const char *slash = pair->reference ? strrchr(pair->reference, '/') : NULL;
    const char *name = slash ? slash + 1 : pair->reference ? pair->reference : "";
    const char *dot = strrchr(name, '.');
    snprintf(out, bytes, "%.*s", (int)(dot && dot != name ? dot - name : (long)strlen(name)), name);
}

typedef bool (*pair_test)(const report_pair *pair, const char *name);

static bool has_name(const report_pair *pair, const char *name)
{
    return pair->name && strcmp(pair->name, name) == 0;
}

static bool has_prompt(const report_pair *pair, const char *name)
{
    return same_words(pair->prompt, name);
}

static bool has_reference(const report_pair *pair, const char *name)
{
    char stem[256];
    copy_stem(pair, stem, sizeof(stem));
    return same_words(stem, name);
}

static bool has_both(const report_pair *pair, const char *name)
{
    char stem[256], both[2048];
    copy_stem(pair, stem, sizeof(stem));
    snprintf(both, sizeof(both), "%s %s", stem, pair->prompt);
    return same_words(both, name);
}

/* pair_count unless exactly one pair passes. */
static size_t find_only(const report *r, const char *name, pair_test test)
{
    size_t found = r->pair_count;
    for (size_t i = 0; i < r->pair_count; i++) {
        if (!test(&r->pair[i], name))
            continue;
        if (found < r->pair_count)
            return r->pair_count;
        found = i;
    }
    return found;
}

static bool is_number(const char *name)
{
    return *name && strspn(name, "0123456789") == strlen(name) && strlen(name) < 10;
}

size_t report_find_pair(const report *r, const char *name)
{
    static const pair_test tests[] = {has_prompt, has_both, has_reference};
    if (r->pair[0].name)
        return find_only(r, name, has_name);
    if (is_number(name)) {
        size_t number = strtoul(name, NULL, 10), first = r->from_zero ? 0 : 1;
        bool known = number >= first && number - first < r->pair_count;
        return known ? number - first : r->pair_count;
    }
    size_t found = r->pair_count;
    for (size_t i = 0; found == r->pair_count && i < sizeof(tests) / sizeof(*tests); i++)
        found = find_only(r, name, tests[i]);
    return found;
}

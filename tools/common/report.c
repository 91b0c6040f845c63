/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define BAR_WIDTH 24
#define GIB (1024.0 * 1024.0 * 1024.0)
#define LONG_LOAD 1.0 /* seconds; what is quicker is not worth a line */

static bool terminal_moves(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

static bool colours(void)
{
    const char *refused = getenv("NO_COLOR");
    return terminal_moves() && !(refused && *refused);
}

void cli_clear_bar(cli_state *cli)
{
    if (cli->bar_shown)
        fputs("\r\033[K", stderr);
    cli->bar_shown = false;
}

void cli_print_json_string(const char *text)
{
    cli_write_json(stdout, text);
}

void cli_report_log(void *user, int32_t level, const char *message)
{
    static const char *const prefixes[] = {"", "warning: ", "", ""};
    cli_state *cli = user;
    if (level >= MM_LEVEL_DEBUG || cli->quiet)
        return;
    cli_clear_bar(cli);
    fprintf(stderr, "%s: %s%s\n", cli->tool->name, prefixes[level & 3], message);
}

void cli_print_json_number(const char *key, double value)
{
    printf(",\"%s\":", key);
    cli_write_json_number(stdout, value);
}

static void print_if_finite(const char *key, double value)
{
    if (isfinite(value))
        cli_print_json_number(key, value);
}

static void print_json_event(const cli_state *cli, const mm_event *event)
{
    switch (event->kind) {
    case MM_EVENT_LOADED:
        printf("{\"event\":\"loaded\"");
        print_if_finite("seconds", event->seconds);
        break;
    case MM_EVENT_PLAN:
        printf("{\"event\":\"plan\",\"planned_peak_bytes\":%" PRIu64, event->planned_peak_bytes);
        break;
    case MM_EVENT_STEP:
    case MM_EVENT_SUBSTEP:
        printf("{\"event\":\"%s\",\"step\":%" PRId64 ",\"of\":%" PRId64,
               event->kind == MM_EVENT_STEP ? "step" : "substep", event->step, event->of);
        print_if_finite("seconds", event->seconds);
        printf(",\"peak_bytes\":%" PRIu64, event->peak_bytes);
        print_if_finite("loss", event->loss);
        if (cli->seconds_left > 0.0)
            cli_print_json_number("seconds_left", cli->seconds_left);
        break;
    case MM_EVENT_OUTPUT:
        printf("{\"event\":\"output\",\"path\":");
        cli_print_json_string(event->path ? event->path : "");
        break;
    case MM_EVENT_STAGE:
        printf("{\"event\":\"stage\",\"text\":");
        cli_print_json_string(event->text ? event->text : "");
        break;
    default:
        return;
    }
    puts("}");
    fflush(stdout);
}

static void print_duration(double seconds)
{
    long whole = seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (whole >= 3600)
        fprintf(stderr, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        fprintf(stderr, "%ld:%02ld", whole / 60, whole % 60);
}

static void draw_bar(cli_state *cli, const mm_event *event)
{
    int64_t of = event->of > 0 ? event->of : 1;
    int filled = (int)((double)event->step / (double)of * BAR_WIDTH);
    cli->step_seconds =
        cli->step_seconds > 0 ? 0.8 * cli->step_seconds + 0.2 * event->seconds : event->seconds;
    cli_clear_bar(cli);
    fprintf(stderr, "%" PRId64 "/%" PRId64 " [", event->step, event->of);
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fputs("]", stderr);
    if (isfinite(event->loss))
        fprintf(stderr, "  loss %.4g", event->loss);
    fprintf(stderr, "  %.2f s/step  ETA ", cli->step_seconds);
    print_duration(cli->seconds_left > 0.0 ? cli->seconds_left
                                           : cli->step_seconds * (double)(event->of - event->step));
    fprintf(stderr, "  %.1f GiB", (double)event->peak_bytes / GIB);
    fflush(stderr);
    cli->bar_shown = true;
    if (event->step >= event->of) {
        fputc('\n', stderr);
        cli->bar_shown = false;
        cli->step_seconds = 0;
    }
}

static void print_plan(cli_state *cli, const mm_event *event)
{
    double planned = (double)event->planned_peak_bytes / GIB;
    if (cli->dry_run)
        printf("planned peak memory: %.2f GiB (%" PRIu64 " bytes)\n", planned,
               event->planned_peak_bytes);
    else if (!cli->quiet)
        fprintf(stderr, "%s: planned peak memory %.2f GiB\n", cli->tool->name, planned);
}

static bool is_step(const mm_event *event)
{
    return event->kind == MM_EVENT_STEP || event->kind == MM_EVENT_SUBSTEP;
}

static void print_text_event(cli_state *cli, const mm_event *event)
{
    if (is_step(event)) {
        if (!cli->quiet && terminal_moves())
            draw_bar(cli, event);
        return;
    }
    cli_clear_bar(cli);
    if (event->kind == MM_EVENT_PLAN)
        print_plan(cli, event);
    else if (event->kind == MM_EVENT_OUTPUT && event->path)
        printf("%s\n", event->path);
    else if (event->kind == MM_EVENT_LOADED && event->seconds >= LONG_LOAD && !cli->quiet)
        fprintf(stderr, "%s: weights loaded in %.1f s\n", cli->tool->name, event->seconds);
    else if (event->kind == MM_EVENT_STAGE && event->text && !cli->quiet)
        fprintf(stderr, "%s: %s\n", cli->tool->name, event->text);
}

int32_t cli_report_event(void *user, const mm_event *event)
{
    cli_state *cli = user;
    if (cli->json)
        print_json_event(cli, event);
    if (!cli->json || is_step(event))
        print_text_event(cli, event);
    return 0;
}

void cli_report_error(cli_state *cli, mm_status status)
{
    const char *message = *cli->error ? cli->error : mm_last_error();
    bool colour = colours();
    cli_clear_bar(cli);
    if (status == MM_ERR_CANCELLED)
        fprintf(stderr, "%s: %s\n", cli->tool->name, message);
    else
        fprintf(stderr, "%s: %serror:%s %s\n", cli->tool->name, colour ? "\033[1;31m" : "",
                colour ? "\033[0m" : "", message);
    if (!cli->json)
        return;
    printf("{\"event\":\"error\",\"status\":%d,\"name\":\"%s\",\"message\":", (int)status,
           mm_status_name(status));
    cli_print_json_string(message);
    puts("}");
}

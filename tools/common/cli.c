/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

mm_status cli_fail(cli_state *cli, mm_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(cli->error, sizeof(cli->error), format, args);
    va_end(args);
    return status;
}

void cli_notice(cli_state *cli, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cli_report_log(cli, MM_LEVEL_NOTICE, text);
}

static void print_notices(cli_state *cli, const mm_options *options)
{
    const char *line = options ? mm_options_notices(options) : "";
    while (*line) {
        size_t length = strcspn(line, "\n");
        cli_notice(cli, "%.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static mm_status load_config(cli_state *cli)
{
    if (!cli->config)
        return MM_OK;
    if (!cli->options)
        return mm_options_load(cli->context_options, NULL, cli->config);
    return mm_options_load(cli->options, cli->context_options, cli->config);
}

static mm_status prepare(cli_state *cli, int argc, char **argv)
{
    mm_status status = mm_options_create(&cli->context_options, "context");
    if (status == MM_OK && cli->tool->table)
        status = mm_options_create(&cli->options, cli->tool->table);
    cli->operands = calloc(cli->tool->most_operands + 1, sizeof(*cli->operands));
    if (status == MM_OK && !cli->operands)
        status = cli_fail(cli, MM_ERR_MEMORY, "not enough memory");
    if (status == MM_OK)
        status = cli_parse(cli, argc, argv);
    if (status != MM_OK || cli->help || cli->version || cli->describe)
        return status;
    status = load_config(cli);
    if (status == MM_OK) {
        print_notices(cli, cli->options);
        print_notices(cli, cli->context_options);
    }
    return status;
}

bool cli_begin(cli_state *cli, const cli_tool *tool, int argc, char **argv, mm_status *status)
{
    *cli = (cli_state){.tool = tool};
    /* A reader that goes away is a failed write, not a reason to die in the middle of a step. */
    signal(SIGPIPE, SIG_IGN);
    *status = prepare(cli, argc, argv);
    if (*status != MM_OK)
        return true;
    if (cli->help)
        cli_print_help(tool);
    else if (cli->version)
        *status = cli_print_version(cli);
    else if (cli->describe)
        *status = cli_describe(cli);
    return cli->help || cli->version || cli->describe;
}

mm_status cli_open_context(cli_state *cli)
{
    mm_status status = mm_context_create(&cli->context, cli->context_options);
    if (status != MM_OK)
        return status;
    mm_context_set_log(cli->context, cli_report_log, cli);
    mm_context_set_events(cli->context, cli_report_event, cli);
    cli_connect_signals(cli->context);
    return MM_OK;
}

mm_status cli_open_model(cli_state *cli, const char *directory, mm_model **out)
{
    mm_status status = cli_open_context(cli);
    return status == MM_OK ? mm_model_open(out, cli->context, directory) : status;
}

int cli_end(cli_state *cli, mm_status status)
{
    if (cli->context)
        cli_disconnect_signals();
    if (status != MM_OK)
        cli_report_error(cli, status);
    mm_context_free(&cli->context);
    mm_options_free(&cli->options);
    mm_options_free(&cli->context_options);
    free(cli->operands);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == MM_OK) {
        fprintf(stderr, "%s: error: standard output cannot be written\n", cli->tool->name);
        status = MM_ERR_RUNTIME;
    }
    return -status;
}

const char *cli_text(cli_state *cli, const char *key)
{
    const char *text = NULL;
    if (mm_options_get(cli->options, key, 0, &text) != MM_OK)
        return NULL;
    return text && *text ? text : NULL;
}

mm_status cli_require(cli_state *cli, const char *key)
{
    char name[64];
    if (cli_text(cli, key))
        return MM_OK;
    snprintf(name, sizeof(name), "%s", key);
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return cli_fail(cli, MM_ERR_USAGE, "--%s is needed; see --help", name);
}

mm_status cli_choose_seed(cli_state *cli)
{
    uint32_t bits;
    char text[32];
    if (mm_options_source(cli->options, "seed") > MM_SOURCE_DEFAULT)
        return MM_OK;
    if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        return cli_fail(cli, MM_ERR_RUNTIME,
                        "no random seed from the system; give one with --seed");
    snprintf(text, sizeof(text), "%" PRIu32, bits);
    cli_notice(cli, "seed %s", text);
    return mm_options_set(cli->options, "seed", text, MM_SOURCE_FILE);
}

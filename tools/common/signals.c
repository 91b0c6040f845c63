/* SPDX-License-Identifier: BSD-2-Clause */
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "cli.h"

static _Atomic(mm_context *) target;
static atomic_int received;

static void on_signal(int number)
{
    (void)number;
    mm_context *context = atomic_load(&target);
    if (!context)
        return;
    if (atomic_fetch_add(&received, 1) == 0)
        mm_context_stop(context);
    else
        mm_context_cancel(context);
}

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void cli_connect_signals(mm_context *context)
{
    atomic_store(&target, context);
    handle(on_signal);
}

void cli_disconnect_signals(void)
{
    handle(SIG_DFL);
    atomic_store(&target, NULL);
}

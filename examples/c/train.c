/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trains a motion LoRA on one video, with a progress bar:
 *
 *     train MODEL VIDEO PROMPT RUN [option=value ...]
 *
 * Ctrl-C ends after the step at hand, with a checkpoint; a second one ends at once. The same
 * command then goes on where it ended; with a larger steps=N a finished run too. Options: table
 * "train" (docs/options.md).
 */
#include <signal.h>

#include <motionmatcher/trainer.h>

#include "common.h"

static mm_context *context;

/* mm_context_stop() and mm_context_cancel() may be called from anywhere, signal handlers too. */
static void on_interrupt(int number)
{
    static volatile sig_atomic_t count;
    (void)number;
    if (count++ == 0)
        mm_context_stop(context);
    else
        mm_context_cancel(context);
}

static int32_t show_progress(void *user, const mm_event *event)
{
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    (void)user;
    if (event->kind != MM_EVENT_STEP)
        return 0;
    int done = (int)(event->step * WIDTH / event->of);
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)done);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %d/%d  loss %.4f  %.1f s left ", bar, (int)event->step, (int)event->of,
            event->loss, event->seconds * (double)(event->of - event->step));
    if (event->step == event->of)
        fputc('\n', stderr);
    return 0; /* anything else would stop, as mm_context_stop() does */
}

/* Goes on with the run where there is one. Its settings then hold; more steps may be asked for. */
static mm_status begin(mm_trainer **out, mm_model *model, mm_options *options, char **arguments)
{
    const char *video_path = arguments[2], *prompt = arguments[3], *run = arguments[4];
    mm_video *video = NULL;
    mm_status status = mm_trainer_load_options(options, run);
    if (status == MM_OK) {
        fprintf(stderr, "going on in %s\n", run);
        return mm_trainer_resume(out, model, options);
    }
    if (status == MM_ERR_INPUT) /* no run there yet */
        status = mm_options_set(options, "output_dir", run, MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_trainer_create(out, model, options);
    if (status == MM_OK)
        status = mm_video_decode(&video, context, video_path, options);
    if (status == MM_OK)
        status = mm_trainer_add_clip(*out, video, prompt);
    mm_video_free(&video);
    return status;
}

int main(int argc, char **argv)
{
    mm_options *options = NULL;
    mm_model *model = NULL;
    mm_trainer *trainer = NULL;
    mm_status status;
    if (argc < 5) {
        fprintf(stderr, "usage: %s MODEL VIDEO PROMPT RUN [option=value ...]\n", argv[0]);
        return 2;
    }
    status = parse_options(&options, "train", argc - 5, argv + 5);
    if (status == MM_OK)
        status = mm_context_create(&context, NULL);
    if (status == MM_OK) {
        mm_context_set_log(context, print_message, NULL);
        mm_context_set_events(context, show_progress, NULL);
        signal(SIGINT, on_interrupt);
        status = mm_model_open(&model, context, argv[1]);
    }
    if (status == MM_OK)
        status = begin(&trainer, model, options, argv);
    if (status == MM_OK)
        status = mm_trainer_run(trainer);
    signal(SIGINT, SIG_DFL);
    mm_trainer_free(&trainer);
    mm_model_free(&model);
    mm_context_free(&context);
    mm_options_free(&options);
    return finish(status);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Draws a video and writes its frames as they are, 8-bit RGB, one after the other:
 *
 *     sample MODEL PROMPT FILE [option=value ...]
 *
 * FILE "-" is the standard output, to pipe into another program, which the last line on the
 * standard error tells how to read it. lora=RUN/checkpoint-400 adds a motion. Options: table
 * "sample" (docs/options.md).
 */
#include <motionmatcher/sampler.h>

#include "common.h"

static int32_t show_steps(void *user, const mm_event *event)
{
    (void)user;
    if (event->kind == MM_EVENT_STEP)
        fprintf(stderr, "\rstep %d/%d%s", (int)event->step, (int)event->of,
                event->step == event->of ? "\n" : "");
    return 0;
}

/* The frames stay where the library has them: nothing is copied. */
static int write_frames(const mm_video *video, const char *path)
{
    mm_tensor *frames = NULL;
    int to_stdout = strcmp(path, "-") == 0, good = 0;
    FILE *file = to_stdout ? stdout : fopen(path, "wb");
    size_t bytes = 3 * (size_t)mm_video_frames(video) * (size_t)mm_video_height(video) *
                   (size_t)mm_video_width(video);
    if (file && mm_video_tensor(video, &frames) == MM_OK)
        good = fwrite(mm_tensor_data(frames), 1, bytes, file) == bytes && fflush(file) == 0;
    if (file && !to_stdout)
        good = fclose(file) == 0 && good;
    mm_tensor_free(&frames);
    if (!good) {
        perror(path);
        return 1;
    }
    fprintf(stderr, "ffplay -f rawvideo -pixel_format rgb24 -video_size %dx%d -framerate %g %s\n",
            (int)mm_video_width(video), (int)mm_video_height(video), mm_video_fps(video), path);
    return 0;
}

static mm_status draw(mm_video **out, mm_context *context, mm_options *options, char **arguments)
{
    mm_model *model = NULL;
    mm_sampler *sampler = NULL;
    mm_status status = mm_options_set(options, "prompt", arguments[2], MM_SOURCE_SET);
    if (status == MM_OK)
        status = mm_model_open(&model, context, arguments[1]);
    if (status == MM_OK)
        status = mm_sampler_create(&sampler, model, options);
    if (status == MM_OK)
        status = mm_sampler_run(sampler, out);
    mm_sampler_free(&sampler);
    mm_model_free(&model);
    return status;
}

int main(int argc, char **argv)
{
    mm_context *context = NULL;
    mm_options *options = NULL;
    mm_video *video = NULL;
    mm_status status;
    int code;
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL PROMPT FILE [option=value ...]\n", argv[0]);
        return 2;
    }
    status = parse_options(&options, "sample", argc - 4, argv + 4);
    if (status == MM_OK)
        status = mm_context_create(&context, NULL);
    if (status == MM_OK) {
        mm_context_set_log(context, print_message, NULL);
        mm_context_set_events(context, show_steps, NULL);
        status = draw(&video, context, options, argv);
    }
    code = status == MM_OK ? write_frames(video, argv[3]) : finish(status);
    mm_video_free(&video);
    mm_options_free(&options);
    mm_context_free(&context);
    return code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a word is seen in each frame of a video, as gray pictures that need no library to write:
 *
 *     features MODEL VIDEO PROMPT WORD PREFIX [option=value ...]
 *
 * writes PREFIX-0.pgm, PREFIX-1.pgm, ... one for each frame, bright where the word is. WORD is a
 * token of the prompt, as the model splits it. Options: table "features" (docs/options.md).
 */
#include <motionmatcher/extractor.h>

#include "common.h"

#define SCALE 8 /* pixels a side for one place of the map */

static int64_t find_word(const mm_extractor *extractor, const char *word)
{
    for (int64_t i = 0; i < mm_extractor_tokens(extractor); i++) {
        if (strcmp(mm_extractor_token(extractor, i), word) == 0)
            return i;
    }
    fprintf(stderr, "'%s' is no token of the prompt; these are:", word);
    for (int64_t i = 0; i < mm_extractor_tokens(extractor); i++)
        fprintf(stderr, " %s", mm_extractor_token(extractor, i));
    fputc('\n', stderr);
    return -1;
}

/* One token's probabilities in all frames, and their range. Elements are found by the strides. */
typedef struct heat {
    const float *first;
    int64_t frames, height, width, frame_stride, row_stride, column_stride;
    float low, high;
} heat;

static float at(const heat *h, int64_t frame, int64_t row, int64_t column)
{
    return h->first[frame * h->frame_stride + row * h->row_stride + column * h->column_stride];
}

static heat heat_of(const mm_tensor *ca, int64_t token)
{
    const int64_t *shape = mm_tensor_shape(ca), *strides = mm_tensor_strides(ca);
    const float *data = mm_tensor_data(ca);
    heat h = {data + token * strides[3],
              shape[0],
              shape[1],
              shape[2],
              strides[0],
              strides[1],
              strides[2],
              1.0f,
              0.0f};
    for (int64_t i = 0; i < h.frames * h.height * h.width; i++) {
        float value = at(&h, i / (h.height * h.width), i / h.width % h.height, i % h.width);
        h.low = value < h.low ? value : h.low;
        h.high = value > h.high ? value : h.high;
    }
    return h;
}

static int write_picture(const heat *h, int64_t frame, const char *prefix)
{
    char path[1024];
    float range = h->high > h->low ? h->high - h->low : 1.0f;
    FILE *file;
    snprintf(path, sizeof(path), "%s-%d.pgm", prefix, (int)frame);
    file = fopen(path, "wb");
    if (!file) {
        perror(path);
        return 1;
    }
    fprintf(file, "P5\n%d %d\n255\n", (int)h->width * SCALE, (int)h->height * SCALE);
    for (int64_t y = 0; y < h->height * SCALE; y++) {
        for (int64_t x = 0; x < h->width * SCALE; x++)
            fputc((int)(255.0f * (at(h, frame, y / SCALE, x / SCALE) - h->low) / range + 0.5f),
                  file);
    }
    return fclose(file) != 0;
}

static int write_pictures(const mm_extractor *extractor, const char *word, const char *prefix)
{
    mm_tensor *ca = NULL;
    int64_t token = find_word(extractor, word);
    int code = token < 0 ? 2 : finish(mm_extractor_ca(extractor, &ca));
    if (code == 0) {
        heat h = heat_of(ca, token);
        for (int64_t frame = 0; code == 0 && frame < h.frames; frame++)
            code = write_picture(&h, frame, prefix);
    }
    mm_tensor_free(&ca);
    return code;
}

static mm_status look(mm_extractor **out, mm_context *context, mm_options *options,
                      char **arguments)
{
    mm_model *model = NULL;
    mm_video *video = NULL;
    const char *timestep = NULL;
    mm_status status = mm_model_open(&model, context, arguments[1]);
    if (status == MM_OK)
        status = mm_extractor_create(out, model, options);
    if (status == MM_OK)
        status = mm_video_decode(&video, context, arguments[2], options);
    if (status == MM_OK)
        status = mm_extractor_set_video(*out, video, arguments[3]);
    if (status == MM_OK)
        status = mm_options_get(options, "timestep", 0, &timestep);
    if (status == MM_OK)
        status = mm_extractor_run_at(*out, timestep ? atoi(timestep) : 500, NULL);
    mm_video_free(&video);
    mm_model_free(&model); /* the extractor keeps it alive */
    return status;
}

int main(int argc, char **argv)
{
    mm_context *context = NULL;
    mm_options *options = NULL;
    mm_extractor *extractor = NULL;
    mm_status status;
    int code;
    if (argc < 6) {
        fprintf(stderr, "usage: %s MODEL VIDEO PROMPT WORD PREFIX [option=value ...]\n", argv[0]);
        return 2;
    }
    status = parse_options(&options, "features", argc - 6, argv + 6);
    if (status == MM_OK)
        status = mm_context_create(&context, NULL);
    if (status == MM_OK) {
        mm_context_set_log(context, print_message, NULL);
        status = look(&extractor, context, options, argv);
    }
    code = status == MM_OK ? write_pictures(extractor, argv[4], argv[5]) : finish(status);
    mm_extractor_free(&extractor);
    mm_options_free(&options);
    mm_context_free(&context);
    return code;
}

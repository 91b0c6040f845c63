/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program of others does first; compiled as C99 and as C++17 with what is installed. */
#include <motionmatcher/context.h>
#include <motionmatcher/evaluator.h>
#include <motionmatcher/extractor.h>
#include <motionmatcher/lora.h>
#include <motionmatcher/model.h>
#include <motionmatcher/options.h>
#include <motionmatcher/retriever.h>
#include <motionmatcher/sampler.h>
#include <motionmatcher/status.h>
#include <motionmatcher/tensor.h>
#include <motionmatcher/trainer.h>
#include <motionmatcher/version.h>
#include <motionmatcher/video.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, mm_last_error());
    return 1;
}

static int tokenize(mm_context *context, const char *directory)
{
    mm_model *model = NULL;
    int64_t ids[77];
    if (mm_model_open(&model, context, directory) != MM_OK)
        return fail("open");
    if (mm_model_tokenize(model, "a red circle", ids) != MM_OK || ids[1] == ids[76])
        return fail("tokenize");
    mm_model_free(&model);
    return 0;
}

int main(int argc, char **argv)
{
    mm_options *options = NULL;
    mm_context *context = NULL;
    mm_model *model = NULL;
    const char *value = NULL;
    if (mm_abi_version() != MM_ABI_VERSION || strcmp(mm_version(), MM_VERSION) != 0)
        return fail("header and library are of different versions");
    if (mm_options_create(&options, "context") != MM_OK ||
        mm_options_set(options, "threads", "1", MM_SOURCE_COMMAND_LINE) != MM_OK ||
        mm_options_get(options, "threads", 0, &value) != MM_OK || strcmp(value, "1") != 0)
        return fail("options");
    if (mm_context_create(&context, options) != MM_OK)
        return fail("context");
    mm_options_free(&options);
    if (mm_model_open(&model, context, "/nonexistent") != MM_ERR_INPUT || model != NULL)
        return fail("a model that is not there");
    int result = argc > 1 ? tokenize(context, argv[1]) : 0;
    mm_context_free(&context);
    if (result == 0)
        printf("%s, ABI %u, on %s\n", mm_version(), (unsigned)mm_abi_version(), MM_VERSION);
    return result;
}

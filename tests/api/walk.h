/* SPDX-License-Identifier: BSD-2-Clause */
/* What the walks over the exported functions share. */
#ifndef MM_TESTS_WALK_H
#define MM_TESTS_WALK_H

#include "check.h"
#include "motionmatcher/evaluator.h"
#include "motionmatcher/extractor.h"
#include "motionmatcher/lora.h"
#include "motionmatcher/retriever.h"
#include "motionmatcher/sampler.h"
#include "motionmatcher/trainer.h"
#include "motionmatcher/version.h"

#define WALK_MODEL FIXTURES "/quickstart-model"
#define WALK_FRAMES 2
#define WALK_SIDE 32
#define NOT_UTF8 "\xff\xfe"

extern mm_context *walk_context;
extern mm_model *walk_model;
extern mm_video *walk_video; /* 2 frames of 32x32 */
/* A directory; in it a text file, nothing, a file that is no safetensors, and a noise of whole
   numbers. */
extern char *walk_scratch, *walk_file, *walk_missing, *walk_garbage, *walk_noise_i64;

/* Leaves another call's message, so that a call that leaves none is seen. */
void walk_poison(void);
void walk_check(const char *call, mm_status have, mm_status want);
/* Of a table with a clip's size, which are the video's. */
mm_options *walk_options(const char *table);

#define REFUSED(call, status)                \
    do {                                     \
        walk_poison();                       \
        walk_check(#call, (call), (status)); \
    } while (0)

/* The same for a call whose first argument is &out: it must be NULL afterwards. */
#define REFUSED_OUT(out, call, status) \
    do {                               \
        (out) = (void *)1;             \
        REFUSED(call, status);         \
        assert_null(out);              \
    } while (0)

#define WALK(function) void walk_##function(void);
#include "walk.def"
#undef WALK

#endif

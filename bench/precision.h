/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_BENCH_PRECISION_H
#define MM_BENCH_PRECISION_H

#include <stdlib.h>
#include <string.h>

#include "base/shape.h"

static mm_dtype parse_precision(const char *text)
{
    if (strcmp(text, "bf16") == 0)
        return MM_BF16;
    if (strcmp(text, "f32") != 0)
        exit(2);
    return MM_F32;
}

#endif

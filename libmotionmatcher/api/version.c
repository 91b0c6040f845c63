/* SPDX-License-Identifier: BSD-2-Clause */
#include "motionmatcher/version.h"

const char *mm_version(void)
{
    return MM_VERSION;
}

uint32_t mm_abi_version(void)
{
    return MM_ABI_VERSION;
}

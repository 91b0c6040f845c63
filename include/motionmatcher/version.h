/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file version.h
 * The single source of the version numbers; the build reads them from here.
 */
#ifndef MOTIONMATCHER_VERSION_H
#define MOTIONMATCHER_VERSION_H

#include <stdint.h>

#include "motionmatcher/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the release. */
#define MM_VERSION "0.1.0"
/** Number of the ABI, and of the soname: raised only when an existing program would break. */
#define MM_ABI_VERSION 0

/** The release that is running, as "major.minor.patch". Thread-safety: any thread. */
MM_API const char *mm_version(void);
/** The ABI that is running; compare with MM_ABI_VERSION of the header. Thread-safety: any thread.
 */
MM_API uint32_t mm_abi_version(void);

#ifdef __cplusplus
}
#endif

#endif

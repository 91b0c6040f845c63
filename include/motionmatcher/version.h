/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file version.h
 * The single source of the version numbers; the build reads them from here.
 *
 * Two numbers say two things. The release counts what is new and is for people. The number of the
 * ABI says whether a program and a library fit: while it is the same, what worked goes on working,
 * whichever of the two is newer. A program that is linked as usual need not look: the loader finds
 * the library by the soname, which ends with the number. One that loads the library by hand
 * (dlopen, ctypes) calls mm_abi_version() before any other function.
 */
#ifndef MOTIONMATCHER_VERSION_H
#define MOTIONMATCHER_VERSION_H

#include <stdint.h>

#include "motionmatcher/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the release that this header belongs to: "major.minor.patch", plain numbers. */
#define MM_VERSION "0.1.0"
/**
 * Number of the ABI, and of the soname: raised only when an existing program would break, which
 * docs/api-stability.md explains.
 */
#define MM_ABI_VERSION 0

/**
 * The release that is running, which may be older or newer than MM_VERSION.
 * @return "major.minor.patch", a static string, never NULL. Thread-safety: any thread.
 */
MM_API const char *mm_version(void);
/**
 * The ABI that is running. Where it is not the MM_ABI_VERSION that a program was compiled with, no
 * other function may be called.
 * @return the number in the library's soname. Thread-safety: any thread.
 */
MM_API uint32_t mm_abi_version(void);

#ifdef __cplusplus
}
#endif

#endif

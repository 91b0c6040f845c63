/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file export.h
 * MM_API marks what the shared library exports; everything else is hidden.
 *
 * Programs need nothing of this file: the other headers include it. An exported function keeps
 * name, parameters and meaning within one MM_ABI_VERSION (version.h).
 */
#ifndef MOTIONMATCHER_EXPORT_H
#define MOTIONMATCHER_EXPORT_H

/**
 * Before every function of the library. A name without it is no part of the interface, even where
 * the static library holds it. All functions have C linkage: the headers declare them so in C++.
 */
#if defined(__GNUC__)
#define MM_API __attribute__((visibility("default")))
#else
#define MM_API
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/** @file export.h  MM_API marks what the shared library exports; everything else is hidden. */
#ifndef MOTIONMATCHER_EXPORT_H
#define MOTIONMATCHER_EXPORT_H

/** Exported by the shared library. */
#if defined(__GNUC__)
#define MM_API __attribute__((visibility("default")))
#else
#define MM_API
#endif

#endif

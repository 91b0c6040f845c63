/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FFmpeg reports trouble with a file on stderr, through a log that belongs to the whole process and
 * has neither a switch per file nor a way to ask for the callback in use. A library must not print,
 * so every call into FFmpeg runs between these two. The level is put back when the last call that
 * runs at the time ends; a program that has set a callback of its own goes on receiving everything.
 */
#ifndef MM_MEDIA_QUIET_H
#define MM_MEDIA_QUIET_H

void mm_quiet_begin(void);
void mm_quiet_end(void);

#endif

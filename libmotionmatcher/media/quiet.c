/* SPDX-License-Identifier: BSD-2-Clause */
#include "media/quiet.h"

#include <libavutil/log.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int running, saved_level;

void mm_quiet_begin(void)
{
    pthread_mutex_lock(&lock);
    if (running++ == 0) {
        saved_level = av_log_get_level();
        av_log_set_level(AV_LOG_QUIET);
    }
    pthread_mutex_unlock(&lock);
}

void mm_quiet_end(void)
{
    pthread_mutex_lock(&lock);
    if (--running == 0)
        av_log_set_level(saved_level);
    pthread_mutex_unlock(&lock);
}

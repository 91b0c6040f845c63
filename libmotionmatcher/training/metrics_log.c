/* SPDX-License-Identifier: BSD-2-Clause */
#include "training/metrics_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

/* Far above what ten million steps write. */
static const size_t log_limit = (size_t)4 << 30;

static int64_t line_step(const char *line, size_t bytes)
{
    mm_json_document document = {0};
    int64_t step = INT64_MAX;
    if (mm_json_parse(&document, "metrics.jsonl", line, bytes, NULL) == MM_OK)
        mm_json_get_int(&document, document.root, "step", INT64_MAX, 0, INT64_MAX, &step, NULL);
    mm_json_free(&document);
    return step;
}

/* Length of the part whose lines are whole and not beyond `done`. */
static size_t kept_length(const char *text, size_t bytes, int64_t done)
{
    size_t kept = 0;
    while (kept < bytes) {
        const char *end = memchr(text + kept, '\n', bytes - kept);
        if (!end || line_step(text + kept, (size_t)(end - text) - kept) > done)
            break;
        kept = (size_t)(end - text) + 1;
    }
    return kept;
}

static mm_status cut(const char *path, int64_t done, mm_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    if (!mm_path_is_file(path))
        return MM_OK;
    MM_TRY(mm_file_read_all(path, log_limit, &text, &bytes, error));
    size_t kept = kept_length(text, bytes, done);
    mm_status status = kept == bytes ? MM_OK : mm_output_file_write_all(path, text, kept, error);
    mm_free(text);
    return status;
}

mm_status mm_metrics_log_open(mm_metrics_log *log, const char *directory, int64_t done,
                              mm_error *error)
{
    *log = (mm_metrics_log){.descriptor = -1, .path = mm_path_join(directory, "metrics.jsonl")};
    if (!log->path)
        return mm_fail_memory(error, "a path", strlen(directory));
    MM_TRY(cut(log->path, done, error));
    log->descriptor = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log->descriptor < 0)
        return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be written: %s", log->path,
                       strerror(errno));
    return MM_OK;
}

static void put_number(mm_json_writer *json, const char *key, double value)
{
    if (isfinite(value))
        mm_json_put_double(json, key, value);
    else
        mm_json_put_null(json, key);
}

static mm_status write_line(mm_metrics_log *log, const char *line, size_t bytes, mm_error *error)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(log->descriptor, line + done, bytes - done);
        if (n < 0 && errno != EINTR)
            return mm_fail(error, MM_ERR_RUNTIME, "%s: cannot be written: %s", log->path,
                           strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return MM_OK;
}

mm_status mm_metrics_log_append(mm_metrics_log *log, const mm_step_report *report, mm_error *error)
{
    mm_json_writer json = {0};
    mm_json_begin(&json, NULL, '{');
    mm_json_put_int(&json, "step", report->step);
    mm_json_put_int(&json, "timestep", report->timestep);
    put_number(&json, "loss", report->losses.loss);
    put_number(&json, "loss_spatial", report->losses.spatial);
    put_number(&json, "loss_temporal", report->losses.temporal);
    put_number(&json, "seconds", report->seconds);
    mm_json_put_int(&json, "peak_bytes", (int64_t)mm_resident_peak_bytes());
    mm_json_end(&json, '}');
    char *line = json.failed ? NULL : mm_format("%s\n", json.text);
    mm_status status = line ? write_line(log, line, strlen(line), error)
                            : mm_fail_memory(error, "a line of metrics", json.bytes);
    mm_free(line);
    mm_free(json.text);
    return status;
}

void mm_metrics_log_close(mm_metrics_log *log)
{
    if (log->descriptor >= 0)
        close(log->descriptor);
    mm_free(log->path);
    *log = (mm_metrics_log){.descriptor = -1};
}

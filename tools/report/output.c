/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

mm_status report_output_begin(report *r, report_output *out, char *path)
{
    *out = (report_output){.path = path, .temporary = report_keep(r, "%s.XXXXXX", path)};
    int descriptor = out->temporary ? mkstemp(out->temporary) : -1;
    if (!out->temporary)
        return report_fail_memory(r);
    if (descriptor >= 0)
        out->file = fdopen(descriptor, "wb");
    if (out->file)
        return MM_OK;
    int reason = errno;
    if (descriptor >= 0)
        close(descriptor);
    return cli_fail(r->cli, MM_ERR_RUNTIME, "%s: cannot be created: %s", path, strerror(reason));
}

mm_status report_output_end(report *r, report_output *out, mm_status status)
{
    FILE *file = out->file;
    bool written = file && fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
    int reason = errno;
    /* mkstemp() lets nobody else read; a report is like any other file. */
    mode_t mask = umask(0);
    umask(mask);
    written = written && fchmod(fileno(file), 0666 & ~mask) == 0;
    if (file && fclose(file) != 0)
        written = false;
    if (status == MM_OK && written && rename(out->temporary, out->path) == 0)
        return MM_OK;
    if (written)
        reason = errno;
    unlink(out->temporary);
    return status != MM_OK ? status
                           : cli_fail(r->cli, MM_ERR_RUNTIME, "%s: cannot be written: %s",
                                      out->path, strerror(reason));
}

mm_status report_output_try(report *r, char *path)
{
    report_output out;
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return cli_fail(r->cli, MM_ERR_RUNTIME, "%s: cannot be written: it is no file", path);
    mm_status status = report_output_begin(r, &out, path);
    if (status != MM_OK)
        return status;
    fclose(out.file);
    unlink(out.temporary);
    return MM_OK;
}

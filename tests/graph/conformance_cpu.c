/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "conformance.h"

/* Usage: conformance-cpu MASK; 77 where the processor lacks that instruction set. */
int main(int argc, char **argv)
{
    mm_backend *backend;
    mm_error error;
    const char *mask = argc > 1 ? argv[1] : NULL;
    if (mm_cpu_backend_create(&backend, 2, mask, &error) != MM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    if (mask && strcmp(mm_cpu_backend_isa(backend), mask) != 0) {
        fprintf(stderr, "this processor has no %s\n", mask);
        backend->table->free(backend);
        return 77;
    }
    int failures = mm_conformance_run(backend, MM_F32, false);
    failures += mm_conformance_run(backend, MM_F32, true);
    if (backend->table->computes(backend, MM_BF16))
        failures += mm_conformance_run(backend, MM_BF16, false);
    backend->table->free(backend);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "backends/cpu/cpu.h"
#include "conformance.h"

/* Usage: conformance-cpu [sse4|avx2|avx512]; 77 where the processor lacks that instruction set. */
int main(int argc, char **argv)
{
    mm_backend *backend;
    mm_error error;
    if (mm_cpu_backend_create(&backend, 2, argc > 1 ? argv[1] : NULL, &error) != MM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 77;
    }
    int failures = mm_conformance_run(backend, false) + mm_conformance_run(backend, true);
    backend->table->free(backend);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

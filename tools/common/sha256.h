/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 (FIPS 180-4): names results by what they were made of. */
#ifndef MM_TOOLS_SHA256_H
#define MM_TOOLS_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_DIGEST_TEXT 65 /* 64 digits and a NUL */

typedef struct cli_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} cli_sha256;

void cli_sha256_begin(cli_sha256 *hash);
void cli_sha256_add(cli_sha256 *hash, const void *data, size_t bytes);
void cli_sha256_end(cli_sha256 *hash, char out[CLI_DIGEST_TEXT]);
/* Adds a file's content; false when it cannot be read, with errno set. */
bool cli_sha256_add_file(cli_sha256 *hash, const char *path);

#endif

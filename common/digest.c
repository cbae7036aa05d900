/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/digest.h"

#include "common/cleanup.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>

static void write_text(const unsigned char hash[crypto_hash_sha256_BYTES],
                       char ret_text[DIGEST_TEXT_BYTES])
{
    snprintf(ret_text, DIGEST_TEXT_BYTES, "sha256:");
    sodium_bin2hex(ret_text + 7, DIGEST_TEXT_BYTES - 7, hash, crypto_hash_sha256_BYTES);
}

void digest_bytes(const void *data, size_t length, char ret_text[DIGEST_TEXT_BYTES])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, data, length);
    write_text(hash, ret_text);
}

int digest_file(const char *path, char ret_text[DIGEST_TEXT_BYTES], struct err *e)
{
    cleanup_file FILE *file = fopen(path, "re");
    if (!file)
        return err_system(e, errno, "cannot open %s", path);
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    unsigned char block[64 << 10];
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        crypto_hash_sha256_update(&state, block, n);
    if (ferror(file))
        return err_system(e, errno, "cannot read %s", path);
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&state, hash);
    write_text(hash, ret_text);
    return 0;
}

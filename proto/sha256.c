#include <wolfssl/options.h>

#include "proto/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <wolfssl/wolfcrypt/hash.h>

void
sha256_of(const void *bytes, size_t len, uint8_t out[SHA256_LEN])
{
    if (len > UINT32_MAX || wc_Sha256Hash(bytes, (word32)len, out))
        abort();
}

void
sha256_hex(const uint8_t sha256[SHA256_LEN], char out[SHA256_HEX_LEN + 1])
{
    for (size_t i = 0; i < SHA256_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", sha256[i]);
}

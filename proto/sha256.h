/* sha256.h - SHA-256 (FIPS 180-4) of bytes that lie in one piece.
 *
 * Neither function fails: where wolfSSL cannot compute a digest the process ends, for a
 * constant in its place would be everybody's.  May be called from any thread.  (The
 * digest of a certificate is cert_fingerprint(), one under a label nms/digest.h.)
 */
#ifndef PROTO_SHA256_H
#define PROTO_SHA256_H

#include "proto/ident.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SHA256_HEX_LEN = 2 * SHA256_LEN /* without NUL */
};

void sha256_of(const void *bytes, size_t len, uint8_t out[SHA256_LEN]);

/* A digest in lower-case hex, for people and for keys of records. */
void sha256_hex(const uint8_t sha256[SHA256_LEN], char out[SHA256_HEX_LEN + 1]);

#endif

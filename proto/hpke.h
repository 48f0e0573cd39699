/* hpke.h - bytes for whoever holds a private key, from anybody who has the public one.
 *
 * HPKE (RFC 9180) in its base mode, for one message: DHKEM(X25519, HKDF-SHA256),
 * HKDF-SHA256, ChaCha20-Poly1305.  What is sealed is
 *
 *     enc (32) | the message, encrypted | tag (16)
 *
 * and opens under the same info and aad alone.  It says nothing of who sealed it.
 * Every function here may be called from any thread; wolfSSL underneath.
 */
#ifndef PROTO_HPKE_H
#define PROTO_HPKE_H

#include "proto/secret.h"

#include <stddef.h>
#include <stdint.h>

enum {
    HPKE_KEY_LEN = 32, /* X25519 (RFC 7748), either half */
    HPKE_OVERHEAD = 32 + 16,
};

/* What binds a message to its place; both are borrowed. */
struct hpke_context {
    const void *info, *aad;
    size_t info_len, aad_len;
};

enum st_code hpke_generate(struct secret *out_private, uint8_t out_public[HPKE_KEY_LEN],
                           struct st_err *err);
enum st_code hpke_public(const struct secret *private_key, uint8_t out[HPKE_KEY_LEN],
                         struct st_err *err);

/* `out` holds message->len + HPKE_OVERHEAD.  ST_INVALID_ARGUMENT for a public key that
 * gives every sender the same shared secret. */
enum st_code hpke_seal(const uint8_t public_key[HPKE_KEY_LEN],
                       const struct hpke_context *context, const struct secret *message,
                       uint8_t *out, struct st_err *err);
/* ST_PERMISSION_DENIED where it was not sealed for this key in this context. */
enum st_code hpke_open(const struct secret *private_key,
                       const struct hpke_context *context, const void *sealed, size_t len,
                       struct secret *out, struct st_err *err);

#endif

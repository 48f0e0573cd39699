/* ident.h - the names of things, and what a name may look like.
 *
 * Every function here may be called from any thread.
 */
#ifndef PROTO_IDENT_H
#define PROTO_IDENT_H

#include "proto/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ED25519_PUBLIC_LEN = 32,
    ED25519_SEED_LEN = 32,
    ED25519_SIGNATURE_LEN = 64,
    NODE_ID_LEN = 10 + 32, /* "smalltown-" and 16 bytes in hex, without NUL */
    NAME_MAX_LEN = 63,     /* of an enrolment, a cluster, a context */
    SHA256_LEN = 32,
    NONCE_LEN = 32,
    CERT_MAX_LEN = 8192, /* DER of one certificate from outside */
    /* DER of the masters' list of revoked certificates: about 800 of them, 40 bytes each
     */
    CRL_MAX_LEN = 32 * 1024,
};

/* The id of the node with this Ed25519 public key. */
void node_id_of_key(const uint8_t public_key[ED25519_PUBLIC_LEN],
                    char out[NODE_ID_LEN + 1]);

/* "smalltown-" and 32 lower-case hex digits, nothing else.  ST_INVALID_ARGUMENT. */
enum st_code node_id_check(const char *id, struct st_err *err);

/* 1 to NAME_MAX_LEN of a-z A-Z 0-9 . _ -, not beginning with '.' or '-'.  `what` names
 * the thing in the error.  ST_INVALID_ARGUMENT. */
enum st_code name_check(const char *what, const char *name, struct st_err *err);

#endif

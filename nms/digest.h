/* digest.h - SHA-256 of bytes under a label, so that a digest made for one purpose means
 * nothing for another.  May be called from any thread.
 */
#ifndef NMS_DIGEST_H
#define NMS_DIGEST_H

#include "proto/err.h"
#include "proto/sha256.h"

#include <stddef.h>

/* SHA-256 over label, a NUL byte, and the bytes. */
enum st_code digest_labelled(const char *label, const void *bytes, size_t len,
                             uint8_t out[SHA256_LEN], struct st_err *err);

/* What is stored of an enrolment secret.  Plain hashing is enough: the secret is 32
 * random bytes, nobody can guess it. */
static inline enum st_code
digest_enrolment_secret(const void *secret, size_t len, uint8_t out[SHA256_LEN],
                        struct st_err *err)
{
    return digest_labelled("smalltown enrolment secret v1", secret, len, out, err);
}

enum {
    TICKET_SECRET_LEN = 32 /* of a master's ticket; random */
};

/* The same of the secret in a master's ticket: neither is good in the other's place. */
static inline enum st_code
digest_ticket_secret(const void *secret, size_t len, uint8_t out[SHA256_LEN],
                     struct st_err *err)
{
    return digest_labelled("smalltown ticket secret v1", secret, len, out, err);
}

#endif

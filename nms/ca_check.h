/* ca_check.h - whether what a machine was given makes it a member: certificates that came
 * from outside, judged before any of them is kept.
 *
 * Dates are not looked at, as everywhere between members (ca.h).  Every function here may
 * be called from any thread.
 */
#ifndef NMS_CA_CHECK_H
#define NMS_CA_CHECK_H

#include "nms/ca.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DER, borrowed. */
struct ca_given {
    const void *ca, *crl, *cert;
    size_t ca_len, crl_len, cert_len;
};

/* The authority is one (Ed25519, self-signed, CA bit), the list is its own and has a
 * number (RFC 5280, 5.2.3), the certificate is of a member and for this key, signed by
 * the authority and not on the list.  ST_INVALID_ARGUMENT, with a sentence that names
 * what does not fit. */
enum st_code ca_check_member(const struct ca_given *given,
                             const uint8_t public_key[ED25519_PUBLIC_LEN],
                             uint64_t *out_id, struct st_err *err);

/* Whether this certificate is of the authority, and the list is, and has it on it: its
 * member is one no longer, and never again.  False also where one of them is malformed.
 */
bool ca_is_revoked(const struct ca_given *given);

#endif

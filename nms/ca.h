/* ca.h - the certificate authority of the masters among themselves, and what a
 * certificate from outside is for.
 *
 * X.509 by OpenSSL's libcrypto: wolfSSL cannot make a CRL, and libcrypto is in the
 * process through gRPC anyway.  Certificates and lists are DER and valid from 1970 to
 * 9999: what ends them is the list, not a clock.  Every function here may be called from
 * any thread.
 */
#ifndef NMS_CA_H
#define NMS_CA_H

#include "proto/cert.h"
#include "proto/secret.h"

#include <stdint.h>

struct ca {
    struct cert cert;
    struct secret key; /* PKCS#8 */
};

/* A list of revoked certificates, DER, by value. */
struct crl {
    size_t len;
    uint8_t der[CRL_MAX_LEN];
};

/* A new authority, Ed25519; the name of the cluster is in its subject. */
enum st_code ca_new(const char *cluster, struct ca *out, struct st_err *err);

/* Its list of revoked certificates, empty, with this number (RFC 5280, 5.2.3). */
enum st_code ca_crl_empty(const struct ca *ca, uint64_t number, struct crl *out,
                          struct st_err *err);

/* A member's certificate with a fresh Ed25519 key, for both ends of a peer link: CN
 * "smalltown-member-<id>", serial number `serial`, which the caller never uses twice. */
enum st_code ca_issue_member(const struct ca *ca, uint64_t member_id, uint64_t serial,
                             struct cert *out, struct secret *out_key,
                             struct st_err *err);

/* The same for a key that was made elsewhere, where its private half stays. */
enum st_code ca_certify_member(const struct ca *ca, uint64_t member_id, uint64_t serial,
                               const uint8_t public_key[ED25519_PUBLIC_LEN],
                               struct cert *out, struct st_err *err);

/* The list that follows `crl` (DER, which may be that of *out): the same certificates,
 * the one with this serial number, revoked at `now`, and the next number.  ST_DATA_LOSS
 * where crl is not this authority's list; ST_RESOURCE_EXHAUSTED where it would exceed
 * CRL_MAX_LEN. */
enum st_code ca_revoke(const struct ca *ca, const void *crl, size_t crl_len,
                       uint64_t serial, int64_t now, struct crl *out,
                       uint64_t *out_number, struct st_err *err);

/* The number of a list (RFC 5280, 5.2.3).  Who signed it is not looked at.
 * ST_INVALID_ARGUMENT. */
enum st_code ca_crl_number(const void *crl, size_t len, uint64_t *out,
                           struct st_err *err);

/* What an administrator presents: Ed25519, self-signed, made for clients (EKU, where
 * there is one), in date at `now`.  ST_INVALID_ARGUMENT. */
enum st_code ca_client_check(const void *der, size_t len, int64_t now,
                             struct st_err *err);

#endif

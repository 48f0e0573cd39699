/* cert.h - Ed25519 keys and the self-signed certificates that carry them.
 *
 * A certificate here is a name tag for a key, compared byte by byte: dates are written as
 * for ever and never looked at.  (What the consensus CA issues is nms/ca.h.)
 * Every function here may be called from any thread; wolfSSL underneath.
 */
#ifndef PROTO_CERT_H
#define PROTO_CERT_H

#include "proto/ident.h"
#include "proto/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One certificate in DER, by value: small enough to copy. */
struct cert {
    size_t len;
    uint8_t der[1024];
};

/* A fresh Ed25519 seed (RFC 8032 private key, 32 bytes) and its public key. */
enum st_code key_generate(struct secret *out_seed, uint8_t out_public[ED25519_PUBLIC_LEN],
                          struct st_err *err);
enum st_code key_public(const struct secret *seed, uint8_t out[ED25519_PUBLIC_LEN],
                        struct st_err *err);

/* RFC 8032 Ed25519 over `message`; the caller puts a label into the message. */
enum st_code key_sign(const struct secret *seed, const void *message, size_t len,
                      uint8_t out[ED25519_SIGNATURE_LEN], struct st_err *err);
/* ST_PERMISSION_DENIED where the signature is not of this key over this message. */
enum st_code key_verify(const uint8_t public_key[ED25519_PUBLIC_LEN], const void *message,
                        size_t len, const uint8_t signature[ED25519_SIGNATURE_LEN],
                        struct st_err *err);

/* Self-signed X.509 v3: CN common_name, no SAN, notAfter 9999-12-31T23:59:59Z, notBefore
 * 1970-01-01 (so that a machine without a clock agrees), EKU client and server. */
enum st_code cert_self_sign(const struct secret *seed, const char *common_name,
                            struct cert *out, struct st_err *err);

/* The Ed25519 key of a self-signed certificate from outside.  ST_INVALID_ARGUMENT for
 * anything that is not DER, one certificate without trailing bytes, Ed25519 and signed by
 * its own key. */
enum st_code cert_public_key(const void *der, size_t len, uint8_t out[ED25519_PUBLIC_LEN],
                             struct st_err *err);

/* sha256_of() the DER of a certificate, of whichever kind. */
void cert_fingerprint(const void *der, size_t len, uint8_t out[SHA256_LEN]);
/* For people. */
void cert_fingerprint_hex(const void *der, size_t len, char out[2 * SHA256_LEN + 1]);

/* PEM, NUL-terminated, malloc'ed (the caller frees). */
enum st_code cert_to_pem(const void *der, size_t len, char **out, struct st_err *err);
/* The first CERTIFICATE block of `pem`. */
enum st_code cert_from_pem(const char *pem, struct cert *out, struct st_err *err);
/* The same of any size and kind, as DER.  False where there is none. */
bool cert_der_from_pem(const char *pem, uint8_t out[CERT_MAX_LEN], size_t *out_len);
/* PKCS#8, as gRPC and OpenSSL read it, in PEM and in DER. */
enum st_code key_to_pem(const struct secret *seed, struct secret *out_pem,
                        struct st_err *err);
enum st_code key_from_pem(const char *pem, struct secret *out_seed, struct st_err *err);
enum st_code key_to_pkcs8(const struct secret *seed, struct secret *out_der,
                          struct st_err *err);
/* What key_to_pkcs8() writes, and nothing else: ST_INVALID_ARGUMENT. */
enum st_code key_from_pkcs8(const void *der, size_t len, struct secret *out_seed,
                            struct st_err *err);

#endif

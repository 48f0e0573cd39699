/* judge_internal.h - what the files of the judging side share.
 *
 * judge_bytes.c is the only door for TPM structures, judge_point.c for points.
 */
#ifndef TPM_JUDGE_INTERNAL_H
#define TPM_JUDGE_INTERNAL_H

#include <wolfssl/options.h>

#include "proto/der.h"
#include "proto/mutant.h"
#include "proto/scope.h"
#include "tpm/judge.h"

#include <stdbool.h>
#include <tss2/tss2_tpm2_types.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

enum {
    RSA_LEN = 256,        /* modulus and signature, bytes */
    RSA_EXPONENT = 65537, /* the only one taken */
    P256_LEN = 32,        /* one coordinate */
    P384_LEN = 48,
    POINT_MAX = P384_LEN,
};

/* ST_INVALID_ARGUMENT and ST_PERMISSION_DENIED; `why` is for the operator. */
enum st_code tpm_malformed(struct st_err *err, const char *why);
enum st_code tpm_refused(struct st_err *err, const char *why);
/* ST_INTERNAL: wolfSSL failed where it cannot be the stranger's fault. */
enum st_code tpm_crypto_failed(struct st_err *err, const char *what);

/* Exactly these bytes, in the one encoding that a TPM writes: unmarshalled to the last
 * byte, and the same when marshalled again.  ST_INVALID_ARGUMENT. */
enum st_code tpm_public_read(const void *bytes, size_t len, TPMT_PUBLIC *out,
                             struct st_err *err);
enum st_code tpm_attest_read(const void *bytes, size_t len, TPMS_ATTEST *out,
                             struct st_err *err);
enum st_code tpm_signature_read(const void *bytes, size_t len, TPMT_SIGNATURE *out,
                                struct st_err *err);

/* A public area of our AK template.  Whether the point of an ECC key lies on its curve
 * is tpm_ak_check()'s to ask, once. */
enum st_code tpm_ak_read_public(const void *bytes, size_t len, TPMT_PUBLIC *out,
                                struct st_err *err);

/* Has the CA bit; `below`: so many CAs may stand between it and the end of a chain,
 * SIZE_MAX where it does not say. */
bool tpm_cert_is_ca(const struct der_certificate *cert, size_t *below);
/* One of its purposes is this one: the content of an OID. */
bool tpm_cert_has_purpose(const struct der_certificate *cert, const void *oid,
                          size_t len);
bool tpm_cert_is_for_an_ek(const struct der_certificate *cert);
/* By this CA and nobody else, and in date. */
bool tpm_cert_is_signed(const struct der *cert, const struct der *ca);

/* The numbers of an EK, in its SubjectPublicKeyInfo. */
struct tpm_ek_numbers {
    bool rsa;
    const uint8_t *modulus; /* RSA_LEN */
    int curve;              /* ECC_SECP256R1 or ECC_SECP384R1 */
    size_t len;             /* of one coordinate */
    const uint8_t *x, *y;
};
enum st_code tpm_ek_read_numbers(const void *spki, size_t len, struct tpm_ek_numbers *out,
                                 struct st_err *err);

/* The signature by this AK over SHA-256 of `message` (N13). */
enum st_code tpm_signature_check(const TPMT_PUBLIC *ak, const void *signature,
                                 size_t signature_len, const void *message, size_t len,
                                 struct st_err *err);

/* Wipes the key, and lets go of the multiples of points that wolfSSL would keep for this
 * thread, megabytes of them, and not give back when it ends. */
void tpm_ecc_key_free(ecc_key *key);

/* Wiped at the end of their scope. */
#define TPM_RSA_KEY AUTO(wc_FreeRsaKey) RsaKey
#define TPM_ECC_KEY AUTO(tpm_ecc_key_free) ecc_key

/* Initialises *key; it must be zeroed before, and freed after failure too. */
bool tpm_rsa_load(RsaKey *key, const uint8_t modulus[RSA_LEN]);
/* The same; x and y have the size of the curve. */
bool tpm_point_load(ecc_key *key, int curve, const uint8_t *x, const uint8_t *y);
/* It lies on the curve and is not infinity. */
bool tpm_point_check(int curve, const uint8_t *x, const uint8_t *y);
/* Some chips leave out leading zeros: right-aligned in P256_LEN bytes. */
bool tpm_p256_pad(const TPM2B_ECC_PARAMETER *number, uint8_t out[P256_LEN]);

#endif

/* judge_forge.h - evidence as a TPM would give it, made without one, so that any part of
 * it can be forged and still be signed by the genuine AK.
 *
 * Everything here fails the running test where it cannot do its work.
 */
#ifndef TESTS_TPM_JUDGE_FORGE_H
#define TESTS_TPM_JUDGE_FORGE_H

#include "tpm/judge.h"

#include <stdbool.h>
#include <tss2/tss2_tpm2_types.h>

enum forge_kind {
    FORGE_ECC,
    FORGE_RSA,
    FORGE_KINDS
};

/* A software AK.  `public` is its template, right in everything. */
struct forge_ak;
struct forge_ak *forge_ak_make(enum forge_kind kind);
void forge_ak_free(struct forge_ak *ak);
enum forge_kind forge_ak_kind(const struct forge_ak *ak);
TPMT_PUBLIC forge_ak_public(const struct forge_ak *ak);

/* Bytes of their own, so that a sanitizer sees every step past their end. */
struct forge_bytes {
    size_t len;
    uint8_t *bytes;
};
struct forge_bytes forge_copy(const void *bytes, size_t len);
void forge_bytes_free(struct forge_bytes *bytes);
#define FORGE_BYTES __attribute__((cleanup(forge_bytes_free))) struct forge_bytes

struct forge_bytes forge_public(const TPMT_PUBLIC *public);
struct forge_bytes forge_attest(const TPMS_ATTEST *attest);
struct forge_bytes forge_signature(const TPMT_SIGNATURE *signature);

/* A quote over nonce and pcrs that nothing is wrong with. */
TPMS_ATTEST forge_quote(const uint8_t nonce[NONCE_LEN], const struct tpm_pcrs *pcrs);
TPMT_SIGNATURE forge_sign(const struct forge_ak *ak, const struct forge_bytes *message);
void forge_digest(const struct forge_bytes *message, uint8_t out[SHA256_LEN]);
/* The RSA AK's private operation over PKCS #1 type 1 padding and any content, and its
 * signature by RSASSA-PSS. */
TPM2B_PUBLIC_KEY_RSA forge_rsa_raw(const struct forge_ak *ak, const void *content,
                                   size_t len);
TPM2B_PUBLIC_KEY_RSA forge_rsa_pss(const struct forge_ak *ak,
                                   const struct forge_bytes *message);

/* SubjectPublicKeyInfo of the key of this public area; of the software AK's key it may
 * stand for an EK. */
struct forge_bytes forge_spki(const TPMT_PUBLIC *public);

#endif

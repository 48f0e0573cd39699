#include "tpm/judge_internal.h"

#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

/* DigestInfo of SHA-256 up to the digest (RFC 8017, 9.2, note 1). */
static const uint8_t digest_info[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                      0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                      0x01, 0x05, 0x00, 0x04, 0x20};

/* *out is lent by `bytes` or by `parsed`. */
static enum st_code
rsa_unwrap(const void *bytes, size_t len, TPMT_SIGNATURE *parsed, const uint8_t **out,
           struct st_err *err)
{
    if (len == RSA_LEN) { /* bare: a TPMT_SIGNATURE of this key has 262 bytes */
        *out = bytes;
        return ST_OK;
    }
    enum st_code code = tpm_signature_read(bytes, len, parsed, err);
    if (code)
        return code;
    const TPMS_SIGNATURE_RSASSA *rsassa = &parsed->signature.rsassa;
    if (REFUSES(0x13a, parsed->sigAlg != TPM2_ALG_RSASSA))
        return tpm_refused(err, "the quote is not signed by RSASSA");
    if (REFUSES(0x13b, rsassa->hash != TPM2_ALG_SHA256))
        return tpm_refused(err, "the quote is not signed over SHA-256");
    if (rsassa->sig.size != RSA_LEN)
        return tpm_refused(err, "the quote's signature has not 256 bytes");
    *out = rsassa->sig.buffer;
    return ST_OK;
}

/* The padding is checked by length: what wolfSSL strips is FF to the last byte, so 51
 * bytes that remain of 256 leave no room for anything else. */
static bool
rsa_verify(const TPMT_PUBLIC *ak, const uint8_t signature[RSA_LEN],
           const uint8_t digest[SHA256_LEN])
{
    TPM_RSA_KEY key = {0};
    uint8_t opened[RSA_LEN];
    if (!tpm_rsa_load(&key, ak->unique.rsa.buffer))
        return false;
    int len = wc_RsaSSL_Verify(signature, RSA_LEN, opened, sizeof(opened), &key);
    return len == (int)(sizeof(digest_info) + SHA256_LEN) &&
           memcmp(opened, digest_info, sizeof(digest_info)) == 0 &&
           secret_equal_bytes(opened + sizeof(digest_info), digest, SHA256_LEN);
}

static enum st_code
rsa_check(const TPMT_PUBLIC *ak, const void *bytes, size_t len,
          const uint8_t digest[SHA256_LEN], struct st_err *err)
{
    TPMT_SIGNATURE parsed;
    const uint8_t *signature = NULL;
    enum st_code code = rsa_unwrap(bytes, len, &parsed, &signature, err);
    if (code)
        return code;
    if (REFUSES(0x28a, !rsa_verify(ak, signature, digest)))
        return tpm_refused(err, "the quote is not signed by this RSA AK");
    return ST_OK;
}

static bool
ecc_verify(const TPMT_PUBLIC *ak, const TPMS_SIGNATURE_ECDSA *ecdsa,
           const uint8_t digest[SHA256_LEN])
{
    enum {
        DER_SIGNATURE_MAX = 80 /* two INTEGERs of at most 33 bytes */
    };
    TPM_ECC_KEY key = {0};
    uint8_t x[P256_LEN], y[P256_LEN], r[P256_LEN], s[P256_LEN];
    uint8_t der[DER_SIGNATURE_MAX];
    word32 der_len = sizeof(der);
    int good = 0;
    if (!tpm_p256_pad(&ak->unique.ecc.x, x) || !tpm_p256_pad(&ak->unique.ecc.y, y) ||
        !tpm_p256_pad(&ecdsa->signatureR, r) || !tpm_p256_pad(&ecdsa->signatureS, s) ||
        !tpm_point_load(&key, ECC_SECP256R1, x, y) ||
        wc_ecc_rs_raw_to_sig(r, sizeof(r), s, sizeof(s), der, &der_len) ||
        wc_ecc_verify_hash(der, der_len, digest, SHA256_LEN, &good, &key))
        return false;
    return good == 1;
}

static enum st_code
ecc_check(const TPMT_PUBLIC *ak, const void *bytes, size_t len,
          const uint8_t digest[SHA256_LEN], struct st_err *err)
{
    TPMT_SIGNATURE parsed;
    if (REFUSES(0x13e, len == RSA_LEN)) /* bare, so not even malformed */
        return tpm_refused(err, "the quote is signed by RSA, and the AK is ECC");
    enum st_code code = tpm_signature_read(bytes, len, &parsed, err);
    if (code)
        return code;
    const TPMS_SIGNATURE_ECDSA *ecdsa = &parsed.signature.ecdsa;
    if (REFUSES(0x13c, parsed.sigAlg != TPM2_ALG_ECDSA))
        return tpm_refused(err, "the quote is not signed by ECDSA");
    if (REFUSES(0x13d, ecdsa->hash != TPM2_ALG_SHA256))
        return tpm_refused(err, "the quote is not signed over SHA-256");
    if (REFUSES(0x28b, !ecc_verify(ak, ecdsa, digest)))
        return tpm_refused(err, "the quote is not signed by this ECC AK");
    return ST_OK;
}

enum st_code
tpm_signature_check(const TPMT_PUBLIC *ak, const void *signature, size_t signature_len,
                    const void *message, size_t len, struct st_err *err)
{
    uint8_t digest[SHA256_LEN];
    if (wc_Sha256Hash(message, (word32)len, digest))
        return tpm_crypto_failed(err, "hash a quote");
    return ak->type == TPM2_ALG_RSA
               ? rsa_check(ak, signature, signature_len, digest, err)
               : ecc_check(ak, signature, signature_len, digest, err);
}

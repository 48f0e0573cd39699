#include "tpm/judge_internal.h"

#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

enum {
    /* What an AK may have besides what it must have: none of it lets the key sign
     * anything but the TPM's own statements. */
    INDIFFERENT = TPMA_OBJECT_STCLEAR | TPMA_OBJECT_USERWITHAUTH |
                  TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA,
    REQUIRED = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
               TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_RESTRICTED,
};

/* N20: the TPM made this key, keeps it, and signs only its own statements with it. */
static enum st_code
attributes_check(TPMA_OBJECT has, struct st_err *err)
{
    if (REFUSES(0x20a, !(has & TPMA_OBJECT_RESTRICTED)))
        return tpm_malformed(err, "the AK is not restricted: it would sign anything");
    if (REFUSES(0x20b, !(has & TPMA_OBJECT_FIXEDTPM)))
        return tpm_malformed(err, "the AK is not fixedTPM: it may move to another TPM");
    if (REFUSES(0x20c, !(has & TPMA_OBJECT_FIXEDPARENT)))
        return tpm_malformed(err, "the AK is not fixedParent: it may be duplicated");
    if (REFUSES(0x20d, !(has & TPMA_OBJECT_SENSITIVEDATAORIGIN)))
        return tpm_malformed(err, "the AK was not made by the TPM but imported");
    if (REFUSES(0x20e, (has & ~(REQUIRED | INDIFFERENT)) != TPMA_OBJECT_SIGN_ENCRYPT))
        return tpm_malformed(err, "the AK is not for signing alone");
    return ST_OK;
}

static enum st_code
rsa_check(const TPMT_PUBLIC *public, struct st_err *err)
{
    const TPMS_RSA_PARMS *rsa = &public->parameters.rsaDetail;
    const TPM2B_PUBLIC_KEY_RSA *modulus = &public->unique.rsa;
    if (REFUSES(0x21a, rsa->keyBits != 8 * RSA_LEN || modulus->size != RSA_LEN ||
                           !(modulus->buffer[0] & 0x80) ||
                           !(modulus->buffer[RSA_LEN - 1] & 1)))
        return tpm_malformed(err, "the AK is not an RSA key of 2048 bits");
    if (REFUSES(0x21b, rsa->exponent != 0 && rsa->exponent != RSA_EXPONENT))
        return tpm_malformed(err, "the exponent of the RSA AK is not 65537");
    if (REFUSES(0x21c, rsa->symmetric.algorithm != TPM2_ALG_NULL ||
                           rsa->scheme.scheme != TPM2_ALG_RSASSA ||
                           rsa->scheme.details.rsassa.hashAlg != TPM2_ALG_SHA256))
        return tpm_malformed(err, "the scheme of the RSA AK is not RSASSA with SHA-256");
    return ST_OK;
}

static enum st_code
ecc_check(const TPMT_PUBLIC *public, struct st_err *err)
{
    const TPMS_ECC_PARMS *ecc = &public->parameters.eccDetail;
    if (REFUSES(0x21d, ecc->curveID != TPM2_ECC_NIST_P256))
        return tpm_malformed(err, "the AK is not on the curve P-256");
    if (REFUSES(0x21e, ecc->symmetric.algorithm != TPM2_ALG_NULL ||
                           ecc->kdf.scheme != TPM2_ALG_NULL ||
                           ecc->scheme.scheme != TPM2_ALG_ECDSA ||
                           ecc->scheme.details.ecdsa.hashAlg != TPM2_ALG_SHA256))
        return tpm_malformed(err, "the scheme of the ECC AK is not ECDSA with SHA-256");
    uint8_t number[P256_LEN];
    if (!tpm_p256_pad(&public->unique.ecc.x, number) ||
        !tpm_p256_pad(&public->unique.ecc.y, number))
        return tpm_malformed(err, "a coordinate of the AK has not 1 to 32 bytes");
    return ST_OK;
}

enum st_code
tpm_ak_read_public(const void *bytes, size_t len, TPMT_PUBLIC *out, struct st_err *err)
{
    TPMT_PUBLIC public;
    enum st_code code;
    if ((code = tpm_public_read(bytes, len, &public, err)) ||
        (code = attributes_check(public.objectAttributes, err)))
        return code;
    if (REFUSES(0x20f, public.nameAlg != TPM2_ALG_SHA256))
        return tpm_malformed(err, "the name algorithm of the AK is not SHA-256");
    if (public.type == TPM2_ALG_RSA)
        code = rsa_check(&public, err);
    else if (public.type == TPM2_ALG_ECC)
        code = ecc_check(&public, err);
    else
        code = tpm_malformed(err, "the AK is neither an RSA nor an ECC key");
    if (!code)
        *out = public;
    return code;
}

static enum st_code
point_check(const TPMT_PUBLIC *public, struct st_err *err)
{
    uint8_t x[P256_LEN], y[P256_LEN];
    bool good = tpm_p256_pad(&public->unique.ecc.x, x) &&
                tpm_p256_pad(&public->unique.ecc.y, y) &&
                tpm_point_check(ECC_SECP256R1, x, y);
    if (REFUSES(0x21f, !good))
        return tpm_malformed(err, "the AK is not a point of P-256");
    return ST_OK;
}

enum st_code
tpm_ak_check(const void *ak_public, size_t len, struct tpm_ak *out, struct st_err *err)
{
    TPMT_PUBLIC public;
    enum st_code code = tpm_ak_read_public(ak_public, len, &public, err);
    if (!code && public.type == TPM2_ALG_ECC)
        code = point_check(&public, err);
    if (code)
        return code;
    struct tpm_ak ak = {.name = {TPM2_ALG_SHA256 >> 8, TPM2_ALG_SHA256 & 0xff},
                        .public_len = len};
    memcpy(ak.public, ak_public, len);
    if (wc_Sha256Hash(ak_public, (word32)len, ak.name + 2))
        return tpm_crypto_failed(err, "make the Name of an AK");
    *out = ak;
    return ST_OK;
}

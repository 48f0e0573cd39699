#include "proto/der.h"
#include "tpm/judge_internal.h"

#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

/* RFC 3279 2.3.1, RFC 4055 4.1, RFC 5480 2.1.1: contents of AlgorithmIdentifier, the
 * second without its parameters. */
static const uint8_t rsa_encryption[] = {DER_OID, 9,    0x2a, 0x86, 0x48,     0x86, 0xf7,
                                         0x0d,    0x01, 0x01, 0x01, DER_NULL, 0};
static const uint8_t rsaes_oaep[] = {DER_OID, 9,    0x2a, 0x86, 0x48, 0x86,
                                     0xf7,    0x0d, 0x01, 0x01, 0x07};
static const uint8_t p256[] = {DER_OID, 7,    0x2a,    0x86, 0x48, 0xce, 0x3d,
                               0x02,    0x01, DER_OID, 8,    0x2a, 0x86, 0x48,
                               0xce,    0x3d, 0x03,    0x01, 0x07};
static const uint8_t p384[] = {DER_OID, 7,       0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
                               0x01,    DER_OID, 5,    0x2b, 0x81, 0x04, 0x00, 0x22};

struct spki {
    struct der algorithm, key;
};

static bool
spki_read(const void *bytes, size_t len, struct spki *out)
{
    struct der in = {bytes, len}, content;
    return der_check(bytes, len, DER_SEQUENCE) && der_read(&in, DER_SEQUENCE, &content) &&
           der_read(&content, DER_SEQUENCE, &out->algorithm) &&
           der_read_bits(&content, &out->key) && content.len == 0;
}

static enum st_code
rsa_read(struct der key, struct tpm_ek_numbers *out, struct st_err *err)
{
    static const uint8_t exponent_65537[] = {0x01, 0x00, 0x01};
    struct der content, modulus, exponent;
    if (!der_check(key.at, key.len, DER_SEQUENCE) ||
        !der_read(&key, DER_SEQUENCE, &content) ||
        !der_read(&content, DER_INTEGER, &modulus) ||
        !der_read(&content, DER_INTEGER, &exponent) || content.len > 0)
        return tpm_malformed(err, "the EK is no RSA key");
    /* A positive INTEGER whose first bit is set has a zero byte before it. */
    if (REFUSES(0x22a, modulus.len != 1 + RSA_LEN || modulus.at[0] != 0 ||
                           !(modulus.at[RSA_LEN] & 1)))
        return tpm_malformed(err, "the EK is not an RSA key of 2048 bits");
    if (REFUSES(0x22b, !der_equal(&exponent, exponent_65537, sizeof(exponent_65537))))
        return tpm_malformed(err, "the exponent of the RSA EK is not 65537");
    *out = (struct tpm_ek_numbers){.rsa = true, .modulus = modulus.at + 1};
    return ST_OK;
}

static enum st_code
ecc_read(struct der key, int curve, size_t len, struct tpm_ek_numbers *out,
         struct st_err *err)
{
    enum {
        UNCOMPRESSED = 4
    };
    if (key.len != 1 + 2 * len || key.at[0] != UNCOMPRESSED)
        return tpm_malformed(err, "the EK is not an uncompressed point");
    *out = (struct tpm_ek_numbers){
        .curve = curve, .len = len, .x = key.at + 1, .y = key.at + 1 + len};
    if (REFUSES(0x22c, !tpm_point_check(curve, out->x, out->y)))
        return tpm_malformed(err, "the EK is not a point of its curve");
    return ST_OK;
}

enum st_code
tpm_ek_read_numbers(const void *bytes, size_t len, struct tpm_ek_numbers *out,
                    struct st_err *err)
{
    struct spki spki;
    if (len > TPM_SPKI_MAX || !spki_read(bytes, len, &spki))
        return tpm_malformed(err, "the EK is no SubjectPublicKeyInfo in DER");
    if (der_equal(&spki.algorithm, rsa_encryption, sizeof(rsa_encryption)))
        return rsa_read(spki.key, out, err);
    if (der_equal(&spki.algorithm, p256, sizeof(p256)))
        return ecc_read(spki.key, ECC_SECP256R1, P256_LEN, out, err);
    if (der_equal(&spki.algorithm, p384, sizeof(p384)))
        return ecc_read(spki.key, ECC_SECP384R1, P384_LEN, out, err);
    return tpm_malformed(err, "the EK is neither RSA-2048 nor on P-256 or P-384");
}

enum st_code
tpm_ek_check(const void *ek_pubkey, size_t len, struct tpm_ek *out, struct st_err *err)
{
    struct tpm_ek_numbers numbers;
    enum st_code code = tpm_ek_read_numbers(ek_pubkey, len, &numbers, err);
    if (code)
        return code;
    struct tpm_ek ek = {.spki_len = len};
    memcpy(ek.spki, ek_pubkey, len);
    if (wc_Sha256Hash(ek.spki, (word32)len, ek.hash))
        return tpm_crypto_failed(err, "hash an EK");
    *out = ek;
    return ST_OK;
}

/* Some Infineon certificates call the EK's RSA key one for RSAES-OAEP: true, and the key
 * is the same. */
static bool
same_key(const struct spki *cert, const struct spki *ek)
{
    if (!der_equal(&cert->key, ek->key.at, ek->key.len))
        return false;
    if (der_equal(&cert->algorithm, ek->algorithm.at, ek->algorithm.len))
        return true;
    return der_equal(&ek->algorithm, rsa_encryption, sizeof(rsa_encryption)) &&
           cert->algorithm.len >= sizeof(rsaes_oaep) &&
           memcmp(cert->algorithm.at, rsaes_oaep, sizeof(rsaes_oaep)) == 0;
}

enum st_code
tpm_ek_cert_check(const void *ek_cert, size_t len, const struct tpm_ek *ek,
                  struct st_err *err)
{
    struct der_certificate cert;
    struct spki in_cert, in_ek;
    if (len > CERT_MAX_LEN || !der_certificate(ek_cert, len, &cert) ||
        !spki_read(cert.spki.at, cert.spki.len, &in_cert))
        return tpm_malformed(err, "the EK certificate is not one X.509 in DER");
    if (!spki_read(ek->spki, ek->spki_len, &in_ek))
        return tpm_malformed(err, "the EK is no SubjectPublicKeyInfo in DER");
    if (REFUSES(0x23a, !same_key(&in_cert, &in_ek)))
        return tpm_refused(err, "the EK certificate is for another key");
    return ST_OK;
}

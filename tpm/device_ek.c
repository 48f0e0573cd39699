/* TCG EK Credential Profile for TPM Family 2.0, 2.3: templates B.3.3 (L-1), B.3.4 (L-2)
 * and B.4.5 (H-3), NV indices of 2.2.1.4. */
#include "tpm/device_internal.h"

#include <string.h>

enum {
    LOW_ATTRIBUTES = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                     TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |
                     TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
    HIGH_ATTRIBUTES = LOW_ATTRIBUTES | TPMA_OBJECT_USERWITHAUTH,
};

/* PolicyA: TPM2_PolicySecret(TPM_RH_ENDORSEMENT). */
#define POLICY_A                                                                         \
    {                                                                                    \
        32,                                                                              \
            {                                                                            \
                0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,        \
                0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,        \
                0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,              \
            },                                                                           \
    }
/* PolicyB for SHA-384: TPM2_PolicyOR of PolicyA and an authorization in NV. */
#define POLICY_B_SHA384                                                                  \
    {                                                                                    \
        48,                                                                              \
            {                                                                            \
                0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc,  \
                0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,  \
                0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09,  \
                0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,  \
            },                                                                           \
    }

static const struct tpm_primary
    ek_primaries[TPM_EK_TYPES] =
        {
            [TPM_EK_RSA_2048] =
                {
                    .what = "an RSA-2048 EK",
                    .hierarchy = ESYS_TR_RH_ENDORSEMENT,
                    .template.publicArea =
                        {
                            .type = TPM2_ALG_RSA,
                            .nameAlg = TPM2_ALG_SHA256,
                            .objectAttributes = LOW_ATTRIBUTES,
                            .authPolicy = POLICY_A,
                            .parameters.rsaDetail =
                                {
                                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                                  .keyBits.aes = 128,
                                                  .mode.aes = TPM2_ALG_CFB},
                                    .scheme.scheme = TPM2_ALG_NULL,
                                    .keyBits = 2048,
                                },
                            .unique.rsa.size = 256,
                        },
                },
            [TPM_EK_ECC_P256] =
                {
                    .what = "an ECC P-256 EK",
                    .hierarchy = ESYS_TR_RH_ENDORSEMENT,
                    .template.publicArea =
                        {
                            .type = TPM2_ALG_ECC,
                            .nameAlg = TPM2_ALG_SHA256,
                            .objectAttributes = LOW_ATTRIBUTES,
                            .authPolicy = POLICY_A,
                            .parameters.eccDetail =
                                {
                                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                                  .keyBits.aes = 128,
                                                  .mode.aes = TPM2_ALG_CFB},
                                    .scheme.scheme = TPM2_ALG_NULL,
                                    .curveID = TPM2_ECC_NIST_P256,
                                    .kdf.scheme = TPM2_ALG_NULL,
                                },
                            .unique.ecc = {.x.size = 32, .y.size = 32},
                        },
                },
            [TPM_EK_ECC_P384] =
                {
                    .what = "an ECC P-384 EK",
                    .hierarchy = ESYS_TR_RH_ENDORSEMENT,
                    .template.publicArea =
                        {
                            .type = TPM2_ALG_ECC,
                            .nameAlg = TPM2_ALG_SHA384,
                            .objectAttributes = HIGH_ATTRIBUTES,
                            .authPolicy = POLICY_B_SHA384,
                            .parameters.eccDetail =
                                {
                                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                                  .keyBits.aes = 256,
                                                  .mode.aes = TPM2_ALG_CFB},
                                    .scheme.scheme = TPM2_ALG_NULL,
                                    .curveID = TPM2_ECC_NIST_P384,
                                    .kdf.scheme = TPM2_ALG_NULL,
                                },
                        },
                },
};

static const TPM2_HANDLE cert_index[TPM_EK_TYPES] = {
    [TPM_EK_RSA_2048] = 0x01c00002,
    [TPM_EK_ECC_P256] = 0x01c0000a,
    [TPM_EK_ECC_P384] = 0x01c00016,
};

const struct tpm_primary *
tpm_ek_primary(enum tpm_ek_type type)
{
    return &ek_primaries[type];
}

/* SubjectPublicKeyInfo up to where the key's own bytes begin (RFC 3279, RFC 5480). */
static const uint8_t spki_rsa_2048[] = {
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48,
    0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01,
    0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
};
static const uint8_t spki_rsa_exponent[] = {0x02, 0x03, 0x01, 0x00, 0x01};
static const uint8_t spki_p256[] = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
};
static const uint8_t spki_p384[] = {
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
};

/* Right-aligned in `width` bytes: some chips leave out leading zeros of a coordinate. */
static bool
put_number(uint8_t **at, size_t width, const void *bytes, size_t len)
{
    if (len > width)
        return false;
    memset(*at, 0, width - len);
    memcpy(*at + width - len, bytes, len);
    *at += width;
    return true;
}

static void
put(uint8_t **at, const void *bytes, size_t len)
{
    memcpy(*at, bytes, len);
    *at += len;
}

static bool
put_point(uint8_t **at, size_t width, const TPMS_ECC_POINT *point)
{
    return put_number(at, width, point->x.buffer, point->x.size) &&
           put_number(at, width, point->y.buffer, point->y.size);
}

/* DER of a key of this type; 0 where its numbers are too long. */
static size_t
spki_of(enum tpm_ek_type type, const TPMU_PUBLIC_ID *unique, uint8_t out[TPM_SPKI_MAX])
{
    uint8_t *at = out;
    bool fits = false;
    switch (type) {
    case TPM_EK_RSA_2048:
        put(&at, spki_rsa_2048, sizeof(spki_rsa_2048));
        fits = put_number(&at, 256, unique->rsa.buffer, unique->rsa.size);
        put(&at, spki_rsa_exponent, sizeof(spki_rsa_exponent));
        break;
    case TPM_EK_ECC_P256:
        put(&at, spki_p256, sizeof(spki_p256));
        fits = put_point(&at, 32, &unique->ecc);
        break;
    case TPM_EK_ECC_P384:
        put(&at, spki_p384, sizeof(spki_p384));
        fits = put_point(&at, 48, &unique->ecc);
        break;
    case TPM_EK_TYPES:
        break;
    }
    return fits ? (size_t)(at - out) : 0;
}

size_t
tpm_der_len(const uint8_t *bytes, size_t len)
{
    if (len < 4 || bytes[0] != 0x30 || bytes[1] != 0x82)
        return 0; /* no certificate is shorter than 256 bytes or longer than 65535 */
    size_t whole = 4 + ((size_t)bytes[2] << 8 | bytes[3]);
    return whole <= len ? whole : 0;
}

/* out->cert and cert_len; an index that is missing, not written or holds no DER is no
 * certificate. */
static enum st_code
cert_read(struct tpm *tpm, enum tpm_ek_type type, struct tpm_own_ek *out,
          struct st_err *err)
{
    size_t len = 0;
    out->cert_len = 0;
    TSS2_RC rc = tpm_nv_read(tpm, cert_index[type], sizeof(out->cert), out->cert, &len);
    if (tpm_rc_base(rc) == TPM2_RC_HANDLE || tpm_rc_base(rc) == TPM2_RC_NV_UNINITIALIZED)
        return ST_OK;
    if (rc)
        return tpm_fail(err, rc, "read an EK certificate");
    out->cert_len = tpm_der_len(out->cert, len);
    return ST_OK;
}

static enum st_code
key_read(struct tpm *tpm, enum tpm_ek_type type, struct tpm_own_ek *out,
         struct st_err *err)
{
    const struct tpm_key *key;
    enum st_code code = tpm_key_load(tpm, tpm_ek_primary(type), &key, err);
    if (code)
        return code;
    uint8_t spki[TPM_SPKI_MAX];
    size_t len = spki_of(type, &key->public.publicArea.unique, spki);
    if (tpm_ek_check(spki, len, &out->ek, err))
        return st_wrap(err, "the TPM's own EK");
    out->type = type;
    return ST_OK;
}

enum st_code
tpm_ek_read(struct tpm *tpm, enum tpm_ek_type type, struct tpm_own_ek *out,
            struct st_err *err)
{
    struct tpm_own_ek ek = {0};
    enum st_code code;
    if ((code = key_read(tpm, type, &ek, err)) || (code = cert_read(tpm, type, &ek, err)))
        return code;
    *out = ek;
    return ST_OK;
}

/* A certificate is looked for before the key is made: an RSA key takes a chip seconds. */
static enum st_code
choose(struct tpm *tpm, bool with_cert, struct tpm_own_ek *out, struct st_err *err)
{
    for (enum tpm_ek_type type = 0; type < TPM_EK_TYPES; type++) {
        enum st_code code;
        out->cert_len = 0;
        if (with_cert && (code = cert_read(tpm, type, out, err)))
            return code;
        if (with_cert && !out->cert_len)
            continue;
        if ((code = key_read(tpm, type, out, err)) != ST_NOT_FOUND)
            return code;
    }
    return st_fail(err, ST_NOT_FOUND, "this TPM has no EK of a type that is known here");
}

enum st_code
tpm_ek_choose(struct tpm *tpm, struct tpm_own_ek *out, struct st_err *err)
{
    struct tpm_own_ek ek = {0};
    enum st_code code = choose(tpm, true, &ek, err);
    if (code == ST_NOT_FOUND)
        code = choose(tpm, false, &ek, err);
    if (code)
        return code;
    *out = ek;
    return ST_OK;
}

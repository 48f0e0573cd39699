#include "tpm/device_internal.h"

#include <tss2/tss2_mu.h>

enum {
    AK_ATTRIBUTES = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                    TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT,
};

/* The label makes it a key of our own: an AK that other software makes of the usual
 * template is another one, so nobody's quotes can be passed off as ours. */
#define AK_LABEL "smalltown attestation key v1"

static const struct tpm_primary ak_primaries[] = {
    [TPM_AK_ECC_P256] =
        {
            .what = "an ECC P-256 AK",
            .hierarchy = ESYS_TR_RH_OWNER,
            .template.publicArea =
                {
                    .type = TPM2_ALG_ECC,
                    .nameAlg = TPM2_ALG_SHA256,
                    .objectAttributes = AK_ATTRIBUTES,
                    .parameters.eccDetail =
                        {
                            .symmetric.algorithm = TPM2_ALG_NULL,
                            .scheme.scheme = TPM2_ALG_ECDSA,
                            .scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256,
                            .curveID = TPM2_ECC_NIST_P256,
                            .kdf.scheme = TPM2_ALG_NULL,
                        },
                    .unique.ecc = {.x = {32, AK_LABEL}, .y = {.size = 32}},
                },
        },
    [TPM_AK_RSA_2048] =
        {
            .what = "an RSA-2048 AK",
            .hierarchy = ESYS_TR_RH_OWNER,
            .template.publicArea =
                {
                    .type = TPM2_ALG_RSA,
                    .nameAlg = TPM2_ALG_SHA256,
                    .objectAttributes = AK_ATTRIBUTES,
                    .parameters.rsaDetail =
                        {
                            .symmetric.algorithm = TPM2_ALG_NULL,
                            .scheme.scheme = TPM2_ALG_RSASSA,
                            .scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256,
                            .keyBits = 2048,
                        },
                    .unique.rsa = {256, AK_LABEL},
                },
        },
};

const struct tpm_primary *
tpm_ak_primary(enum tpm_ak_type type)
{
    return &ak_primaries[type];
}

enum st_code
tpm_ak_read(struct tpm *tpm, enum tpm_ak_type type, struct tpm_ak *out,
            struct st_err *err)
{
    const struct tpm_key *key;
    enum st_code code = tpm_key_load(tpm, tpm_ak_primary(type), &key, err);
    if (code)
        return code;
    uint8_t public[TPM_PUBLIC_MAX];
    size_t len = 0;
    TSS2_RC rc = Tss2_MU_TPMT_PUBLIC_Marshal(&key->public.publicArea, public,
                                             sizeof(public), &len);
    if (rc)
        return tpm_fail(err, rc, "encode the AK");
    if (tpm_ak_check(public, len, out, err))
        return st_wrap(err, "the TPM's own AK");
    return ST_OK;
}

/* How the TPM comes to believe an approval: it verifies the signature itself, and says so
 * in a ticket that names the key and what was signed. */
#include "tpm/device_internal.h"

#include <string.h>
#include <tss2/tss2_mu.h>

static enum st_code
authority_load(struct tpm *tpm, const uint8_t point[TPM_AUTHORITY_LEN],
               struct tpm_handle *out, struct st_err *err)
{
    uint8_t bytes[TPM_AUTHORITY_PUBLIC_LEN];
    TPM2B_PUBLIC public = {0};
    size_t offset = 0;
    ESYS_TR key;
    tpm_authority_public(point, bytes);
    TSS2_RC rc =
        Tss2_MU_TPMT_PUBLIC_Unmarshal(bytes, sizeof(bytes), &offset, &public.publicArea);
    if (rc)
        return tpm_fail(err, rc, "describe the authority");
    /* Of a hierarchy: of none, the ticket would be empty (Part 3, 20.1). */
    rc =
        TPM_COMMAND(Esys_LoadExternal(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                      NULL, &public, ESYS_TR_RH_OWNER, &key));
    if (tpm_rc_blames_parameter(rc))
        return st_fail(err, ST_DATA_LOSS,
                       "the sealed secret's authority is no key (0x%08x)", rc);
    if (rc)
        return tpm_fail(err, rc, "load the authority");
    *out = (struct tpm_handle){tpm, key};
    return ST_OK;
}

static enum st_code
signature_check(struct tpm *tpm, const struct tpm_handle *key,
                const struct tpm_approval *approval, const uint8_t digest[SHA256_LEN],
                TPMT_TK_VERIFIED *out, struct st_err *err)
{
    enum {
        NUMBER_LEN = TPM_APPROVAL_SIGNATURE_LEN / 2
    };
    TPM2B_DIGEST signed_digest = {.size = SHA256_LEN};
    TPMT_SIGNATURE signature = {
        .sigAlg = TPM2_ALG_ECDSA,
        .signature.ecdsa = {.hash = TPM2_ALG_SHA256,
                            .signatureR.size = NUMBER_LEN,
                            .signatureS.size = NUMBER_LEN},
    };
    AUTO(tpm_esys_freep) TPMT_TK_VERIFIED *ticket = NULL;
    memcpy(signed_digest.buffer, digest, SHA256_LEN);
    memcpy(signature.signature.ecdsa.signatureR.buffer, approval->signature, NUMBER_LEN);
    memcpy(signature.signature.ecdsa.signatureS.buffer, approval->signature + NUMBER_LEN,
           NUMBER_LEN);
    TSS2_RC rc = TPM_COMMAND(Esys_VerifySignature(tpm->esys, key->esys, ESYS_TR_NONE,
                                                  ESYS_TR_NONE, ESYS_TR_NONE,
                                                  &signed_digest, &signature, &ticket));
    if (tpm_rc_blames_parameter(rc))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the approval is not this authority's, or for another node "
                       "(0x%08x)",
                       rc);
    if (rc)
        return tpm_fail(err, rc, "verify an approval");
    *out = *ticket;
    return ST_OK;
}

enum st_code
tpm_approval_verify(struct tpm *tpm, const struct tpm_sealed_parts *parts,
                    const struct tpm_approval *approval, TPMT_TK_VERIFIED *out,
                    struct st_err *err)
{
    TPM_HANDLE key = {0};
    uint8_t digest[SHA256_LEN];
    enum st_code code;
    if (!parts->approvable)
        return st_fail(err, ST_PERMISSION_DENIED, "sealed to PCRs alone");
    if (memcmp(approval->point, parts->authority.point, TPM_AUTHORITY_LEN) != 0)
        return st_fail(err, ST_PERMISSION_DENIED, "the approval of another authority");
    if ((code =
             tpm_approval_digest(approval->policy, parts->authority.ref, digest, err)) ||
        (code = authority_load(tpm, parts->authority.point, &key, err)))
        return code;
    return signature_check(tpm, &key, approval, digest, out, err);
}

static TPM2B_DIGEST
digest_of(const uint8_t bytes[SHA256_LEN])
{
    TPM2B_DIGEST digest = {.size = SHA256_LEN};
    memcpy(digest.buffer, bytes, SHA256_LEN);
    return digest;
}

enum st_code
tpm_policy_approve(struct tpm *tpm, const struct tpm_handle *policy,
                   const struct tpm_sealed_parts *parts,
                   const struct tpm_approval *approval, const TPMT_TK_VERIFIED *verified,
                   struct st_err *err)
{
    const TPML_PCR_SELECTION pcrs = tpm_pcr_selection(TPM_APPROVED_PCRS);
    const TPM2B_DIGEST as_they_are = {0}, approved = digest_of(approval->policy);
    const TPM2B_NONCE ref = digest_of(parts->authority.ref);
    TPM2B_NAME name = {.size = TPM_NAME_LEN};
    enum st_code code = tpm_authority_name(parts->authority.point, name.name, err);
    if (code)
        return code;
    TSS2_RC rc =
        TPM_COMMAND(Esys_PolicyPCR(tpm->esys, policy->esys, ESYS_TR_NONE, ESYS_TR_NONE,
                                   ESYS_TR_NONE, &as_they_are, &pcrs));
    if (rc)
        return tpm_fail(err, rc, "show the PCRs to the approval");
    rc = TPM_COMMAND(Esys_PolicyAuthorize(tpm->esys, policy->esys, ESYS_TR_NONE,
                                          ESYS_TR_NONE, ESYS_TR_NONE, &approved, &ref,
                                          &name, verified));
    if (tpm_rc_blames_parameter(rc))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "other PCRs were approved than those of this boot (0x%08x)", rc);
    return rc ? tpm_fail(err, rc, "show an approval to the sealed secret") : ST_OK;
}

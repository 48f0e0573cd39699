/* Who sealed it: whoever knows the PCRs of a machine can have its TPM seal to them, from
 * whatever he booted.  But the TPM reads the PCRs of that moment itself, and knows its
 * own word again. */
#include "proto/mutant.h"
#include "tpm/device_internal.h"

#include <string.h>
#include <tss2/tss2_mu.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

static enum st_code
somebody_else(struct st_err *err, const char *why)
{
    return st_fail(err, ST_PERMISSION_DENIED, "not sealed by what this machine boots: %s",
                   why);
}

/* They read what it is sealed to.  Which they were matters as much: PCR 16 and 23 read
 * what anybody wants. */
static enum st_code
check_pcrs(const struct tpm_sealed_parts *parts, struct st_err *err)
{
    const TPMS_CREATION_DATA *data = &parts->creation.data;
    uint8_t policy[SHA256_LEN];
    uint32_t mask;
    if (REFUSES(0x480c,
                !tpm_pcr_mask(&data->pcrSelect, &mask) || mask != parts->pcr_mask) ||
        data->pcrDigest.size != SHA256_LEN)
        return somebody_else(err, "the TPM speaks of other PCRs");
    enum st_code code =
        tpm_policy_pcr_digest(data->pcrDigest.buffer, parts->pcr_mask, policy, err);
    if (code)
        return code;
    if (REFUSES(0x480d, memcmp(policy, parts->pcr_policy, SHA256_LEN)))
        return somebody_else(err, "something else was booted then");
    return ST_OK;
}

static enum st_code
creation_hash(const TPMS_CREATION_DATA *data, TPM2B_DIGEST *out, struct st_err *err)
{
    uint8_t bytes[sizeof(*data)];
    size_t len = 0;
    TSS2_RC rc = Tss2_MU_TPMS_CREATION_DATA_Marshal(data, bytes, sizeof(bytes), &len);
    if (rc)
        return tpm_fail(err, rc, "pack what the TPM says of the making");
    out->size = SHA256_LEN;
    if (wc_Sha256Hash(bytes, (word32)len, out->buffer))
        return st_fail(err, ST_INTERNAL, "SHA-256 failed");
    return ST_OK;
}

/* Its answer is under a session, so that nothing between us and the TPM can say yes. */
static enum st_code
certify(struct tpm *tpm, const struct tpm_sealed_parts *parts, struct st_err *err)
{
    static const TPM2B_DATA nothing;
    static const TPMT_SIG_SCHEME unsigned_ = {.scheme = TPM2_ALG_NULL};
    TPM_HANDLE object = {0}, session = {0};
    TPM2B_DIGEST hash;
    ESYS_TR srk;
    enum st_code code;
    if ((code = creation_hash(&parts->creation.data, &hash, err)) ||
        (code = tpm_sealed_load(tpm, parts, &object, &srk, err)) ||
        (code = tpm_session_start(tpm, TPM2_SE_HMAC, srk, &session, err)) ||
        (code = tpm_session_encrypts(&session, TPMA_SESSION_ENCRYPT, err)))
        return code;
    AUTO(tpm_esys_freep) TPM2B_ATTEST *attest = NULL;
    AUTO(tpm_esys_freep) TPMT_SIGNATURE *signature = NULL;
    TSS2_RC rc = TPM_COMMAND(Esys_CertifyCreation(
        tpm->esys, ESYS_TR_RH_NULL, object.esys, session.esys, ESYS_TR_NONE, ESYS_TR_NONE,
        &nothing, &hash, &unsigned_, &parts->creation.ticket, &attest, &signature));
    const bool unknown = tpm_rc_base(rc) == TPM2_RC_TICKET || tpm_rc_blames_parameter(rc);
    if (REFUSES(0x480e, unknown))
        return somebody_else(err, "the TPM does not know this for its own word");
    return rc && !unknown ? tpm_fail(err, rc, "ask who sealed it") : ST_OK;
}

enum st_code
tpm_sealed_check_creation(struct tpm *tpm, const struct tpm_sealed *sealed,
                          struct st_err *err)
{
    struct tpm_sealed_parts parts;
    enum st_code code = tpm_sealed_unpack(sealed, &parts, err);
    if (code)
        return code;
    if (!parts.has_creation)
        return somebody_else(err, "there is no word of the TPM");
    code = check_pcrs(&parts, err);
    return code ? code : certify(tpm, &parts, err);
}

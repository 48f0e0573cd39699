#include "tpm/device_internal.h"

#include <assert.h>
#include <string.h>

/* The storage primary of the TCG Provisioning Guidance, 7.5.1 (ECC P-256). */
static const struct tpm_primary srk_primary = {
    .what = "the SRK",
    .hierarchy = ESYS_TR_RH_OWNER,
    .template.publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
                                TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
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
};

/* userWithAuth is clear and adminWithPolicy set: nothing but the policy opens it. */
static TPM2B_PUBLIC
public_of(const uint8_t policy[SHA256_LEN])
{
    TPM2B_PUBLIC public = {
        .publicArea =
            {
                .type = TPM2_ALG_KEYEDHASH,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA,
                .authPolicy.size = SHA256_LEN,
                .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
            },
    };
    memcpy(public.publicArea.authPolicy.buffer, policy, SHA256_LEN);
    return public;
}

static enum st_code
policy_of(const struct tpm_sealed_parts *parts, uint8_t out[SHA256_LEN],
          struct st_err *err)
{
    uint8_t authorized[SHA256_LEN];
    if (!parts->approvable) {
        memcpy(out, parts->pcr_policy, SHA256_LEN);
        return ST_OK;
    }
    enum st_code code = tpm_policy_authorize(&parts->authority, authorized, err);
    return code ? code : tpm_policy_or(parts->pcr_policy, authorized, out, err);
}

enum st_code
tpm_sealed_public(const struct tpm_sealed_parts *parts, TPM2B_PUBLIC *out,
                  struct st_err *err)
{
    uint8_t policy[SHA256_LEN];
    enum st_code code = policy_of(parts, policy, err);
    if (code)
        return code;
    *out = public_of(policy);
    return ST_OK;
}

enum st_code
tpm_srk_load(struct tpm *tpm, ESYS_TR *out, uint8_t out_name[TPM_NAME_LEN],
             struct st_err *err)
{
    const struct tpm_key *srk;
    enum st_code code = tpm_key_load(tpm, &srk_primary, &srk, err);
    if (code)
        return code;
    AUTO(tpm_esys_freep) TPM2B_NAME *name = NULL;
    TSS2_RC rc = Esys_TR_GetName(tpm->esys, srk->handle, &name);
    if (rc)
        return tpm_fail(err, rc, "name the SRK");
    if (name->size != TPM_NAME_LEN)
        return st_fail(err, ST_INTERNAL, "the SRK's Name has %u bytes", name->size);
    memcpy(out_name, name->name, TPM_NAME_LEN);
    *out = srk->handle;
    return ST_OK;
}

/* The policy that these PCRs read as they read now.  Both commands are under `guard`, so
 * that nothing between us and the TPM can give the object another policy. */
static enum st_code
policy_of_now(struct tpm *tpm, uint32_t pcr_mask, const struct tpm_handle *guard,
              uint8_t out[SHA256_LEN], struct st_err *err)
{
    TPM_HANDLE trial = {0};
    enum st_code code = tpm_session_start(tpm, TPM2_SE_TRIAL, ESYS_TR_NONE, &trial, err);
    if (code || (code = tpm_session_encrypts(guard, TPMA_SESSION_DECRYPT, err)))
        return code;
    const TPML_PCR_SELECTION pcrs = tpm_pcr_selection(pcr_mask);
    const TPM2B_DIGEST as_they_are = {0};
    TSS2_RC rc =
        TPM_COMMAND(Esys_PolicyPCR(tpm->esys, trial.esys, guard->esys, ESYS_TR_NONE,
                                   ESYS_TR_NONE, &as_they_are, &pcrs));
    if (rc)
        return tpm_fail(err, rc, "make a policy of PCRs");
    if ((code = tpm_session_encrypts(guard, TPMA_SESSION_ENCRYPT, err)))
        return code;
    AUTO(tpm_esys_freep) TPM2B_DIGEST *policy = NULL;
    rc = TPM_COMMAND(Esys_PolicyGetDigest(tpm->esys, trial.esys, guard->esys,
                                          ESYS_TR_NONE, ESYS_TR_NONE, &policy));
    if (rc)
        return tpm_fail(err, rc, "read the policy of PCRs");
    if (policy->size != SHA256_LEN)
        return st_fail(err, ST_INTERNAL, "a policy of %u bytes", policy->size);
    memcpy(out, policy->buffer, SHA256_LEN);
    return ST_OK;
}

void
tpm_forget_answer(struct tpm *tpm)
{
    struct tpm_pcrs pcrs;
    if (tpm_pcrs_read(tpm, &pcrs, NULL) && tpm_pcrs_read(tpm, &pcrs, NULL))
        return; /* then the connection is dead, and tpm_close() is next */
}

/* It keeps the parameters of TPM2_Create too, in case it must be sent again.  This one
 * fails at its parent: after the copy is made, before the TPM is asked. */
static void
forget_parameters(struct tpm *tpm)
{
    const ESYS_TR nobody = UINT32_MAX;
    const TPM2B_SENSITIVE_CREATE nothing = {0};
    const TPM2B_PUBLIC public = public_of((const uint8_t[SHA256_LEN]){0});
    const TPM2B_DATA data = {0};
    const TPML_PCR_SELECTION none = {0};
    TSS2_RC rc = Esys_Create_Async(tpm->esys, nobody, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                   ESYS_TR_NONE, &nothing, &public, &data, &none);
    assert(rc == TSS2_ESYS_RC_BAD_TR || rc == TSS2_ESYS_RC_BAD_SEQUENCE);
    (void)rc;
}

static enum st_code
create(struct tpm *tpm, ESYS_TR srk, const struct tpm_handle *session,
       const struct secret *secret, struct tpm_sealed_parts *parts, struct st_err *err)
{
    TPM2B_PUBLIC template;
    enum st_code code;
    if ((code = tpm_sealed_public(parts, &template, err)) ||
        (code = tpm_session_encrypts(session, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT,
                                     err)))
        return code;
    const TPM2B_DATA no_data = {0};
    const TPML_PCR_SELECTION of_making = tpm_pcr_selection(parts->pcr_mask);
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = (UINT16)secret->len};
    memcpy(sensitive.sensitive.data.buffer, secret->bytes, secret->len);
    AUTO(tpm_esys_freep) TPM2B_PRIVATE *private = NULL;
    AUTO(tpm_esys_freep) TPM2B_PUBLIC *public = NULL;
    AUTO(tpm_esys_freep) TPM2B_CREATION_DATA *data = NULL;
    AUTO(tpm_esys_freep) TPMT_TK_CREATION *ticket = NULL;
    TSS2_RC rc = TPM_COMMAND(Esys_Create(
        tpm->esys, srk, session->esys, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &template,
        &no_data, &of_making, &private, &public, &data, NULL, &ticket));
    explicit_bzero(&sensitive, sizeof(sensitive));
    if (rc)
        return tpm_fail(err, rc, "seal");
    const TPM2B_DIGEST *unique = &public->publicArea.unique.keyedHash;
    if (unique->size != SHA256_LEN)
        return st_fail(err, ST_INTERNAL, "a sealed object of an unknown form");
    memcpy(parts->unique, unique->buffer, SHA256_LEN);
    parts->private = *private;
    parts->creation = (struct tpm_creation){data->creationData, *ticket};
    return ST_OK;
}

static enum st_code
seal(struct tpm *tpm, const struct secret *secret, struct tpm_sealed_parts *parts,
     struct tpm_sealed *out, struct st_err *err)
{
    if (!secret->len || secret->len > TPM_SEAL_SECRET_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "%zu bytes cannot be sealed, only 1-%d",
                       secret->len, TPM_SEAL_SECRET_MAX);
    if (!parts->pcr_mask || parts->pcr_mask >> TPM_PCR_COUNT)
        return st_fail(err, ST_INVALID_ARGUMENT, "nothing is sealed to PCRs 0x%x",
                       parts->pcr_mask);
    ESYS_TR srk;
    TPM_HANDLE session = {0};
    enum st_code code;
    if ((code = tpm_srk_load(tpm, &srk, parts->srk_name, err)) ||
        (code = tpm_session_start(tpm, TPM2_SE_HMAC, srk, &session, err)) ||
        (code = policy_of_now(tpm, parts->pcr_mask, &session, parts->pcr_policy, err)))
        return code;
    code = create(tpm, srk, &session, secret, parts, err);
    forget_parameters(tpm);
    tpm_forget_answer(tpm);
    return code ? code : tpm_sealed_pack(parts, out, err);
}

enum st_code
tpm_seal(struct tpm *tpm, const struct secret *secret, uint32_t pcr_mask,
         struct tpm_sealed *out, struct st_err *err)
{
    struct tpm_sealed_parts parts = {.pcr_mask = pcr_mask, .has_creation = true};
    return seal(tpm, secret, &parts, out, err);
}

enum st_code
tpm_seal_under(struct tpm *tpm, const struct secret *secret, uint32_t pcr_mask,
               const struct tpm_authority *authority, struct tpm_sealed *out,
               struct st_err *err)
{
    struct tpm_sealed_parts parts = {
        .pcr_mask = pcr_mask, .approvable = true, .authority = *authority};
    enum st_code code = tpm_authority_check(authority->point, err);
    return code ? code : seal(tpm, secret, &parts, out, err);
}

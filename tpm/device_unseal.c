#include "proto/mutant.h"
#include "tpm/device_internal.h"

#include <string.h>

enum {
    UNSEAL_ROUNDS = 3, /* a PCR is extended between policy and unseal: try so often */
};

/* What one of the two ways to open an object needs. */
struct opening {
    struct tpm_sealed_parts parts;
    const struct tpm_approval *approval; /* NULL: by the PCRs of when it was sealed */
    TPMT_TK_VERIFIED verified;           /* with an approval: the TPM believes it */
};

/* The SRK is loaded last: it must still be there when the object is. */
enum st_code
tpm_sealed_load(struct tpm *tpm, const struct tpm_sealed_parts *parts,
                struct tpm_handle *out, ESYS_TR *out_srk, struct st_err *err)
{
    TPM2B_PUBLIC public;
    uint8_t srk_name[TPM_NAME_LEN];
    enum st_code code;
    if ((code = tpm_sealed_public(parts, &public, err)) ||
        (code = tpm_srk_load(tpm, out_srk, srk_name, err)))
        return code;
    if (REFUSES(0x48f, memcmp(srk_name, parts->srk_name, TPM_NAME_LEN)))
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "sealed by another TPM, or this one was cleared since");
    public.publicArea.unique.keyedHash.size = SHA256_LEN;
    memcpy(public.publicArea.unique.keyedHash.buffer, parts->unique, SHA256_LEN);
    ESYS_TR object;
    TSS2_RC rc =
        TPM_COMMAND(Esys_Load(tpm->esys, *out_srk, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &parts->private, &public, &object));
    if (tpm_rc_blames_parameter(rc))
        return st_fail(err, ST_DATA_LOSS,
                       "the TPM does not know the sealed secret: "
                       "it is corrupt (0x%08x)",
                       rc);
    if (rc)
        return tpm_fail(err, rc, "load the sealed secret");
    *out = (struct tpm_handle){tpm, object};
    return ST_OK;
}

static enum st_code
differs(struct st_err *err, uint32_t pcr_mask)
{
    return st_fail(err, ST_PERMISSION_DENIED,
                   "the PCRs of 0x%x are not those that the secret was sealed to",
                   pcr_mask);
}

static enum st_code
show_pcrs(struct tpm *tpm, const struct tpm_handle *policy, uint32_t pcr_mask,
          struct st_err *err)
{
    const TPML_PCR_SELECTION pcrs = tpm_pcr_selection(pcr_mask);
    const TPM2B_DIGEST as_they_are = {0};
    TSS2_RC rc =
        TPM_COMMAND(Esys_PolicyPCR(tpm->esys, policy->esys, ESYS_TR_NONE, ESYS_TR_NONE,
                                   ESYS_TR_NONE, &as_they_are, &pcrs));
    return rc ? tpm_fail(err, rc, "show the PCRs to the sealed secret") : ST_OK;
}

static enum st_code
choose_branch(struct tpm *tpm, const struct tpm_handle *policy,
              const struct tpm_sealed_parts *parts, struct st_err *err)
{
    TPML_DIGEST branches = {.count = 2,
                            .digests = {{.size = SHA256_LEN}, {.size = SHA256_LEN}}};
    memcpy(branches.digests[0].buffer, parts->pcr_policy, SHA256_LEN);
    enum st_code code =
        tpm_policy_authorize(&parts->authority, branches.digests[1].buffer, err);
    if (code)
        return code;
    TSS2_RC rc = TPM_COMMAND(Esys_PolicyOR(tpm->esys, policy->esys, ESYS_TR_NONE,
                                           ESYS_TR_NONE, ESYS_TR_NONE, &branches));
    if (tpm_rc_base(rc) == TPM2_RC_VALUE)
        return differs(err, parts->pcr_mask);
    return rc ? tpm_fail(err, rc, "choose how to open the sealed secret") : ST_OK;
}

static enum st_code
satisfy(struct tpm *tpm, const struct tpm_handle *policy, const struct opening *opening,
        struct st_err *err)
{
    const struct tpm_sealed_parts *parts = &opening->parts;
    enum st_code code = opening->approval
                            ? tpm_policy_approve(tpm, policy, parts, opening->approval,
                                                 &opening->verified, err)
                            : show_pcrs(tpm, policy, parts->pcr_mask, err);
    if (code || !parts->approvable)
        return code;
    return choose_branch(tpm, policy, parts, err);
}

/* ST_ABORTED where a PCR was extended meanwhile. */
static enum st_code
unseal_once(struct tpm *tpm, ESYS_TR srk, const struct tpm_handle *object,
            const struct opening *opening, struct secret *out, struct st_err *err)
{
    TPM_HANDLE policy = {0};
    enum st_code code;
    if ((code = tpm_session_start(tpm, TPM2_SE_POLICY, srk, &policy, err)) ||
        (code = satisfy(tpm, &policy, opening, err)) ||
        (code = tpm_session_encrypts(&policy, TPMA_SESSION_ENCRYPT, err)))
        return code;
    AUTO(tpm_esys_freep) TPM2B_SENSITIVE_DATA *data = NULL;
    TSS2_RC rc = TPM_COMMAND(Esys_Unseal(tpm->esys, object->esys, policy.esys,
                                         ESYS_TR_NONE, ESYS_TR_NONE, &data));
    if (tpm_rc_base(rc) == TPM2_RC_PCR_CHANGED)
        return st_fail(err, ST_ABORTED, "the PCRs keep changing");
    if (tpm_rc_base(rc) == TPM2_RC_POLICY_FAIL)
        return differs(err, opening->parts.pcr_mask);
    if (rc)
        return tpm_fail(err, rc, "unseal");
    code = secret_set(out, data->buffer, data->size, err);
    explicit_bzero(data, sizeof(*data));
    return code;
}

static enum st_code
prepare(struct tpm *tpm, const struct tpm_sealed *sealed, struct opening *opening,
        struct st_err *err)
{
    enum st_code code = tpm_sealed_unpack(sealed, &opening->parts, err);
    if (code || !opening->approval)
        return code;
    return tpm_approval_verify(tpm, &opening->parts, opening->approval,
                               &opening->verified, err);
}

static enum st_code
unseal(struct tpm *tpm, const struct tpm_sealed *sealed, struct opening *opening,
       struct secret *out, struct st_err *err)
{
    ESYS_TR srk;
    TPM_HANDLE object = {0};
    SECRET secret = {0};
    int round = 0;
    enum st_code code;
    if ((code = prepare(tpm, sealed, opening, err)) ||
        (code = tpm_sealed_load(tpm, &opening->parts, &object, &srk, err)))
        return code;
    do
        code = unseal_once(tpm, srk, &object, opening, &secret, err);
    while (code == ST_ABORTED && ++round < UNSEAL_ROUNDS);
    tpm_handle_flush(&object);
    tpm_keys_flush(tpm);
    tpm_forget_answer(tpm);
    if (code == ST_ABORTED)
        return st_fail(err, ST_UNAVAILABLE, "the PCRs keep changing while unsealing");
    if (code)
        return code;
    *out = secret;
    return ST_OK;
}

enum st_code
tpm_unseal(struct tpm *tpm, const struct tpm_sealed *sealed, struct secret *out,
           struct st_err *err)
{
    struct opening opening = {0};
    return unseal(tpm, sealed, &opening, out, err);
}

enum st_code
tpm_unseal_approved(struct tpm *tpm, const struct tpm_sealed *sealed,
                    const struct tpm_approval *approval, struct secret *out,
                    struct st_err *err)
{
    struct opening opening = {.approval = approval};
    return unseal(tpm, sealed, &opening, out, err);
}

#include "tpm/device_internal.h"

#include <string.h>

/* The L templates are used by PolicyA alone; H-3 takes its empty password. */
static enum st_code
ek_authorize(struct tpm *tpm, const struct tpm_key *ek, struct tpm_handle *out,
             struct st_err *err)
{
    if (ek->public.publicArea.objectAttributes & TPMA_OBJECT_USERWITHAUTH)
        return ST_OK;
    enum st_code code = tpm_session_start(tpm, TPM2_SE_POLICY, ESYS_TR_NONE, out, err);
    if (code)
        return code;
    TSS2_RC rc = TPM_COMMAND(
        Esys_PolicySecret(tpm->esys, ESYS_TR_RH_ENDORSEMENT, out->esys, ESYS_TR_PASSWORD,
                          ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL));
    return rc ? tpm_fail(err, rc, "satisfy the EK's policy") : ST_OK;
}

static bool
challenge_fits(const struct tpm_challenge *challenge, TPM2B_ID_OBJECT *object,
               TPM2B_ENCRYPTED_SECRET *secret)
{
    if (challenge->id_object_len > sizeof(object->credential) ||
        challenge->encrypted_secret_len > sizeof(secret->secret))
        return false;
    object->size = challenge->id_object_len;
    memcpy(object->credential, challenge->id_object, object->size);
    secret->size = challenge->encrypted_secret_len;
    memcpy(secret->secret, challenge->encrypted_secret, secret->size);
    return true;
}

/* libtpms calls it a failure of the whole TPM where an RSA EK cannot decrypt a secret.  A
 * TPM that really failed answers nothing more. */
static bool
was_undecryptable(struct tpm *tpm, TSS2_RC rc)
{
    struct tpm_pcrs pcrs;
    return tpm_rc_base(rc) == TPM2_RC_FAILURE && tpm_pcrs_read(tpm, &pcrs, NULL) == ST_OK;
}

enum st_code
tpm_activate(struct tpm *tpm, enum tpm_ak_type ak_type, enum tpm_ek_type ek_type,
             const struct tpm_challenge *challenge, struct secret *out,
             struct st_err *err)
{
    TPM2B_ID_OBJECT object;
    TPM2B_ENCRYPTED_SECRET encrypted;
    if (!challenge_fits(challenge, &object, &encrypted))
        return st_fail(err, ST_PERMISSION_DENIED, "the challenge is no challenge");
    const struct tpm_key *ek, *ak;
    enum st_code code;
    if ((code = tpm_key_load(tpm, tpm_ek_primary(ek_type), &ek, err)))
        return code;
    ESYS_TR ek_handle = ek->handle;
    TPM_HANDLE session = {0};
    if ((code = ek_authorize(tpm, ek, &session, err)) ||
        (code = tpm_key_load(tpm, tpm_ak_primary(ak_type), &ak, err)))
        return code;
    AUTO(tpm_esys_freep) TPM2B_DIGEST *credential = NULL;
    TSS2_RC rc = TPM_COMMAND(
        Esys_ActivateCredential(tpm->esys, ak->handle, ek_handle, ESYS_TR_PASSWORD,
                                session.tpm ? session.esys : ESYS_TR_PASSWORD,
                                ESYS_TR_NONE, &object, &encrypted, &credential));
    if (tpm_rc_blames_parameter(rc) || was_undecryptable(tpm, rc))
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the challenge was not made for this TPM and AK (0x%08x)", rc);
    if (rc)
        return tpm_fail(err, rc, "answer the challenge");
    code = secret_set(out, credential->buffer, credential->size, err);
    explicit_bzero(credential, sizeof(*credential));
    return code;
}

#include "tpm/device_internal.h"

static void
key_flush(struct tpm *tpm, struct tpm_key *key)
{
    if (key->primary)
        tpm_handle_flush(&(struct tpm_handle){tpm, key->handle});
    key->primary = NULL;
}

void
tpm_keys_flush(struct tpm *tpm)
{
    key_flush(tpm, &tpm->keys[0]);
    key_flush(tpm, &tpm->keys[1]);
}

static enum st_code
key_make(struct tpm *tpm, const struct tpm_primary *primary, struct tpm_key *out,
         struct st_err *err)
{
    const TPM2B_SENSITIVE_CREATE no_auth = {0};
    const TPM2B_DATA no_data = {0};
    const TPML_PCR_SELECTION no_pcrs = {0};
    AUTO(tpm_esys_freep) TPM2B_PUBLIC *public = NULL;
    ESYS_TR handle;
    TSS2_RC rc = TPM_COMMAND(
        Esys_CreatePrimary(tpm->esys, primary->hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                           ESYS_TR_NONE, &no_auth, &primary->template, &no_data, &no_pcrs,
                           &handle, &public, NULL, NULL, NULL));
    if (tpm_rc_blames_parameter(rc))
        return st_fail(err, ST_NOT_FOUND, "this TPM cannot make %s (0x%08x)",
                       primary->what, rc);
    if (rc)
        return tpm_fail(err, rc, primary->what);
    *out = (struct tpm_key){primary, handle, *public};
    return ST_OK;
}

enum st_code
tpm_key_load(struct tpm *tpm, const struct tpm_primary *primary,
             const struct tpm_key **out, struct st_err *err)
{
    struct tpm_key *keys = tpm->keys;
    if (keys[0].primary != primary) {
        struct tpm_key key = keys[1];
        if (key.primary != primary) {
            key_flush(tpm, &keys[1]);
            enum st_code code = key_make(tpm, primary, &key, err);
            if (code)
                return code;
        }
        keys[1] = keys[0];
        keys[0] = key;
    }
    *out = &keys[0];
    return ST_OK;
}

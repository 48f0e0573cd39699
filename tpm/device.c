#include "tpm/device_internal.h"

#include <stdlib.h>
#include <time.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

enum {
    AGAIN_ROUNDS = 12, /* with the pauses below about 6 s: a self-test takes less */
    AGAIN_FIRST_MS = 10,
    AGAIN_MOST_MS = 1000,
};

/* The library's TPM2_TRANSIENT_FIRST shifts a signed number too far. */
static const TPM2_HANDLE transient_first = (TPM2_HANDLE)TPM2_HT_TRANSIENT
                                           << TPM2_HR_SHIFT;
static const TPM2_HANDLE session_first = (TPM2_HANDLE)TPM2_HT_LOADED_SESSION
                                         << TPM2_HR_SHIFT;

bool
tpm_again(TSS2_RC rc, unsigned round)
{
    TSS2_RC base = tpm_rc_base(rc);
    if (base != TPM2_RC_RETRY && base != TPM2_RC_YIELDED && base != TPM2_RC_TESTING)
        return false;
    if (round >= AGAIN_ROUNDS)
        return false;
    long ms = AGAIN_FIRST_MS << round;
    if (ms > AGAIN_MOST_MS)
        ms = AGAIN_MOST_MS;
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    return true;
}

static bool
is_of_tpm(TSS2_RC rc)
{
    TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;
    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

TSS2_RC
tpm_rc_base(TSS2_RC rc)
{
    if (!is_of_tpm(rc))
        return rc;
    rc &= ~TSS2_RC_LAYER_MASK;
    return rc & TPM2_RC_FMT1 ? rc & (TPM2_RC_FMT1 | 0x3f) : rc;
}

bool
tpm_rc_blames_parameter(TSS2_RC rc)
{
    return is_of_tpm(rc) && rc & TPM2_RC_FMT1 && rc & TPM2_RC_P;
}

static enum st_code
code_of(TSS2_RC rc)
{
    if ((rc & TSS2_RC_LAYER_MASK) == TSS2_TCTI_RC_LAYER)
        return ST_UNAVAILABLE;
    switch (tpm_rc_base(rc)) {
    case TSS2_ESYS_RC_BAD_SEQUENCE: /* the connection broke under an earlier command */
    case TPM2_RC_RETRY:
    case TPM2_RC_YIELDED:
    case TPM2_RC_TESTING:
        return ST_UNAVAILABLE;
    case TPM2_RC_AUTH_FAIL: /* somebody gave a hierarchy a password, ... */
    case TPM2_RC_BAD_AUTH:
    case TPM2_RC_HIERARCHY: /* ... switched it off, */
    case TPM2_RC_AUTH_UNAVAILABLE:
    case TPM2_RC_LOCKOUT:
        return ST_FAILED_PRECONDITION;
    default:
        return ST_INTERNAL;
    }
}

enum st_code
tpm_fail(struct st_err *err, TSS2_RC rc, const char *what)
{
    return st_fail(err, code_of(rc), "%s: %s (0x%08x)", what, Tss2_RC_Decode(rc), rc);
}

static void
flush(struct tpm *tpm, ESYS_TR handle)
{
    TSS2_RC rc = TPM_COMMAND(Esys_FlushContext(tpm->esys, handle));
    if (rc)
        rc = TPM_COMMAND(Esys_FlushContext(tpm->esys, handle));
    if (rc)
        Esys_TR_Close(tpm->esys, &handle); /* the TPM's side waits for the next open */
}

void
tpm_handle_flush(struct tpm_handle *handle)
{
    if (handle->tpm)
        flush(handle->tpm, handle->esys);
    handle->tpm = NULL;
}

static TSS2_RC
list_handles(struct tpm *tpm, TPM2_HANDLE first, TPMS_CAPABILITY_DATA **out)
{
    return TPM_COMMAND(Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE,
                                          ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
                                          TPM2_MAX_CAP_HANDLES, NULL, out));
}

/* A killed predecessor left them.  Behind a resource manager each client sees its own
 * only, and a handle that will not go is no failure of ours. */
static enum st_code
flush_stale(struct tpm *tpm, TPM2_HANDLE first, struct st_err *err)
{
    AUTO(tpm_esys_freep) TPMS_CAPABILITY_DATA *list = NULL;
    TSS2_RC rc = list_handles(tpm, first, &list);
    if (rc)
        return tpm_fail(err, rc, "list what is loaded in the TPM");
    const TPML_HANDLE *handles = &list->data.handles;
    for (UINT32 i = 0; i < handles->count && i < TPM2_MAX_CAP_HANDLES; i++) {
        ESYS_TR handle;
        if (TPM_COMMAND(Esys_TR_FromTPMPublic(tpm->esys, handles->handle[i], ESYS_TR_NONE,
                                              ESYS_TR_NONE, ESYS_TR_NONE, &handle)) == 0)
            flush(tpm, handle);
    }
    return ST_OK;
}

static enum st_code
start_up(struct tpm *tpm, struct st_err *err)
{
    AUTO(tpm_esys_freep) TPMS_CAPABILITY_DATA *list = NULL;
    TSS2_RC rc = list_handles(tpm, transient_first, &list);
    if (tpm_rc_base(rc) == TPM2_RC_INITIALIZE)
        rc = TPM_COMMAND(Esys_Startup(tpm->esys, TPM2_SU_CLEAR));
    return rc ? tpm_fail(err, rc, "start the TPM") : ST_OK;
}

enum st_code
tpm_open(const char *tcti, struct tpm **out, struct st_err *err)
{
    AUTO(tpm_closep) struct tpm *tpm = calloc(1, sizeof(*tpm));
    if (!tpm)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for a TPM");
    TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti, &tpm->tcti);
    if (rc)
        return st_fail(err, ST_UNAVAILABLE, "no TPM answers at %s: %s (0x%08x)", tcti,
                       Tss2_RC_Decode(rc), rc);
    rc = Esys_Initialize(&tpm->esys, tpm->tcti, NULL);
    if (rc)
        return tpm_fail(err, rc, "initialise ESAPI");
    enum st_code code;
    if ((code = start_up(tpm, err)) || (code = flush_stale(tpm, transient_first, err)) ||
        (code = flush_stale(tpm, session_first, err)))
        return code;
    *out = TAKE(tpm);
    return ST_OK;
}

void
tpm_close(struct tpm *tpm)
{
    if (!tpm)
        return;
    if (tpm->esys) {
        tpm_keys_flush(tpm);
        Esys_Finalize(&tpm->esys);
    }
    if (tpm->tcti)
        Tss2_TctiLdr_Finalize(&tpm->tcti);
    free(tpm);
}

enum st_code
tpm_session_start(struct tpm *tpm, TPM2_SE type, ESYS_TR salt, struct tpm_handle *out,
                  struct st_err *err)
{
    const TPMT_SYM_DEF aes = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    ESYS_TR session;
    TSS2_RC rc = TPM_COMMAND(Esys_StartAuthSession(
        tpm->esys, salt, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL,
        type, salt == ESYS_TR_NONE ? &none : &aes, TPM2_ALG_SHA256, &session));
    if (rc)
        return tpm_fail(err, rc, "start a session");
    *out = (struct tpm_handle){tpm, session};
    return ST_OK;
}

enum st_code
tpm_session_encrypts(const struct tpm_handle *session, TPMA_SESSION which,
                     struct st_err *err)
{
    TSS2_RC rc = Esys_TRSess_SetAttributes(session->tpm->esys, session->esys,
                                           TPMA_SESSION_CONTINUESESSION | which, 0xff);
    return rc ? tpm_fail(err, rc, "set what a session encrypts") : ST_OK;
}

/* What the vendor left in NV.  An index is read with its own empty authorization where
 * its attributes allow that, else with the owner's. */
#include "tpm/device_internal.h"

#include <string.h>

enum {
    NV_READ_LEN = 512, /* one TPM2_NV_Read: no chip takes less */
};

static TSS2_RC
read_parts(struct tpm *tpm, ESYS_TR index, ESYS_TR auth, UINT16 len, uint8_t *out)
{
    for (UINT16 at = 0; at < len;) {
        UINT16 want = len - at;
        if (want > NV_READ_LEN)
            want = NV_READ_LEN;
        AUTO(tpm_esys_freep) TPM2B_MAX_NV_BUFFER *part = NULL;
        TSS2_RC rc =
            TPM_COMMAND(Esys_NV_Read(tpm->esys, auth, index, ESYS_TR_PASSWORD,
                                     ESYS_TR_NONE, ESYS_TR_NONE, want, at, &part));
        if (rc)
            return rc;
        if (part->size != want)
            return TSS2_ESYS_RC_MALFORMED_RESPONSE;
        memcpy(out + at, part->buffer, want);
        at += want;
    }
    return 0;
}

TSS2_RC
tpm_nv_read(struct tpm *tpm, TPM2_HANDLE handle, size_t max, uint8_t *out,
            size_t *out_len)
{
    ESYS_TR index;
    TSS2_RC rc = TPM_COMMAND(Esys_TR_FromTPMPublic(tpm->esys, handle, ESYS_TR_NONE,
                                                   ESYS_TR_NONE, ESYS_TR_NONE, &index));
    if (rc)
        return rc;
    AUTO(tpm_esys_freep) TPM2B_NV_PUBLIC *nv = NULL;
    UINT16 len = 0;
    rc = TPM_COMMAND(Esys_NV_ReadPublic(tpm->esys, index, ESYS_TR_NONE, ESYS_TR_NONE,
                                        ESYS_TR_NONE, &nv, NULL));
    if (!rc) {
        const bool own = nv->nvPublic.attributes & TPMA_NV_AUTHREAD;
        len = nv->nvPublic.dataSize < max ? nv->nvPublic.dataSize : (UINT16)max;
        rc = read_parts(tpm, index, own ? index : ESYS_TR_RH_OWNER, len, out);
    }
    Esys_TR_Close(tpm->esys, &index);
    if (!rc)
        *out_len = len;
    return rc;
}

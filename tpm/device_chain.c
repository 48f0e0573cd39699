/* What is between the certificate of an EK and its vendor's root, where the TPM holds it:
 * TCG EK Credential Profile for TPM Family 2.0, 2.5: 2.2.1.5.2.  One certificate after
 * the other in DER, in as many indices as it takes, in the order of their handles; one
 * that does not fit into an index goes on in the next. */
#include "tpm/device_internal.h"

#include <string.h>

enum {
    CHAIN_FIRST = 0x01c00100,
    CHAIN_LAST = 0x01c001ff,
};

/* Appends the contents of the indices, as far as there is room. */
static TSS2_RC
read_indices(struct tpm *tpm, const TPML_HANDLE *handles, uint8_t out[TPM_EK_CHAIN_MAX],
             size_t *len)
{
    for (UINT32 i = 0; i < handles->count; i++) {
        size_t more = 0;
        if (handles->handle[i] > CHAIN_LAST || *len == TPM_EK_CHAIN_MAX)
            return 0;
        TSS2_RC rc = tpm_nv_read(tpm, handles->handle[i], TPM_EK_CHAIN_MAX - *len,
                                 out + *len, &more);
        if (rc)
            return rc;
        *len += more;
    }
    return 0;
}

/* Whatever the TPM objects to ends it: what came before is good for itself. */
static size_t
read_all(struct tpm *tpm, uint8_t out[TPM_EK_CHAIN_MAX])
{
    size_t len = 0;
    TPMI_YES_NO more = TPM2_YES;
    for (TPM2_HANDLE next = CHAIN_FIRST; more && next <= CHAIN_LAST;) {
        AUTO(tpm_esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        if (TPM_COMMAND(Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE,
                                           ESYS_TR_NONE, TPM2_CAP_HANDLES, next,
                                           CHAIN_LAST - next + 1, &more, &found)))
            break;
        const TPML_HANDLE *handles = &found->data.handles;
        if (handles->count == 0 || handles->handle[handles->count - 1] < next ||
            read_indices(tpm, handles, out, &len))
            break;
        next = handles->handle[handles->count - 1] + 1;
    }
    return len;
}

void
tpm_ek_chain_find(struct tpm *tpm, struct tpm_own_chain *out)
{
    uint8_t bytes[TPM_EK_CHAIN_MAX];
    const size_t len = read_all(tpm, bytes);
    size_t used = 0;
    memset(out, 0, sizeof(*out));
    for (size_t at = 0; at < len && out->count < TPM_EK_CHAIN_CERTS;) {
        const size_t cert = tpm_der_len(bytes + at, len - at);
        if (cert == 0 && bytes[at] != 0x00 && bytes[at] != 0xff)
            return; /* neither a certificate nor padding */
        memcpy(out->bytes + used, bytes + at, cert);
        if (cert > 0)
            out->lens[out->count++] = cert;
        used += cert;
        at += cert > 0 ? cert : 1;
    }
}

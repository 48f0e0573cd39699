#include "tpm/device_internal.h"

#include <string.h>

enum {
    READ_ROUNDS = 5, /* PCRs change while they are read: start again so often */
};

TPML_PCR_SELECTION
tpm_pcr_selection(uint32_t mask)
{
    return (TPML_PCR_SELECTION){
        .count = 1,
        .pcrSelections[0] =
            {
                .hash = TPM2_ALG_SHA256,
                .sizeofSelect = 3,
                .pcrSelect = {mask & 0xff, mask >> 8 & 0xff, mask >> 16 & 0xff},
            },
    };
}

bool
tpm_pcr_mask(const TPML_PCR_SELECTION *selection, uint32_t *out)
{
    const TPMS_PCR_SELECTION *bank = &selection->pcrSelections[0];
    *out = 0;
    if (selection->count != 1 || bank->hash != TPM2_ALG_SHA256)
        return false;
    for (unsigned i = 0; i < bank->sizeofSelect && i < TPM2_PCR_SELECT_MAX; i++)
        *out |= (uint32_t)bank->pcrSelect[i] << 8 * i;
    return true;
}

/* Copies what the TPM gave of `mask` to out and says in *got which that were: it may
 * give fewer than it was asked for, never others. */
static bool
take_values(uint32_t mask, const TPML_PCR_SELECTION *selection, const TPML_DIGEST *values,
            struct tpm_pcrs *out, uint32_t *got)
{
    if (!tpm_pcr_mask(selection, got))
        return selection->count == 0 || values->count == 0;
    if (*got & ~mask || (UINT32)__builtin_popcount(*got) != values->count)
        return false;
    const TPM2B_DIGEST *value = values->digests;
    for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++) {
        if (!(*got >> pcr & 1))
            continue;
        if (value->size != SHA256_LEN)
            return false;
        memcpy(out->digest[pcr], value++->buffer, SHA256_LEN);
    }
    return true;
}

/* One round; *out_steady: no PCR was extended between its commands. */
static enum st_code
read_all(struct tpm *tpm, struct tpm_pcrs *out, bool *out_steady, struct st_err *err)
{
    uint32_t first_counter = 0;
    *out_steady = true;
    for (uint32_t left = (1u << TPM_PCR_COUNT) - 1, got; left; left &= ~got) {
        const TPML_PCR_SELECTION wanted = tpm_pcr_selection(left);
        AUTO(tpm_esys_freep) TPML_PCR_SELECTION *selection = NULL;
        AUTO(tpm_esys_freep) TPML_DIGEST *values = NULL;
        UINT32 counter;
        TSS2_RC rc =
            TPM_COMMAND(Esys_PCR_Read(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                      &wanted, &counter, &selection, &values));
        if (rc)
            return tpm_fail(err, rc, "read PCRs");
        if (!take_values(left, selection, values, out, &got))
            return st_fail(err, ST_INTERNAL, "read PCRs: the TPM gave others");
        if (!got)
            return st_fail(err, ST_FAILED_PRECONDITION,
                           "the TPM's SHA-256 bank of PCRs is not active");
        if (left == (1u << TPM_PCR_COUNT) - 1)
            first_counter = counter;
        if (counter != first_counter)
            *out_steady = false;
    }
    return ST_OK;
}

enum st_code
tpm_pcrs_read(struct tpm *tpm, struct tpm_pcrs *out, struct st_err *err)
{
    for (int round = 0; round < READ_ROUNDS; round++) {
        struct tpm_pcrs pcrs;
        bool steady = false;
        enum st_code code = read_all(tpm, &pcrs, &steady, err);
        if (code)
            return code;
        if (steady) {
            *out = pcrs;
            return ST_OK;
        }
    }
    return st_fail(err, ST_UNAVAILABLE, "the PCRs keep changing while they are read");
}

enum st_code
tpm_pcr_extend(struct tpm *tpm, unsigned pcr, const uint8_t digest[SHA256_LEN],
               struct st_err *err)
{
    if (pcr >= TPM_PCR_COUNT)
        return st_fail(err, ST_INVALID_ARGUMENT, "PCR %u cannot be extended here", pcr);
    TPML_DIGEST_VALUES values = {.count = 1, .digests[0].hashAlg = TPM2_ALG_SHA256};
    memcpy(values.digests[0].digest.sha256, digest, SHA256_LEN);
    TSS2_RC rc =
        TPM_COMMAND(Esys_PCR_Extend(tpm->esys, ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD,
                                    ESYS_TR_NONE, ESYS_TR_NONE, &values));
    return rc ? tpm_fail(err, rc, "extend a PCR") : ST_OK;
}

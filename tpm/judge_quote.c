#include "tpm/judge_internal.h"

/* Part 2, 10.6 "Selections": SHA-256, PCR 0 to 15 of 24. */
static enum st_code
selection_check(const TPML_PCR_SELECTION *list, struct st_err *err)
{
    enum {
        SELECT_LEN = 3 /* of a PC Client TPM */
    };
    const TPMS_PCR_SELECTION *bank = &list->pcrSelections[0];
    if (REFUSES(0x08a, list->count != 1))
        return tpm_malformed(err, "the quote has not one PCR selection");
    if (REFUSES(0x08b, bank->sizeofSelect != SELECT_LEN))
        return tpm_malformed(err, "the quote's PCR selection has not 3 bytes");
    if (REFUSES(0x06a, bank->hash != TPM2_ALG_SHA256))
        return tpm_refused(err, "the quote is not over the SHA-256 bank");
    if (REFUSES(0x07a, bank->pcrSelect[0] != 0xff || bank->pcrSelect[1] != 0xff ||
                           bank->pcrSelect[2] != 0))
        return tpm_refused(err, "the quote is not over PCR 0 to 15");
    return ST_OK;
}

static enum st_code
digest_check(const TPM2B_DIGEST *quoted, const struct tpm_pcrs *pcrs, struct st_err *err)
{
    uint8_t digest[SHA256_LEN];
    enum st_code code = tpm_pcrs_digest(pcrs, digest, err);
    if (code)
        return code;
    if (REFUSES(0x10a, quoted->size != SHA256_LEN ||
                           !secret_equal_bytes(quoted->buffer, digest, SHA256_LEN)))
        return tpm_refused(err, "the quote is over other PCR values");
    return ST_OK;
}

/* What the quote says, before anybody asks who says it. */
static enum st_code
statement_check(const TPMS_ATTEST *quote, const uint8_t nonce[NONCE_LEN],
                const struct tpm_pcrs *pcrs, struct st_err *err)
{
    enum st_code code;
    if (REFUSES(0x01a, quote->magic != TPM2_GENERATED_VALUE))
        return tpm_refused(err, "the quote was not generated inside a TPM");
    if (REFUSES(0x02a, quote->type != TPM2_ST_ATTEST_QUOTE))
        return tpm_refused(err, "the statement is not a quote");
    if (REFUSES(0x03a, quote->extraData.size != NONCE_LEN))
        return tpm_refused(err, "the quote's nonce has not 32 bytes");
    if (REFUSES(0x03b, !secret_equal_bytes(quote->extraData.buffer, nonce, NONCE_LEN)))
        return tpm_refused(err, "the quote is over another nonce");
    if ((code = selection_check(&quote->attested.quote.pcrSelect, err)))
        return code;
    return digest_check(&quote->attested.quote.pcrDigest, pcrs, err);
}

enum st_code
tpm_quote_check(const void *ak_public, size_t ak_public_len,
                const struct tpm_quote_evidence *evidence, const uint8_t nonce[NONCE_LEN],
                const struct tpm_pcrs *pcrs, struct tpm_clock *out, struct st_err *err)
{
    TPMT_PUBLIC ak;
    TPMS_ATTEST quote;
    enum st_code code = tpm_ak_read_public(ak_public, ak_public_len, &ak, err);
    if (code)
        return err ? st_wrap(err, "the AK of the record") : code;
    if ((code = tpm_attest_read(evidence->quote, evidence->quote_len, &quote, err)) ||
        (code = statement_check(&quote, nonce, pcrs, err)) ||
        (code = tpm_signature_check(&ak, evidence->signature, evidence->signature_len,
                                    evidence->quote, evidence->quote_len, err)))
        return code;
    *out = (struct tpm_clock){
        .clock_ms = quote.clockInfo.clock,
        .reset_count = quote.clockInfo.resetCount,
        .restart_count = quote.clockInfo.restartCount,
    };
    return ST_OK;
}

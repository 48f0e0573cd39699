#include "tpm/device_internal.h"

#include <string.h>
#include <tss2/tss2_mu.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

enum {
    QUOTE_ROUNDS = 5, /* a PCR is extended between quote and reading: try so often */
};

static enum st_code
signature_pack(const TPMT_SIGNATURE *signature, struct tpm_quote *out, struct st_err *err)
{
    size_t len = 0;
    TSS2_RC rc = 0;
    if (signature->sigAlg == TPM2_ALG_RSASSA) {
        const TPM2B_PUBLIC_KEY_RSA *bare = &signature->signature.rsassa.sig;
        if (bare->size > sizeof(out->signature))
            return st_fail(err, ST_INTERNAL, "a signature of %u bytes", bare->size);
        memcpy(out->signature, bare->buffer, bare->size);
        len = bare->size;
    } else {
        rc = Tss2_MU_TPMT_SIGNATURE_Marshal(signature, out->signature,
                                            sizeof(out->signature), &len);
    }
    if (rc)
        return tpm_fail(err, rc, "encode the quote's signature");
    out->signature_len = len;
    return ST_OK;
}

static enum st_code
quote_once(struct tpm *tpm, enum tpm_ak_type ak_type, const uint8_t nonce[NONCE_LEN],
           struct tpm_quote *out, struct st_err *err)
{
    const struct tpm_key *ak;
    enum st_code code = tpm_key_load(tpm, tpm_ak_primary(ak_type), &ak, err);
    if (code)
        return code;
    TPM2B_DATA extra = {.size = NONCE_LEN};
    memcpy(extra.buffer, nonce, NONCE_LEN);
    const TPML_PCR_SELECTION all = tpm_pcr_selection((1u << TPM_PCR_COUNT) - 1);
    const TPMT_SIG_SCHEME of_key = {.scheme = TPM2_ALG_NULL};
    AUTO(tpm_esys_freep) TPM2B_ATTEST *quoted = NULL;
    AUTO(tpm_esys_freep) TPMT_SIGNATURE *signature = NULL;
    TSS2_RC rc =
        TPM_COMMAND(Esys_Quote(tpm->esys, ak->handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                               ESYS_TR_NONE, &extra, &of_key, &all, &quoted, &signature));
    if (rc)
        return tpm_fail(err, rc, "quote");
    if (quoted->size > sizeof(out->quote))
        return st_fail(err, ST_INTERNAL, "a quote of %u bytes", quoted->size);
    memcpy(out->quote, quoted->attestationData, quoted->size);
    out->quote_len = quoted->size;
    return signature_pack(signature, out, err);
}

/* Whether out->quote speaks of out->pcrs.  The judge does the rest; this is only to know
 * when to ask again. */
static enum st_code
speaks_of_pcrs(const struct tpm_quote *quote, bool *out, struct st_err *err)
{
    TPMS_ATTEST attest = {0};
    size_t offset = 0;
    TSS2_RC rc =
        Tss2_MU_TPMS_ATTEST_Unmarshal(quote->quote, quote->quote_len, &offset, &attest);
    if (rc || attest.type != TPM2_ST_ATTEST_QUOTE)
        return st_fail(err, ST_INTERNAL, "the TPM's quote is no quote (0x%08x)", rc);
    uint8_t digest[SHA256_LEN];
    if (wc_Sha256Hash((const byte *)quote->pcrs.digest, sizeof(quote->pcrs.digest),
                      digest))
        return st_fail(err, ST_INTERNAL, "SHA-256 failed");
    const TPM2B_DIGEST *quoted = &attest.attested.quote.pcrDigest;
    *out = quoted->size == SHA256_LEN && !memcmp(quoted->buffer, digest, SHA256_LEN);
    return ST_OK;
}

enum st_code
tpm_quote(struct tpm *tpm, enum tpm_ak_type ak_type, const uint8_t nonce[NONCE_LEN],
          struct tpm_quote *out, struct st_err *err)
{
    for (int round = 0; round < QUOTE_ROUNDS; round++) {
        struct tpm_quote quote = {0};
        bool agree = false;
        enum st_code code = quote_once(tpm, ak_type, nonce, &quote, err);
        tpm_keys_flush(tpm);
        if (code || (code = tpm_pcrs_read(tpm, &quote.pcrs, err)) ||
            (code = speaks_of_pcrs(&quote, &agree, err)))
            return code;
        if (agree) {
            *out = quote;
            return ST_OK;
        }
    }
    return st_fail(err, ST_UNAVAILABLE, "the PCRs keep changing while they are quoted");
}

#include "tpm/judge_internal.h"

#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>

enum st_code
tpm_pcrs_unpack(const ProtobufCBinaryData *items, size_t count, struct tpm_pcrs *out,
                struct st_err *err)
{
    struct tpm_pcrs pcrs = {0};
    if (REFUSES(0x09a, count != TPM_PCR_COUNT))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "%zu PCRs where 16 belong", count);
    for (size_t i = 0; i < count && i < TPM_PCR_COUNT; i++) {
        if (REFUSES(0x09b, items[i].len != SHA256_LEN))
            return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                               "PCR %zu has %zu bytes, not 32", i, items[i].len);
        size_t len = items[i].len < SHA256_LEN ? items[i].len : SHA256_LEN;
        if (len > 0)
            memcpy(pcrs.digest[i], items[i].data, len);
    }
    *out = pcrs;
    return ST_OK;
}

enum st_code
tpm_pcrs_digest(const struct tpm_pcrs *pcrs, uint8_t out[SHA256_LEN], struct st_err *err)
{
    _Static_assert(sizeof(pcrs->digest) == TPM_PCR_COUNT * SHA256_LEN, "no padding");
    if (wc_Sha256Hash(pcrs->digest[0], sizeof(pcrs->digest), out))
        return tpm_crypto_failed(err, "hash the PCRs");
    return ST_OK;
}

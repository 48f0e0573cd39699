/* What tpm_seal() made, as it comes back from a file: as it is, and with a digest at its
 * end that fits, which nobody needs a TPM to make. */
#include "proto/sha256.h"
#include "tests/fuzz/fuzz.h"
#include "tpm/device_internal.h"

#include <string.h>

static void
unpack(const uint8_t *bytes, size_t len)
{
    struct tpm_sealed sealed = {0}, again = {0};
    struct tpm_sealed_parts parts;
    struct tpm_authority authority;
    TPM2B_PUBLIC public;
    struct st_err err = {0};
    if (len > sizeof(sealed.bytes))
        return;
    memcpy(sealed.bytes, bytes, len);
    sealed.len = len;
    if (tpm_sealed_unpack(&sealed, &parts, &err)) {
        FUZZ_HOLDS(err.code == ST_DATA_LOSS);
        return;
    }
    FUZZ_HOLDS(!tpm_sealed_public(&parts, &public, &err));
    FUZZ_HOLDS(!parts.approvable ==
               (tpm_sealed_authority(&sealed, &authority, &err) == ST_NOT_FOUND));
    FUZZ_HOLDS(!tpm_sealed_pack(&parts, &again, &err));
    FUZZ_HOLDS(again.len == len && memcmp(again.bytes, bytes, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint8_t whole[TPM_SEALED_MAX];
    unpack(bytes, len);
    if (len + SHA256_LEN > sizeof(whole))
        return 0;
    memcpy(whole, bytes, len);
    sha256_of(whole, len, whole + len);
    unpack(whole, len + SHA256_LEN);
    return 0;
}

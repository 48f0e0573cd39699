/* TPMT_PUBLIC of an attestation key: the first thing that a stranger sends. */
#include "tests/fuzz/fuzz.h"
#include "tpm/judge.h"

#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tpm_ak ak;
    struct st_err err = {0};
    if (tpm_ak_check(bytes, len, &ak, &err)) {
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT && *err.text);
        return 0;
    }
    FUZZ_HOLDS(ak.public_len == len && memcmp(ak.public, bytes, len) == 0);
    return 0;
}

/* An endorsement key, its certificate, and the challenge that is made for it.  Pieces:
 * SubjectPublicKeyInfo, certificate. */
#include "tests/fuzz/fuzz.h"
#include "tpm/judge.h"

#include <string.h>

static void
challenge(const struct tpm_ek *ek)
{
    const uint8_t name[TPM_NAME_LEN] = {0, 0x0b, 1, 2, 3};
    const struct secret credential = {.len = SHA256_LEN, .bytes = {7}};
    struct tpm_challenge challenge;
    struct st_err err = {0};
    if (tpm_challenge_make(ek, name, &credential, &challenge, &err)) {
        /* A modulus that is no product of primes: wolfSSL finds out, or nobody does. */
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT || err.code == ST_INTERNAL);
        return;
    }
    FUZZ_HOLDS(challenge.id_object_len <= sizeof(challenge.id_object));
    FUZZ_HOLDS(challenge.encrypted_secret_len <= sizeof(challenge.encrypted_secret));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    FUZZ_PIECE spki = fuzz_take(&input);
    FUZZ_PIECE cert = fuzz_take(&input);
    struct tpm_ek ek;
    struct st_err err = {0};
    if (tpm_ek_check(spki.bytes, spki.len, &ek, &err)) {
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT);
        return 0;
    }
    FUZZ_HOLDS(ek.spki_len == spki.len && memcmp(ek.spki, spki.bytes, spki.len) == 0);
    if (tpm_ek_cert_check(cert.bytes, cert.len, &ek, &err))
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT || err.code == ST_PERMISSION_DENIED);
    challenge(&ek);
    return 0;
}

/* What a TPM is said to hold between its EK certificate and a CA.  Pieces: EK
 * certificate, CA, and the rest is the chain. */
#include "tests/fuzz/fuzz.h"
#include "tpm/judge.h"

#include <string.h>

enum {
    GIVEN_MAX = TPM_EK_CHAIN_CERTS + 2,
};

static void
holds(const struct tpm_ek_chain *chain, const ProtobufCBinaryData *given)
{
    size_t bytes = 0, at = 0;
    FUZZ_HOLDS(chain->count <= TPM_EK_CHAIN_CERTS);
    for (size_t i = 0; i < chain->count; i++) {
        const struct der *cert = &chain->links[i].cert;
        while (at < TPM_EK_CHAIN_CERTS && given[at].data != cert->at)
            at++;
        FUZZ_HOLDS(at < TPM_EK_CHAIN_CERTS && given[at].len == cert->len);
        bytes += cert->len;
    }
    FUZZ_HOLDS(bytes <= TPM_EK_CHAIN_MAX);
}

/* What is kept in a record is read again from there, and is the same. */
static void
is_the_same_again(const struct fuzz_piece *ek, const struct tpm_ek_chain *chain)
{
    ProtobufCBinaryData kept[TPM_EK_CHAIN_CERTS];
    struct tpm_ek_chain again;
    for (size_t i = 0; i < chain->count; i++)
        kept[i] = (ProtobufCBinaryData){chain->links[i].cert.len,
                                        (uint8_t *)chain->links[i].cert.at};
    tpm_ek_chain_read(ek->bytes, ek->len, kept, chain->count, &again);
    FUZZ_HOLDS(again.count == chain->count);
    for (size_t i = 0; i < chain->count; i++)
        FUZZ_HOLDS(again.links[i].cert.at == chain->links[i].cert.at &&
                   again.links[i].below == chain->links[i].below);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    FUZZ_PIECE ek = fuzz_take(&input);
    FUZZ_PIECE ca = fuzz_take(&input);
    struct fuzz_piece pieces[GIVEN_MAX];
    ProtobufCBinaryData given[GIVEN_MAX];
    struct tpm_ek_chain chain;
    struct st_err err = {0};
    for (int i = 0; i < GIVEN_MAX; i++) {
        pieces[i] = fuzz_take(&input);
        given[i] = (ProtobufCBinaryData){pieces[i].len, pieces[i].bytes};
    }
    tpm_ek_chain_read(ek.bytes, ek.len, given, GIVEN_MAX, &chain);
    holds(&chain, given);
    is_the_same_again(&ek, &chain);
    if (tpm_ek_path_check(ek.bytes, ek.len, &chain, ca.bytes, ca.len, &err))
        FUZZ_HOLDS(err.code == ST_PERMISSION_DENIED);
    else
        FUZZ_HOLDS(chain.count > 0);
    for (int i = 0; i < GIVEN_MAX; i++)
        fuzz_piece_free(&pieces[i]);
    return 0;
}

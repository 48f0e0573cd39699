/* A quote by the AK of a record.  Pieces: TPMT_PUBLIC, TPMS_ATTEST, TPMT_SIGNATURE, and
 * one for each PCR. */
#include "proto/secret.h"
#include "tests/fuzz/fuzz.h"
#include "tpm/judge.h"

enum {
    PCRS_MAX = 20
};

static void
judge(const struct fuzz_piece *ak, const struct tpm_quote_evidence *evidence,
      const struct fuzz_piece *items, size_t count)
{
    static const uint8_t nonce[NONCE_LEN] = "the nonce of the seeds, 32 bytes";
    ProtobufCBinaryData wire[PCRS_MAX];
    struct tpm_pcrs pcrs;
    struct tpm_clock clock;
    struct st_err err = {0};
    for (size_t i = 0; i < count; i++)
        wire[i] = (ProtobufCBinaryData){items[i].len, items[i].bytes};
    if (tpm_pcrs_unpack(wire, count, &pcrs, &err)) {
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT);
        pcrs = (struct tpm_pcrs){0};
    }
    if (tpm_quote_check(ak->bytes, ak->len, evidence, nonce, &pcrs, &clock, &err))
        FUZZ_HOLDS(err.code == ST_INVALID_ARGUMENT || err.code == ST_PERMISSION_DENIED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz_input input = {bytes, len};
    struct fuzz_piece items[PCRS_MAX];
    FUZZ_PIECE ak = fuzz_take(&input);
    FUZZ_PIECE quote = fuzz_take(&input);
    FUZZ_PIECE signature = fuzz_take(&input);
    const struct tpm_quote_evidence evidence = {quote.bytes, quote.len, signature.bytes,
                                                signature.len};
    size_t count = 0;
    while (count < PCRS_MAX && input.left > 0)
        items[count++] = fuzz_take(&input);
    judge(&ak, &evidence, items, count);
    for (size_t i = 0; i < count; i++)
        fuzz_piece_free(&items[i]);
    return 0;
}

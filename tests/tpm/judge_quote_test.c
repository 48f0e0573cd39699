/* What is refused as a quote, whoever signed it, and who must have signed it. */
#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"

#include <stdlib.h>
#include <string.h>

static struct forge_ak *aks[FORGE_KINDS];

/* One attempt: everything that the judge is given.  It begins flawless. */
struct attempt {
    const struct forge_ak *ak; /* of the record */
    uint8_t nonce[NONCE_LEN];  /* that was sent */
    struct tpm_pcrs pcrs;      /* that were claimed */
    TPMS_ATTEST quote;
};

static struct attempt
begin(enum forge_kind kind)
{
    struct attempt attempt = {.ak = aks[kind]};
    for (size_t i = 0; i < NONCE_LEN; i++)
        attempt.nonce[i] = (uint8_t)(0xa0 + i);
    for (size_t i = 0; i < TPM_PCR_COUNT; i++)
        memset(attempt.pcrs.digest[i], (int)i + 1, SHA256_LEN);
    attempt.quote = forge_quote(attempt.nonce, &attempt.pcrs);
    return attempt;
}

static enum st_code
judge(const struct attempt *attempt, const struct forge_bytes *quote,
      const struct forge_bytes *signature, struct tpm_clock *out, struct st_err *err)
{
    const TPMT_PUBLIC template = forge_ak_public(attempt->ak);
    FORGE_BYTES public = forge_public(&template);
    const struct tpm_quote_evidence evidence = {quote->bytes, quote->len,
                                                signature->bytes, signature->len};
    return tpm_quote_check(public.bytes, public.len, &evidence, attempt->nonce,
                           &attempt->pcrs, out, err);
}

/* The code, and words of the sentence: refused for this reason and not by chance. */
static void
expect(enum st_code code, enum st_code expected, const struct st_err *err,
       const char *words)
{
    if (code != expected || (code && !strstr(err->text, words)))
        fail_msg("%s \"%s\" where %s \"%s\" belongs", st_code_name(code), err->text,
                 st_code_name(expected), words);
}

/* These bytes, signed by the genuine AK. */
static void
expect_bytes(const struct attempt *attempt, const struct forge_bytes *quote,
             enum st_code expected, const char *words)
{
    struct st_err err = {0};
    struct tpm_clock clock = {0};
    const TPMT_SIGNATURE signed_by_ak = forge_sign(attempt->ak, quote);
    FORGE_BYTES signature = forge_signature(&signed_by_ak);
    expect(judge(attempt, quote, &signature, &clock, &err), expected, &err, words);
    if (expected) /* outputs are written only on success */
        assert_int_equal(clock.clock_ms, 0);
}

static void
expect_refused(const struct attempt *attempt, enum st_code expected, const char *words)
{
    FORGE_BYTES quote = forge_attest(&attempt->quote);
    expect_bytes(attempt, &quote, expected, words);
}

/* A good quote with this in the place of its signature. */
static void
expect_signature(const struct attempt *attempt, const struct forge_bytes *quote,
                 const struct forge_bytes *signature, enum st_code expected,
                 const char *words)
{
    struct st_err err = {0};
    struct tpm_clock clock;
    expect(judge(attempt, quote, signature, &clock, &err), expected, &err, words);
}

static void
expect_parsed(const struct attempt *attempt, const struct forge_bytes *quote,
              const TPMT_SIGNATURE *signature, enum st_code expected, const char *words)
{
    FORGE_BYTES bytes = forge_signature(signature);
    expect_signature(attempt, quote, &bytes, expected, words);
}

#define FOR_EACH_KIND(kind) for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++)

static void
a_flawless_quote_is_taken_with_its_clock(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        struct tpm_clock clock;
        struct st_err err = {0};
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        const TPMT_SIGNATURE parsed = forge_sign(attempt.ak, &quote);
        FORGE_BYTES signature = forge_signature(&parsed);
        assert_ok(judge(&attempt, &quote, &signature, &clock, &err));
        assert_int_equal(clock.clock_ms, 123456);
        assert_int_equal(clock.reset_count, 7);
        assert_int_equal(clock.restart_count, 2);
    }
}

static void
a_bare_rsa_signature_is_taken(void **state)
{
    (void)state;
    const struct attempt attempt = begin(FORGE_RSA);
    FORGE_BYTES quote = forge_attest(&attempt.quote);
    const TPMT_SIGNATURE parsed = forge_sign(attempt.ak, &quote);
    FORGE_BYTES bare = forge_copy(parsed.signature.rsassa.sig.buffer, 256);
    expect_signature(&attempt, &quote, &bare, ST_OK, "");
}

/* Some chips write them so. */
static void
an_ecc_signature_without_leading_zeros_is_taken(void **state)
{
    (void)state;
    struct attempt attempt = begin(FORGE_ECC);
    for (bool seen = false; !seen; attempt.quote.clockInfo.clock++) {
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        TPMT_SIGNATURE parsed = forge_sign(attempt.ak, &quote);
        TPM2B_ECC_PARAMETER *r = &parsed.signature.ecdsa.signatureR;
        if (r->buffer[0] != 0)
            continue;
        memmove(r->buffer, r->buffer + 1, --r->size);
        expect_parsed(&attempt, &quote, &parsed, ST_OK, "");
        seen = true;
    }
}

static void
N01_what_no_tpm_generated_is_refused(void **state)
{
    (void)state;
    const TPM2_GENERATED bad[] = {0, 0xdeadbeef, 0x474354ff, 0xff544346, 0xff544348};
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            attempt.quote.magic = bad[i];
            expect_refused(&attempt, ST_PERMISSION_DENIED, "not generated inside a TPM");
        }
    }
}

static void
N02_every_other_statement_of_the_genuine_ak_is_refused(void **state)
{
    (void)state;
    const TPMI_ST_ATTEST other[] = {
        TPM2_ST_ATTEST_CERTIFY,       TPM2_ST_ATTEST_NV,
        TPM2_ST_ATTEST_CREATION,      TPM2_ST_ATTEST_TIME,
        TPM2_ST_ATTEST_COMMAND_AUDIT, TPM2_ST_ATTEST_SESSION_AUDIT,
    };
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++) {
            attempt.quote.type = other[i];
            memset(&attempt.quote.attested, 0, sizeof(attempt.quote.attested));
            expect_refused(&attempt, ST_PERMISSION_DENIED, "not a quote");
        }
        /* A type that is none. */
        attempt = begin(kind);
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        quote.bytes[5] = 0xee;
        expect_bytes(&attempt, &quote, ST_INVALID_ARGUMENT, "no TPMS_ATTEST");
    }
}

static void
N03_a_quote_over_another_nonce_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        TPM2B_DATA *extra = &attempt.quote.extraData;
        for (size_t i = 0; i < NONCE_LEN; i++) {
            extra->buffer[i] ^= 1;
            expect_refused(&attempt, ST_PERMISSION_DENIED, "another nonce");
            extra->buffer[i] ^= 1;
        }
        /* Empty, every prefix, one byte more, and as long as can be. */
        const UINT16 lens[] = {0, 1, 16, 31, 33, 64};
        for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
            extra->size = lens[i];
            expect_refused(&attempt, ST_PERMISSION_DENIED, "nonce has not 32 bytes");
        }
    }
}

static void
N06_a_quote_over_another_bank_is_refused(void **state)
{
    (void)state;
    const TPMI_ALG_HASH other[] = {TPM2_ALG_SHA1, TPM2_ALG_SHA384, TPM2_ALG_SHA512,
                                   TPM2_ALG_SM3_256, TPM2_ALG_NULL};
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++) {
            attempt.quote.attested.quote.pcrSelect.pcrSelections[0].hash = other[i];
            expect_refused(&attempt, ST_PERMISSION_DENIED, "SHA-256 bank");
        }
    }
}

static void
N07_a_quote_over_other_pcrs_is_refused(void **state)
{
    (void)state;
    const uint8_t other[][3] = {
        {0, 0, 1},       /* {16} */
        {0, 0, 0x80},    /* {23} */
        {0, 0, 0},       /* {} */
        {0xfe, 0xff, 0}, /* without 0 */
        {0xff, 0x7f, 0}, /* without 15 */
        {0xff, 0xef, 0}, /* without 12 */
        {0xff, 0xff, 1}, /* and 16 */
        {0xff, 0xff, 0xff},
    };
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++) {
            memcpy(attempt.quote.attested.quote.pcrSelect.pcrSelections[0].pcrSelect,
                   other[i], 3);
            expect_refused(&attempt, ST_PERMISSION_DENIED, "not over PCR 0 to 15");
        }
    }
}

static void
N08_a_selection_of_another_shape_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        TPML_PCR_SELECTION *list = &attempt.quote.attested.quote.pcrSelect;
        const TPMS_PCR_SELECTION good = list->pcrSelections[0];

        list->count = 0;
        expect_refused(&attempt, ST_INVALID_ARGUMENT, "not one PCR selection");
        /* A second bank: SHA-1, empty, or the same once more. */
        list->count = 2;
        list->pcrSelections[1] =
            (TPMS_PCR_SELECTION){TPM2_ALG_SHA1, 3, {0xff, 0xff, 0xff}};
        expect_refused(&attempt, ST_INVALID_ARGUMENT, "not one PCR selection");
        list->pcrSelections[1] = (TPMS_PCR_SELECTION){TPM2_ALG_SHA256, 3, {0}};
        expect_refused(&attempt, ST_INVALID_ARGUMENT, "not one PCR selection");
        list->pcrSelections[1] = good;
        expect_refused(&attempt, ST_INVALID_ARGUMENT, "not one PCR selection");
        list->count = 16;
        for (size_t i = 1; i < 16; i++)
            list->pcrSelections[i] = good;
        expect_refused(&attempt, ST_INVALID_ARGUMENT, "not one PCR selection");

        list->count = 1;
        for (UINT8 len = 0; len <= 4; len++) {
            list->pcrSelections[0].sizeofSelect = len;
            if (len != 3)
                expect_refused(&attempt, ST_INVALID_ARGUMENT, "not 3 bytes");
        }
    }
}

static ProtobufCBinaryData
item(const struct forge_bytes *bytes)
{
    return (ProtobufCBinaryData){bytes->len, bytes->bytes};
}

static void
sixteen_pcrs_are_unpacked_in_order(void **state)
{
    (void)state;
    const struct attempt attempt = begin(FORGE_ECC);
    ProtobufCBinaryData items[TPM_PCR_COUNT];
    struct tpm_pcrs pcrs;
    struct st_err err = {0};
    for (size_t i = 0; i < TPM_PCR_COUNT; i++)
        items[i] = (ProtobufCBinaryData){SHA256_LEN, (uint8_t *)attempt.pcrs.digest[i]};
    assert_ok(tpm_pcrs_unpack(items, TPM_PCR_COUNT, &pcrs, &err));
    assert_memory_equal(&pcrs, &attempt.pcrs, sizeof(pcrs));
    uint8_t digest[SHA256_LEN];
    assert_ok(tpm_pcrs_digest(&pcrs, digest, &err));
    assert_memory_equal(digest, attempt.quote.attested.quote.pcrDigest.buffer,
                        SHA256_LEN);
}

static void
N09_only_16_pcrs_of_32_bytes_are_taken(void **state)
{
    (void)state;
    static uint8_t bytes[512];
    ProtobufCBinaryData items[18];
    struct tpm_pcrs pcrs;
    for (size_t i = 0; i < 18; i++)
        items[i] = (ProtobufCBinaryData){SHA256_LEN, bytes};
    for (size_t count = 0; count <= 18; count++)
        assert_code(tpm_pcrs_unpack(items, count, &pcrs, NULL),
                    count == 16 ? ST_OK : ST_INVALID_ARGUMENT);
    assert_code(tpm_pcrs_unpack(NULL, 0, &pcrs, NULL), ST_INVALID_ARGUMENT);
    const size_t lens[] = {0, 1, 31, 33, 48, 64, 512};
    for (size_t at = 0; at < TPM_PCR_COUNT; at++) {
        for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
            FORGE_BYTES exact = forge_copy(bytes, lens[i]);
            items[at] = item(&exact);
            assert_code(tpm_pcrs_unpack(items, 16, &pcrs, NULL), ST_INVALID_ARGUMENT);
        }
        items[at] = (ProtobufCBinaryData){0, NULL};
        assert_code(tpm_pcrs_unpack(items, 16, &pcrs, NULL), ST_INVALID_ARGUMENT);
        items[at] = (ProtobufCBinaryData){SHA256_LEN, bytes};
    }
    /* The same bytes, split otherwise: their digest would be the quoted one. */
    items[3].len = 31;
    items[4].len = 33;
    assert_code(tpm_pcrs_unpack(items, 16, &pcrs, NULL), ST_INVALID_ARGUMENT);
}

static void
N10_other_pcr_values_or_another_order_are_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        for (size_t i = 0; i < TPM_PCR_COUNT; i++) {
            struct attempt attempt = begin(kind);
            attempt.pcrs.digest[i][i] ^= 1;
            expect_refused(&attempt, ST_PERMISSION_DENIED, "other PCR values");
            attempt = begin(kind);
            size_t j = (i + 1) % TPM_PCR_COUNT;
            memcpy(attempt.pcrs.digest[i], attempt.pcrs.digest[j], SHA256_LEN);
            memset(attempt.pcrs.digest[j], (int)i + 1, SHA256_LEN);
            expect_refused(&attempt, ST_PERMISSION_DENIED, "other PCR values");
        }
    }
}

static void
N10_a_digest_of_another_length_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        struct attempt attempt = begin(kind);
        for (UINT16 len = 0; len <= 64; len++) {
            attempt.quote.attested.quote.pcrDigest.size = len;
            if (len != SHA256_LEN)
                expect_refused(&attempt, ST_PERMISSION_DENIED, "other PCR values");
        }
    }
}

static void
N13_an_rsa_ak_signs_by_rsassa_with_sha256_alone(void **state)
{
    (void)state;
    const struct attempt attempt = begin(FORGE_RSA);
    FORGE_BYTES quote = forge_attest(&attempt.quote);
    const TPMT_SIGNATURE good = forge_sign(attempt.ak, &quote);
    TPMT_SIGNATURE bad = good;
    bad.sigAlg = TPM2_ALG_RSAPSS;
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "RSASSA");
    bad.signature.rsapss.sig = forge_rsa_pss(attempt.ak, &quote);
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "RSASSA");
    bad.sigAlg = TPM2_ALG_RSASSA; /* PSS under a false flag, with its header and bare */
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this RSA AK");
    FORGE_BYTES bare = forge_copy(bad.signature.rsassa.sig.buffer, 256);
    expect_signature(&attempt, &quote, &bare, ST_PERMISSION_DENIED, "this RSA AK");

    const TPMI_ALG_HASH hashes[] = {TPM2_ALG_SHA1, TPM2_ALG_SHA384, TPM2_ALG_SHA512};
    for (size_t i = 0; i < sizeof(hashes) / sizeof(*hashes); i++) {
        bad = good;
        bad.signature.rsassa.hash = hashes[i];
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "SHA-256");
    }
    bad = forge_sign(aks[FORGE_ECC], &quote);
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "RSASSA");
    bad = (TPMT_SIGNATURE){.sigAlg = TPM2_ALG_NULL};
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "RSASSA");
    bad = (TPMT_SIGNATURE){.sigAlg = TPM2_ALG_HMAC,
                           .signature.hmac.hashAlg = TPM2_ALG_SHA256};
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "RSASSA");
}

static void
N13_an_ecc_ak_signs_by_ecdsa_with_sha256_alone(void **state)
{
    (void)state;
    const struct attempt attempt = begin(FORGE_ECC);
    FORGE_BYTES quote = forge_attest(&attempt.quote);
    const TPMT_SIGNATURE good = forge_sign(attempt.ak, &quote);
    TPMT_SIGNATURE bad = good;
    const TPMI_ALG_SIG_SCHEME schemes[] = {TPM2_ALG_ECDAA, TPM2_ALG_SM2,
                                           TPM2_ALG_ECSCHNORR};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        bad.sigAlg = schemes[i];
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "ECDSA");
    }
    const TPMI_ALG_HASH hashes[] = {TPM2_ALG_SHA1, TPM2_ALG_SHA384, TPM2_ALG_SHA512};
    for (size_t i = 0; i < sizeof(hashes) / sizeof(*hashes); i++) {
        bad = good;
        bad.signature.ecdsa.hash = hashes[i];
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "SHA-256");
    }
    bad = forge_sign(aks[FORGE_RSA], &quote);
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "ECDSA");
    FORGE_BYTES bare = forge_copy(bad.signature.rsassa.sig.buffer, 256);
    expect_signature(&attempt, &quote, &bare, ST_PERMISSION_DENIED, "signed by RSA");
    bad = (TPMT_SIGNATURE){.sigAlg = TPM2_ALG_NULL};
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "ECDSA");
    bad = (TPMT_SIGNATURE){.sigAlg = TPM2_ALG_HMAC,
                           .signature.hmac.hashAlg = TPM2_ALG_SHA256};
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "ECDSA");
}

static void
N14_a_quote_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        FORGE_BYTES whole = forge_attest(&attempt.quote);
        for (size_t len = 0; len < whole.len; len++) {
            FORGE_BYTES cut = forge_copy(whole.bytes, len);
            expect_bytes(&attempt, &cut, ST_INVALID_ARGUMENT, "TPMS_ATTEST");
        }
    }
}

static void
N14_a_quote_with_a_tail_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        FORGE_BYTES whole = forge_attest(&attempt.quote);
        uint8_t longer[TPM_QUOTE_MAX + 1] = {0};
        memcpy(longer, whole.bytes, whole.len);
        for (size_t len = whole.len + 1; len <= sizeof(longer); len += 61) {
            FORGE_BYTES tail = forge_copy(longer, len);
            expect_bytes(&attempt, &tail, ST_INVALID_ARGUMENT, "TPMS_ATTEST");
        }
        FORGE_BYTES huge = forge_copy(longer, sizeof(longer));
        expect_bytes(&attempt, &huge, ST_INVALID_ARGUMENT, "513 bytes");
    }
}

/* Where forge_quote() has its lengths and counts, and how wide they are. */
static const struct {
    size_t at, width;
} lengths[] = {
    {6, 2},   /* qualifiedSigner */
    {42, 2},  /* extraData */
    {101, 4}, /* pcrSelect.count */
    {107, 1}, /* sizeofSelect */
    {111, 2}, /* pcrDigest */
};

static void
N14_a_quote_with_a_wrong_length_is_refused(void **state)
{
    (void)state;
    const struct attempt attempt = begin(FORGE_ECC);
    FORGE_BYTES good = forge_attest(&attempt.quote);
    const uint8_t found[] = {34, 32, 1, 3, 32};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        size_t last = lengths[i].at + lengths[i].width - 1;
        assert_int_equal(good.bytes[last], found[i]);
        FORGE_BYTES bad = forge_copy(good.bytes, good.len);
        for (int other = 0; other < 256; other++) {
            bad.bytes[last] = (uint8_t)other;
            if (other != found[i])
                expect_bytes(&attempt, &bad, ST_INVALID_ARGUMENT, "");
        }
        for (size_t j = 0; j < lengths[i].width; j++)
            bad.bytes[lengths[i].at + j] = 0xff;
        expect_bytes(&attempt, &bad, ST_INVALID_ARGUMENT, "");
    }
    /* 17 banks: one more than a TPML_PCR_SELECTION may hold. */
    uint8_t many[TPM_QUOTE_MAX];
    memcpy(many, good.bytes, 101);
    memcpy(many + 101, "\0\0\0\x11", 4);
    for (size_t i = 0; i < 17; i++)
        memcpy(many + 105 + 6 * i, good.bytes + 105, 6);
    memcpy(many + 105 + 6 * 17, good.bytes + 111, 34);
    FORGE_BYTES seventeen = forge_copy(many, 105 + 6 * 17 + 34);
    expect_bytes(&attempt, &seventeen, ST_INVALID_ARGUMENT, "no TPMS_ATTEST");
}

static void
N14_a_signature_of_another_length_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        const TPMT_SIGNATURE parsed = forge_sign(attempt.ak, &quote);
        FORGE_BYTES whole = forge_signature(&parsed);
        for (size_t len = 0; len < whole.len; len++) {
            FORGE_BYTES cut = forge_copy(whole.bytes, len);
            if (kind == FORGE_RSA && len == 256)
                expect_signature(&attempt, &quote, &cut, ST_PERMISSION_DENIED, "RSA AK");
            else
                expect_signature(&attempt, &quote, &cut, ST_INVALID_ARGUMENT,
                                 "TPMT_SIGNATURE");
        }
        uint8_t longer[TPM_SIGNATURE_MAX + 1] = {0};
        memcpy(longer, whole.bytes, whole.len);
        FORGE_BYTES tail = forge_copy(longer, whole.len + 1);
        expect_signature(&attempt, &quote, &tail, ST_INVALID_ARGUMENT, "not exactly");
        FORGE_BYTES huge = forge_copy(longer, sizeof(longer));
        expect_signature(&attempt, &quote, &huge, ST_INVALID_ARGUMENT, "601 bytes");
        /* The length of the RSA signature, of r, and of s. */
        const size_t at[] = {4, 4 + 2 + 32};
        for (size_t i = 0; i < (kind == FORGE_RSA ? 1 : 2); i++) {
            for (int delta = -1; delta <= 1; delta += 2) {
                FORGE_BYTES bad = forge_copy(whole.bytes, whole.len);
                unsigned len = (unsigned)(bad.bytes[at[i]] << 8 | bad.bytes[at[i] + 1]);
                len += (unsigned)delta;
                bad.bytes[at[i]] = (uint8_t)(len >> 8);
                bad.bytes[at[i] + 1] = (uint8_t)len;
                expect_signature(&attempt, &quote, &bad, ST_INVALID_ARGUMENT,
                                 "TPMT_SIGNATURE");
            }
            FORGE_BYTES bad = forge_copy(whole.bytes, whole.len);
            bad.bytes[at[i]] = bad.bytes[at[i] + 1] = 0xff;
            expect_signature(&attempt, &quote, &bad, ST_INVALID_ARGUMENT,
                             "TPMT_SIGNATURE");
        }
    }
}

static void
N28_a_signature_of_another_ak_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        struct forge_ak *other = forge_ak_make(kind);
        const TPMT_SIGNATURE parsed = forge_sign(other, &quote);
        forge_ak_free(other);
        expect_parsed(&attempt, &quote, &parsed, ST_PERMISSION_DENIED,
                      "not signed by this");
    }
}

static void
N28_one_bit_changed_after_signing_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        const TPMT_SIGNATURE parsed = forge_sign(attempt.ak, &quote);
        FORGE_BYTES signature = forge_signature(&parsed);
        struct tpm_clock clock;
        for (size_t i = 0; i < 8 * quote.len; i++) {
            quote.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
            assert_int_not_equal(judge(&attempt, &quote, &signature, &clock, NULL),
                                 ST_OK);
            quote.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        }
        for (size_t i = 0; i < 8 * signature.len; i++) {
            signature.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
            assert_int_not_equal(judge(&attempt, &quote, &signature, &clock, NULL),
                                 ST_OK);
            signature.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        }
    }
}

static void
N28_numbers_that_are_no_ecdsa_signature_are_refused(void **state)
{
    (void)state;
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                      0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    static const uint8_t zero[32], one[32] = {[31] = 1}, ones[32] = {0xff, 0xff, 0xff};
    const uint8_t *const numbers[] = {zero, one, ones, order};
    const struct attempt attempt = begin(FORGE_ECC);
    FORGE_BYTES quote = forge_attest(&attempt.quote);
    const TPMT_SIGNATURE good = forge_sign(attempt.ak, &quote);
    for (size_t i = 0; i < 16; i++) {
        TPMT_SIGNATURE bad = good;
        memcpy(bad.signature.ecdsa.signatureR.buffer, numbers[i / 4], 32);
        memcpy(bad.signature.ecdsa.signatureS.buffer, numbers[i % 4], 32);
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this ECC AK");
    }
    TPMT_SIGNATURE bad = good;
    bad.signature.ecdsa.signatureR = good.signature.ecdsa.signatureS;
    bad.signature.ecdsa.signatureS = good.signature.ecdsa.signatureR;
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this ECC AK");
    for (UINT16 len = 0; len <= TPM2_MAX_ECC_KEY_BYTES; len++) {
        bad = good;
        bad.signature.ecdsa.signatureR.size = len;
        if (len != 32)
            expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this ECC AK");
    }
}

static void
N28_rsa_content_that_is_no_sha256_digest_is_refused(void **state)
{
    (void)state;
    const struct attempt attempt = begin(FORGE_RSA);
    FORGE_BYTES quote = forge_attest(&attempt.quote);
    uint8_t content[60] = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
                          "\x05\x00\x04\x20";
    const TPMT_SIGNATURE good = forge_sign(attempt.ak, &quote);
    forge_digest(&quote, content + 19);
    TPMT_SIGNATURE bad = good;
    bad.signature.rsassa.sig = forge_rsa_raw(attempt.ak, content, 51);
    expect_parsed(&attempt, &quote, &bad, ST_OK, "");
    const struct {
        size_t from, len;
    } parts[] = {{19, 32}, {0, 50}, {0, 52}, {1, 50}, {0, 19}, {0, 60}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        bad.signature.rsassa.sig =
            forge_rsa_raw(attempt.ak, content + parts[i].from, parts[i].len);
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this RSA AK");
    }
    for (size_t i = 0; i < 51; i++) { /* another hash's name, another digest, ... */
        content[i] ^= 1;
        bad.signature.rsassa.sig = forge_rsa_raw(attempt.ak, content, 51);
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this RSA AK");
        content[i] ^= 1;
    }
    for (int fill = 0; fill < 256; fill += 255) {
        memset(bad.signature.rsassa.sig.buffer, fill, 256);
        expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this RSA AK");
    }
    const TPMT_PUBLIC ak = forge_ak_public(attempt.ak);
    bad.signature.rsassa.sig = ak.unique.rsa; /* the modulus itself */
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "this RSA AK");
    bad = good;
    bad.signature.rsassa.sig.size = 255;
    expect_parsed(&attempt, &quote, &bad, ST_PERMISSION_DENIED, "256 bytes");
}

static void
a_record_whose_ak_is_no_ak_convinces_nobody(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const struct attempt attempt = begin(kind);
        FORGE_BYTES quote = forge_attest(&attempt.quote);
        const TPMT_SIGNATURE parsed = forge_sign(attempt.ak, &quote);
        FORGE_BYTES signature = forge_signature(&parsed);
        TPMT_PUBLIC template = forge_ak_public(attempt.ak);
        template.objectAttributes &= ~TPMA_OBJECT_RESTRICTED;
        FORGE_BYTES public = forge_public(&template);
        const struct tpm_quote_evidence evidence = {quote.bytes, quote.len,
                                                    signature.bytes, signature.len};
        struct tpm_clock clock;
        struct st_err err = {0};
        expect(tpm_quote_check(public.bytes, public.len, &evidence, attempt.nonce,
                               &attempt.pcrs, &clock, &err),
               ST_INVALID_ARGUMENT, &err,
               "the AK of the record: the AK is not restricted");
        assert_code(tpm_quote_check(NULL, 0, &evidence, attempt.nonce, &attempt.pcrs,
                                    &clock, NULL),
                    ST_INVALID_ARGUMENT);
    }
}

static int
make_aks(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    aks[kind] = forge_ak_make(kind);
    return 0;
}

static int
free_aks(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    forge_ak_free(aks[kind]);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flawless_quote_is_taken_with_its_clock),
        cmocka_unit_test(a_bare_rsa_signature_is_taken),
        cmocka_unit_test(an_ecc_signature_without_leading_zeros_is_taken),
        cmocka_unit_test(N01_what_no_tpm_generated_is_refused),
        cmocka_unit_test(N02_every_other_statement_of_the_genuine_ak_is_refused),
        cmocka_unit_test(N03_a_quote_over_another_nonce_is_refused),
        cmocka_unit_test(N06_a_quote_over_another_bank_is_refused),
        cmocka_unit_test(N07_a_quote_over_other_pcrs_is_refused),
        cmocka_unit_test(N08_a_selection_of_another_shape_is_refused),
        cmocka_unit_test(sixteen_pcrs_are_unpacked_in_order),
        cmocka_unit_test(N09_only_16_pcrs_of_32_bytes_are_taken),
        cmocka_unit_test(N10_other_pcr_values_or_another_order_are_refused),
        cmocka_unit_test(N10_a_digest_of_another_length_is_refused),
        cmocka_unit_test(N13_an_rsa_ak_signs_by_rsassa_with_sha256_alone),
        cmocka_unit_test(N13_an_ecc_ak_signs_by_ecdsa_with_sha256_alone),
        cmocka_unit_test(N14_a_quote_cut_at_any_byte_is_refused),
        cmocka_unit_test(N14_a_quote_with_a_tail_is_refused),
        cmocka_unit_test(N14_a_quote_with_a_wrong_length_is_refused),
        cmocka_unit_test(N14_a_signature_of_another_length_is_refused),
        cmocka_unit_test(N28_a_signature_of_another_ak_is_refused),
        cmocka_unit_test(N28_one_bit_changed_after_signing_is_refused),
        cmocka_unit_test(N28_numbers_that_are_no_ecdsa_signature_are_refused),
        cmocka_unit_test(N28_rsa_content_that_is_no_sha256_digest_is_refused),
        cmocka_unit_test(a_record_whose_ak_is_no_ak_convinces_nobody),
    };
    return cmocka_run_group_tests(tests, make_aks, free_aks);
}

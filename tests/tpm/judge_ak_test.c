/* Which public areas are taken for an attestation key. */
#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"

#include <string.h>

static struct forge_ak *aks[FORGE_KINDS];

static void
expect_bytes(const struct forge_bytes *bytes, enum st_code expected, const char *words)
{
    struct tpm_ak ak = {0};
    struct st_err err = {0};
    enum st_code code = tpm_ak_check(bytes->bytes, bytes->len, &ak, &err);
    if (code != expected || (code && !strstr(err.text, words)))
        fail_msg("%s \"%s\" where %s \"%s\" belongs", st_code_name(code), err.text,
                 st_code_name(expected), words);
    assert_int_equal(ak.public_len, code ? 0 : bytes->len);
}

static void
expect(const TPMT_PUBLIC *public, enum st_code expected, const char *words)
{
    FORGE_BYTES bytes = forge_public(public);
    expect_bytes(&bytes, expected, words);
}

#define FOR_EACH_KIND(kind) for (enum forge_kind kind = 0; kind < FORGE_KINDS; kind++)

static void
a_key_of_the_template_is_taken_with_its_name(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        FORGE_BYTES bytes = forge_public(&public);
        struct tpm_ak ak;
        struct st_err err = {0};
        assert_ok(tpm_ak_check(bytes.bytes, bytes.len, &ak, &err));
        assert_int_equal(ak.public_len, bytes.len);
        assert_memory_equal(ak.public, bytes.bytes, bytes.len);
        uint8_t name[TPM_NAME_LEN] = {0x00, 0x0b};
        forge_digest(&bytes, name + 2);
        assert_memory_equal(ak.name, name, sizeof(name));
    }
}

static void
what_does_not_matter_may_differ(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        public.objectAttributes &= ~(TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA);
        expect(&public, ST_OK, "");
        public.objectAttributes |= TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_STCLEAR;
        public.authPolicy.size = 32;
        expect(&public, ST_OK, "");
    }
    TPMT_PUBLIC rsa = forge_ak_public(aks[FORGE_RSA]);
    rsa.parameters.rsaDetail.exponent = 65537;
    expect(&rsa, ST_OK, "");
}

/* Some chips write a coordinate so. */
static void
a_point_without_leading_zeros_is_taken(void **state)
{
    (void)state;
    for (bool seen = false; !seen;) {
        struct forge_ak *ak = forge_ak_make(FORGE_ECC);
        TPMT_PUBLIC public = forge_ak_public(ak);
        TPM2B_ECC_PARAMETER *x = &public.unique.ecc.x;
        if (x->buffer[0] == 0) {
            memmove(x->buffer, x->buffer + 1, --x->size);
            expect(&public, ST_OK, "");
            seen = true;
        }
        forge_ak_free(ak);
    }
}

static void
N20_an_ak_that_may_do_anything_else_is_refused(void **state)
{
    (void)state;
    static const struct {
        TPMA_OBJECT without, with;
        const char *words;
    } rows[] = {
        {TPMA_OBJECT_RESTRICTED, 0, "not restricted"},
        {TPMA_OBJECT_FIXEDTPM, 0, "not fixedTPM"},
        {TPMA_OBJECT_FIXEDPARENT, 0, "not fixedParent"},
        {TPMA_OBJECT_SENSITIVEDATAORIGIN, 0, "imported"},
        {0, TPMA_OBJECT_DECRYPT, "signing alone"},
        {TPMA_OBJECT_SIGN_ENCRYPT, 0, "signing alone"},
        {TPMA_OBJECT_SIGN_ENCRYPT, TPMA_OBJECT_DECRYPT, "signing alone"},
        {0, TPMA_OBJECT_ENCRYPTEDDUPLICATION, "signing alone"},
        {0, TPMA_OBJECT_X509SIGN, "signing alone"},
        {0, 0x00000001, "signing alone"}, /* reserved bits */
        {0, 0x00000100, "signing alone"},
        {0, 0x80000000, "signing alone"},
    };
    FOR_EACH_KIND(kind)
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        public.objectAttributes &= ~rows[i].without;
        public.objectAttributes |= rows[i].with;
        expect(&public, ST_INVALID_ARGUMENT, rows[i].words);
    }
}

static void
N20_another_name_algorithm_is_refused(void **state)
{
    (void)state;
    const TPMI_ALG_HASH other[] = {TPM2_ALG_SHA1, TPM2_ALG_SHA384, TPM2_ALG_SHA512,
                                   TPM2_ALG_NULL};
    FOR_EACH_KIND(kind)
    for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++) {
        TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        public.nameAlg = other[i];
        expect(&public, ST_INVALID_ARGUMENT, "name algorithm");
    }
}

static void
N20_a_key_of_another_type_is_refused(void **state)
{
    (void)state;
    TPMT_PUBLIC public = forge_ak_public(aks[FORGE_RSA]);
    public.type = TPM2_ALG_KEYEDHASH;
    memset(&public.parameters, 0, sizeof(public.parameters));
    memset(&public.unique, 0, sizeof(public.unique));
    public.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_HMAC;
    public.parameters.keyedHashDetail.scheme.details.hmac.hashAlg = TPM2_ALG_SHA256;
    expect(&public, ST_INVALID_ARGUMENT, "neither an RSA nor an ECC key");
    public.type = TPM2_ALG_SYMCIPHER;
    public.parameters.symDetail.sym =
        (TPMT_SYM_DEF_OBJECT){TPM2_ALG_AES, {128}, {TPM2_ALG_CFB}};
    expect(&public, ST_INVALID_ARGUMENT, "neither an RSA nor an ECC key");
}

static void
N21_another_rsa_key_is_refused(void **state)
{
    (void)state;
    const TPMT_PUBLIC good = forge_ak_public(aks[FORGE_RSA]);
    TPMT_PUBLIC bad = good;
    bad.parameters.rsaDetail.keyBits = 1024;
    expect(&bad, ST_INVALID_ARGUMENT, "2048 bits");
    bad.unique.rsa.size = 128;
    expect(&bad, ST_INVALID_ARGUMENT, "2048 bits");
    bad.parameters.rsaDetail.keyBits = 2048;
    expect(&bad, ST_INVALID_ARGUMENT, "2048 bits");
    const UINT16 sizes[] = {0, 1, 255, 257, 384, 512};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        bad = good;
        bad.unique.rsa.size = sizes[i];
        if (good.unique.rsa.size < sizes[i])
            memset(bad.unique.rsa.buffer + 256, 1, sizes[i] - 256);
        FORGE_BYTES bytes = forge_public(&bad);
        expect_bytes(&bytes, ST_INVALID_ARGUMENT, "");
    }
    bad = good;
    bad.unique.rsa.buffer[0] &= 0x7f;
    expect(&bad, ST_INVALID_ARGUMENT, "2048 bits");
    bad = good;
    bad.unique.rsa.buffer[255] &= 0xfe;
    expect(&bad, ST_INVALID_ARGUMENT, "2048 bits");
    const UINT32 exponents[] = {1, 2, 3, 17, 65536, 65539, 0xffffffff};
    for (size_t i = 0; i < sizeof(exponents) / sizeof(*exponents); i++) {
        bad = good;
        bad.parameters.rsaDetail.exponent = exponents[i];
        expect(&bad, ST_INVALID_ARGUMENT, "exponent");
    }
}

static void
N21_another_rsa_scheme_is_refused(void **state)
{
    (void)state;
    const TPMT_PUBLIC good = forge_ak_public(aks[FORGE_RSA]);
    TPMT_PUBLIC bad = good;
    bad.parameters.rsaDetail.scheme.scheme = TPM2_ALG_RSAPSS;
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
    bad.parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
    bad = good;
    bad.parameters.rsaDetail.scheme.details.rsassa.hashAlg = TPM2_ALG_SHA1;
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
    bad = good;
    bad.parameters.rsaDetail.symmetric =
        (TPMT_SYM_DEF_OBJECT){TPM2_ALG_AES, {128}, {TPM2_ALG_CFB}};
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
}

static void
N21_another_curve_or_no_point_of_it_is_refused(void **state)
{
    (void)state;
    const TPMT_PUBLIC good = forge_ak_public(aks[FORGE_ECC]);
    const TPMI_ECC_CURVE curves[] = {
        TPM2_ECC_NONE,      TPM2_ECC_NIST_P192, TPM2_ECC_NIST_P224, TPM2_ECC_NIST_P384,
        TPM2_ECC_NIST_P521, TPM2_ECC_BN_P256,   TPM2_ECC_SM2_P256,  0xffff};
    TPMT_PUBLIC bad = good;
    for (size_t i = 0; i < sizeof(curves) / sizeof(*curves); i++) {
        bad.parameters.eccDetail.curveID = curves[i];
        expect(&bad, ST_INVALID_ARGUMENT, "P-256");
    }
    bad = good;
    bad.unique.ecc.x.buffer[31] ^= 1;
    expect(&bad, ST_INVALID_ARGUMENT, "not a point");
    bad = good;
    memset(bad.unique.ecc.x.buffer, 0, 32);
    memset(bad.unique.ecc.y.buffer, 0, 32);
    expect(&bad, ST_INVALID_ARGUMENT, "not a point");
    memset(bad.unique.ecc.x.buffer, 0xff, 32);
    memset(bad.unique.ecc.y.buffer, 0xff, 32);
    expect(&bad, ST_INVALID_ARGUMENT, "not a point");
    const UINT16 sizes[] = {0, 33, 48, 66};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        bad = good;
        bad.unique.ecc.x.size = sizes[i];
        expect(&bad, ST_INVALID_ARGUMENT, "coordinate");
        bad = good;
        bad.unique.ecc.y.size = sizes[i];
        expect(&bad, ST_INVALID_ARGUMENT, "coordinate");
    }
}

static void
N21_another_ecc_scheme_is_refused(void **state)
{
    (void)state;
    const TPMT_PUBLIC good = forge_ak_public(aks[FORGE_ECC]);
    TPMT_PUBLIC bad = good;
    TPMS_ECC_PARMS *ecc = &bad.parameters.eccDetail;
    const TPMI_ALG_ASYM_SCHEME schemes[] = {TPM2_ALG_NULL, TPM2_ALG_ECDAA, TPM2_ALG_SM2,
                                            TPM2_ALG_ECSCHNORR, TPM2_ALG_ECDH};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        bad = good;
        ecc->scheme.scheme = schemes[i];
        expect(&bad, ST_INVALID_ARGUMENT, "scheme");
    }
    bad = good;
    ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA1;
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
    bad = good;
    ecc->symmetric = (TPMT_SYM_DEF_OBJECT){TPM2_ALG_AES, {128}, {TPM2_ALG_CFB}};
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
    bad = good;
    ecc->kdf.scheme = TPM2_ALG_KDF1_SP800_108;
    ecc->kdf.details.kdf1_sp800_108.hashAlg = TPM2_ALG_SHA256;
    expect(&bad, ST_INVALID_ARGUMENT, "scheme");
}

static void
N14_a_public_area_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        FORGE_BYTES whole = forge_public(&public);
        for (size_t len = 0; len < whole.len; len++) {
            FORGE_BYTES cut = forge_copy(whole.bytes, len);
            expect_bytes(&cut, ST_INVALID_ARGUMENT, "TPMT_PUBLIC");
        }
        assert_code(tpm_ak_check(NULL, 0, &(struct tpm_ak){0}, NULL),
                    ST_INVALID_ARGUMENT);
    }
}

static void
N14_a_public_area_with_a_tail_is_refused(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        FORGE_BYTES whole = forge_public(&public);
        uint8_t longer[TPM_PUBLIC_MAX + 1] = {0};
        memcpy(longer, whole.bytes, whole.len);
        FORGE_BYTES tail = forge_copy(longer, whole.len + 1);
        expect_bytes(&tail, ST_INVALID_ARGUMENT, "not exactly");
        FORGE_BYTES most = forge_copy(longer, TPM_PUBLIC_MAX);
        expect_bytes(&most, ST_INVALID_ARGUMENT, "not exactly");
        FORGE_BYTES huge = forge_copy(longer, TPM_PUBLIC_MAX + 1);
        expect_bytes(&huge, ST_INVALID_ARGUMENT, "601 bytes");
        /* A TPM2B_PUBLIC: the same with its size in front. */
        memcpy(longer + 2, whole.bytes, whole.len);
        longer[0] = (uint8_t)(whole.len >> 8);
        longer[1] = (uint8_t)whole.len;
        FORGE_BYTES sized = forge_copy(longer, whole.len + 2);
        expect_bytes(&sized, ST_INVALID_ARGUMENT, "");
    }
}

static void
N14_a_public_area_with_a_wrong_length_is_refused(void **state)
{
    (void)state;
    /* authPolicy; unique of RSA; x and y */
    static const size_t at[FORGE_KINDS][3] = {
        [FORGE_RSA] = {8, 22}, [FORGE_ECC] = {8, 20, 54}};
    FOR_EACH_KIND(kind)
    {
        const TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        FORGE_BYTES whole = forge_public(&public);
        for (size_t i = 0; i < 3 && at[kind][i]; i++) {
            for (int delta = -1; delta <= 1; delta += 2) {
                FORGE_BYTES bad = forge_copy(whole.bytes, whole.len);
                unsigned len =
                    (unsigned)(bad.bytes[at[kind][i]] << 8 | bad.bytes[at[kind][i] + 1]);
                len += (unsigned)delta;
                bad.bytes[at[kind][i]] = (uint8_t)(len >> 8);
                bad.bytes[at[kind][i] + 1] = (uint8_t)len;
                expect_bytes(&bad, ST_INVALID_ARGUMENT, "");
            }
            FORGE_BYTES bad = forge_copy(whole.bytes, whole.len);
            bad.bytes[at[kind][i]] = bad.bytes[at[kind][i] + 1] = 0xff;
            expect_bytes(&bad, ST_INVALID_ARGUMENT, "TPMT_PUBLIC");
        }
    }
}

static void
one_bit_changed_is_refused_or_another_name(void **state)
{
    (void)state;
    FOR_EACH_KIND(kind)
    {
        const TPMT_PUBLIC public = forge_ak_public(aks[kind]);
        FORGE_BYTES bytes = forge_public(&public);
        struct tpm_ak good, ak;
        struct st_err err = {0};
        assert_ok(tpm_ak_check(bytes.bytes, bytes.len, &good, &err));
        for (size_t i = 0; i < 8 * bytes.len; i++) {
            bytes.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
            if (tpm_ak_check(bytes.bytes, bytes.len, &ak, NULL) == ST_OK)
                assert_memory_not_equal(ak.name, good.name, TPM_NAME_LEN);
            bytes.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        }
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
        cmocka_unit_test(a_key_of_the_template_is_taken_with_its_name),
        cmocka_unit_test(what_does_not_matter_may_differ),
        cmocka_unit_test(a_point_without_leading_zeros_is_taken),
        cmocka_unit_test(N20_an_ak_that_may_do_anything_else_is_refused),
        cmocka_unit_test(N20_another_name_algorithm_is_refused),
        cmocka_unit_test(N20_a_key_of_another_type_is_refused),
        cmocka_unit_test(N21_another_rsa_key_is_refused),
        cmocka_unit_test(N21_another_rsa_scheme_is_refused),
        cmocka_unit_test(N21_another_curve_or_no_point_of_it_is_refused),
        cmocka_unit_test(N21_another_ecc_scheme_is_refused),
        cmocka_unit_test(N14_a_public_area_cut_at_any_byte_is_refused),
        cmocka_unit_test(N14_a_public_area_with_a_tail_is_refused),
        cmocka_unit_test(N14_a_public_area_with_a_wrong_length_is_refused),
        cmocka_unit_test(one_bit_changed_is_refused_or_another_name),
    };
    return cmocka_run_group_tests(tests, make_aks, free_aks);
}

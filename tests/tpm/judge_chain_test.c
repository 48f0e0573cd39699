/* Who may certify an EK, and which of his certificates speak for one. */
#include "tests/cmocka.h"
#include "tests/tpm/chain_forge.h"

#include <stdlib.h>
#include <string.h>

static const struct forge_chain ek_as_it_should_be = {.name = "an EK"};

/* The public key of a TPM that is not there. */
static struct forge_bytes
some_spki(enum forge_kind kind)
{
    struct forge_ak *key = forge_ak_make(kind);
    const TPMT_PUBLIC public = forge_ak_public(key);
    struct forge_bytes spki = forge_spki(&public);
    forge_ak_free(key);
    return spki;
}

static enum st_code
judged(const struct forge_bytes *cert, const struct forge_issuer *ca)
{
    struct st_err err = {0};
    return tpm_ek_chain_check(cert->bytes, cert->len, ca->der.bytes, ca->der.len, &err);
}

static void
a_certificate_of_a_CA_that_was_added_is_a_chain(void **state)
{
    (void)state;
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    for (int kind = 0; kind < FORGE_KINDS; kind++) {
        FORGE_BYTES spki = some_spki((enum forge_kind)kind);
        for (size_t i = 0; i < sizeof(curves) / sizeof(*curves); i++) {
            FORGE_ISSUER ca = {0};
            forge_issuer_make(
                &(struct forge_chain){.name = "a vendor", .curve = curves[i]}, &ca);
            FORGE_BYTES cert = forge_ek_cert(&ca, &spki, &ek_as_it_should_be);
            assert_code(judged(&cert, &ca), ST_OK);
        }
    }
}

static void
an_intermediate_is_trusted_as_it_is(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, below = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a root"}, &root);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &root}, &below);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    FORGE_BYTES cert = forge_ek_cert(&below, &spki, &ek_as_it_should_be);
    assert_code(judged(&cert, &below), ST_OK);
    assert_code(judged(&cert, &root), ST_PERMISSION_DENIED);
}

static void
N24_a_certificate_of_an_unknown_CA_is_no_chain(void **state)
{
    (void)state;
    FORGE_ISSUER ca = {0}, other = {0}, namesake = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    forge_issuer_make(&(struct forge_chain){.name = "another"}, &other);
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &namesake);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    FORGE_BYTES cert = forge_ek_cert(&ca, &spki, &ek_as_it_should_be);
    assert_code(judged(&cert, &ca), ST_OK);
    assert_code(judged(&cert, &other), ST_PERMISSION_DENIED);
    assert_code(judged(&cert, &namesake), ST_PERMISSION_DENIED);
    FORGE_BYTES own = forge_ek_cert(NULL, &spki, &ek_as_it_should_be);
    assert_code(judged(&own, &ca), ST_PERMISSION_DENIED);
    FORGE_BYTES in_its_name =
        forge_ek_cert(NULL, &spki, &(struct forge_chain){.name = "a vendor"});
    assert_code(judged(&in_its_name, &ca), ST_PERMISSION_DENIED);
}

static void
N24_a_certificate_out_of_its_time_is_no_chain(void **state)
{
    (void)state;
    FORGE_ISSUER ca = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    FORGE_BYTES past = forge_ek_cert(
        &ca, &spki, &(struct forge_chain){.name = "an EK", .to = "20210101000000Z"});
    FORGE_BYTES future = forge_ek_cert(
        &ca, &spki, &(struct forge_chain){.name = "an EK", .from = "22210101000000Z"});
    assert_code(judged(&past, &ca), ST_PERMISSION_DENIED);
    assert_code(judged(&future, &ca), ST_PERMISSION_DENIED);
}

/* TPMs outlive the CAs of their vendors: what an operator added is good until removed. */
static void
a_CA_is_trusted_also_after_its_time(void **state)
{
    (void)state;
    FORGE_ISSUER expired = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor", .to = "20210101000000Z"},
                      &expired);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    FORGE_BYTES cert = forge_ek_cert(&expired, &spki, &ek_as_it_should_be);
    assert_code(judged(&cert, &expired), ST_OK);
}

static void
N24_a_CA_has_the_CA_bit(void **state)
{
    (void)state;
    static const char *const none[] = {"", "critical,CA:FALSE", "CA:FALSE"};
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        FORGE_ISSUER ca = {0};
        struct st_err err = {0};
        forge_issuer_make(
            &(struct forge_chain){.name = "a vendor", .constraints = none[i]}, &ca);
        assert_code(tpm_ek_ca_check(ca.der.bytes, ca.der.len, &err), ST_INVALID_ARGUMENT);
        FORGE_BYTES cert = forge_ek_cert(&ca, &spki, &ek_as_it_should_be);
        assert_code(judged(&cert, &ca), ST_PERMISSION_DENIED);
    }
}

static void
N24_a_certificate_for_something_else_is_no_chain(void **state)
{
    (void)state;
    static const char *const purposes[] = {"", "serverAuth,clientAuth", "2.23.133.8.3",
                                           "2.23.133.8"};
    FORGE_ISSUER ca = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    for (size_t i = 0; i < sizeof(purposes) / sizeof(*purposes); i++) {
        FORGE_BYTES cert = forge_ek_cert(
            &ca, &spki, &(struct forge_chain){.name = "x", .purposes = purposes[i]});
        assert_code(judged(&cert, &ca), ST_PERMISSION_DENIED);
    }
    FORGE_BYTES both = forge_ek_cert(
        &ca, &spki,
        &(struct forge_chain){.name = "x", .purposes = "clientAuth,2.23.133.8.1"});
    assert_code(judged(&both, &ca), ST_OK);
}

static void
N24_an_unknown_critical_extension_is_no_chain(void **state)
{
    (void)state;
    FORGE_ISSUER ca = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    FORGE_BYTES cert = forge_ek_cert(
        &ca, &spki, &(struct forge_chain){.name = "x", .critical = "1.3.6.1.4.1.1.2.3"});
    assert_code(judged(&cert, &ca), ST_PERMISSION_DENIED);
}

static void
N24_one_bit_changed_after_signing_is_no_chain(void **state)
{
    (void)state;
    FORGE_ISSUER ca = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a vendor"}, &ca);
    FORGE_BYTES spki = some_spki(FORGE_ECC);
    FORGE_BYTES cert = forge_ek_cert(&ca, &spki, &ek_as_it_should_be);
    for (size_t at = 0; at < cert.len; at++) {
        cert.bytes[at] ^= 1;
        assert_code(judged(&cert, &ca), ST_PERMISSION_DENIED);
        cert.bytes[at] ^= 1;
    }
    for (size_t len = 0; len < cert.len; len++) {
        FORGE_BYTES cut = forge_copy(cert.bytes, len);
        assert_code(judged(&cut, &ca), ST_PERMISSION_DENIED);
    }
    for (size_t len = 0; len < ca.der.len; len++) {
        FORGE_BYTES cut = forge_copy(ca.der.bytes, len);
        assert_code(tpm_ek_ca_check(cut.bytes, cut.len, NULL), ST_INVALID_ARGUMENT);
    }
}

static void
a_CA_has_a_name_for_people(void **state)
{
    (void)state;
    char name[TPM_CA_NAME_MAX];
    FORGE_ISSUER ca = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a ven\033dor"}, &ca);
    tpm_ek_ca_name(ca.der.bytes, ca.der.len, name);
    assert_string_equal(name, "a ven?dor");
    tpm_ek_ca_name("", 0, name);
    assert_string_equal(name, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_of_a_CA_that_was_added_is_a_chain),
        cmocka_unit_test(an_intermediate_is_trusted_as_it_is),
        cmocka_unit_test(N24_a_certificate_of_an_unknown_CA_is_no_chain),
        cmocka_unit_test(N24_a_certificate_out_of_its_time_is_no_chain),
        cmocka_unit_test(a_CA_is_trusted_also_after_its_time),
        cmocka_unit_test(N24_a_CA_has_the_CA_bit),
        cmocka_unit_test(N24_a_certificate_for_something_else_is_no_chain),
        cmocka_unit_test(N24_an_unknown_critical_extension_is_no_chain),
        cmocka_unit_test(N24_one_bit_changed_after_signing_is_no_chain),
        cmocka_unit_test(a_CA_has_a_name_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

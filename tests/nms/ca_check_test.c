/* What makes a machine a member, and what does not although it looks like it. */
#include "nms/ca_check.h"
#include "tests/cmocka.h"
#include "tests/nms/forge.h"

#include <string.h>

/* A member as the masters make one; each test spoils a part. */
static struct ca authority, member;
static struct crl list;
static uint8_t public_key[ED25519_PUBLIC_LEN];

static void
public_of(const struct secret *pkcs8, uint8_t out[ED25519_PUBLIC_LEN])
{
    SECRET seed = {0};
    struct st_err err = {0};
    assert_ok(key_from_pkcs8(pkcs8->bytes, pkcs8->len, &seed, &err));
    assert_ok(key_public(&seed, out, &err));
}

static int
set_up(void **state)
{
    (void)state;
    struct st_err err = {0};
    assert_ok(ca_new("town", &authority, &err));
    assert_ok(ca_crl_empty(&authority, 1, &list, &err));
    assert_ok(ca_issue_member(&authority, 12, 13, &member.cert, &member.key, &err));
    public_of(&member.key, public_key);
    return 0;
}

static enum st_code
check(const struct cert *ca, const struct crl *crl, const struct cert *cert,
      struct st_err *err)
{
    const struct ca_given given = {.ca = ca->der,
                                   .ca_len = ca->len,
                                   .crl = crl->der,
                                   .crl_len = crl->len,
                                   .cert = cert->der,
                                   .cert_len = cert->len};
    uint64_t id = 0;
    enum st_code code = ca_check_member(&given, public_key, &id, err);
    assert_int_equal(id, code ? 0 : 12);
    return code;
}

/* The sentence says which part it was. */
static void
assert_refused(const struct cert *ca, const struct crl *crl, const struct cert *cert,
               const char *sentence)
{
    struct st_err err = {0};
    assert_code(check(ca, crl, cert, &err), ST_INVALID_ARGUMENT);
    if (!strstr(err.text, sentence))
        fail_msg("'%s' and not '%s'", err.text, sentence);
}

/* A certificate by `issuer` for our key, and whether that is what is wrong. */
static void
refuse_cert(const struct forge *what, const char *sentence)
{
    struct ca forged;
    struct forge filled = *what;
    filled.issuer = filled.issuer ? filled.issuer : &authority;
    filled.public_key = filled.public_key ? filled.public_key : public_key;
    forge_cert(&filled, &forged);
    assert_refused(&authority.cert, &list, &forged.cert, sentence);
}

/* An authority that issued us a good certificate and a good list. */
static void
judge_authority(const struct ca *ca, const char *sentence)
{
    struct ca forged;
    struct crl crl;
    struct st_err err = {0};
    forge_cert(&(struct forge){.name = "smalltown-member-12",
                               .issuer = ca,
                               .public_key = public_key},
               &forged);
    forge_crl(ca, 1, 0, &crl);
    if (sentence)
        assert_refused(&ca->cert, &crl, &forged.cert, sentence);
    else
        assert_ok(check(&ca->cert, &crl, &forged.cert, &err));
}

static void
what_the_masters_make_is_a_member(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct ca forged;
    assert_ok(check(&authority.cert, &list, &member.cert, &err));
    /* And so is what the tests forge, where nothing is wrong with it. */
    forge_cert(&(struct forge){.name = "town consensus", FORGE_AUTHORITY}, &forged);
    judge_authority(&forged, NULL);
}

static void
N52_a_certificate_for_another_key_is_refused(void **state)
{
    (void)state;
    struct ca other;
    struct st_err err = {0};
    assert_ok(ca_issue_member(&authority, 12, 14, &other.cert, &other.key, &err));
    assert_refused(&authority.cert, &list, &other.cert, "for another key");
}

static void
N52_a_certificate_that_the_authority_did_not_sign_is_refused(void **state)
{
    (void)state;
    struct ca twin, forged;
    struct cert flipped = member.cert;
    struct st_err err = {0};
    assert_ok(ca_new("town", &twin, &err)); /* the same name */
    refuse_cert(&(struct forge){.name = "smalltown-member-12", .issuer = &twin},
                "not signed by the authority");
    forge_cert(&(struct forge){.name = "smalltown-member-12",
                               .public_key = public_key,
                               .issuer = &member},
               &forged); /* by a member */
    assert_refused(&authority.cert, &list, &forged.cert, "not signed by the authority");
    flipped.der[flipped.len - 1] ^= 1;
    assert_refused(&authority.cert, &list, &flipped, "not signed by the authority");
}

static void
N52_an_authority_without_the_CA_bit_is_refused(void **state)
{
    (void)state;
    struct ca forged;
    forge_cert(&(struct forge){.name = "town consensus"}, &forged);
    judge_authority(&forged, "not one of a CA");
    forge_cert(&(struct forge){.name = "town consensus",
                               .constraints = "critical,CA:TRUE",
                               .key_usage = "critical,digitalSignature,cRLSign"},
               &forged);
    judge_authority(&forged, "not one of a CA");
    forge_cert(&(struct forge){.name = "town consensus", .p256 = true, FORGE_AUTHORITY},
               &forged);
    assert_refused(&forged.cert, &list, &member.cert, "not one of a CA");
}

static void
N52_an_authority_below_another_is_refused(void **state)
{
    (void)state;
    struct ca root, forged;
    forge_cert(&(struct forge){.name = "root", FORGE_AUTHORITY}, &root);
    forge_cert(
        &(struct forge){.name = "town consensus", .issuer = &root, FORGE_AUTHORITY},
        &forged);
    judge_authority(&forged, "not signed by itself");
}

static void
N52_a_certificate_that_names_no_member_is_refused(void **state)
{
    (void)state;
    const char *names[] = {
        "smalltown-member-0",   "smalltown-member-",
        "smalltown-member-012", "smalltown-member-12 ",
        "smalltown-member-+12", "smalltown-member-18446744073709551616",
        "smalltown-master",     "town"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        refuse_cert(&(struct forge){.name = names[i]}, "does not name a member");
    refuse_cert(&(struct forge){.name = "smalltown-member-12",
                                .second_name = "smalltown-member-1"},
                "does not name a member");
}

static void
N52_a_certificate_for_another_purpose_is_refused(void **state)
{
    (void)state;
    const char *name = "smalltown-member-12", *sentence = "not for both ends";
    refuse_cert(&(struct forge){.name = name, .purposes = "serverAuth"}, sentence);
    refuse_cert(&(struct forge){.name = name, .purposes = "clientAuth"}, sentence);
    refuse_cert(&(struct forge){.name = name, FORGE_AUTHORITY}, sentence);
}

static void
N52_a_list_of_another_authority_is_refused(void **state)
{
    (void)state;
    struct ca twin, other;
    struct crl crl;
    struct st_err err = {0};
    assert_ok(ca_new("town", &twin, &err));
    forge_crl(&twin, 1, 0, &crl);
    assert_refused(&authority.cert, &crl, &member.cert, "of another authority");
    /* The same key under another name */
    forge_cert(&(struct forge){.name = "other consensus", FORGE_AUTHORITY}, &other);
    other.key = authority.key;
    forge_crl(&other, 1, 0, &crl);
    assert_refused(&authority.cert, &crl, &member.cert, "of another authority");
    crl = list;
    crl.der[crl.len - 1] ^= 1;
    assert_refused(&authority.cert, &crl, &member.cert, "of another authority");
}

static void
N52_N53_a_list_without_a_number_is_refused(void **state)
{
    (void)state;
    struct crl crl;
    forge_crl(&authority, 0, 0, &crl);
    assert_refused(&authority.cert, &crl, &member.cert, "has no number");
}

static void
N52_a_certificate_on_the_list_is_refused(void **state)
{
    (void)state;
    struct crl crl;
    struct st_err err = {0};
    forge_crl(&authority, 2, 13, &crl);
    assert_refused(&authority.cert, &crl, &member.cert, "is revoked");
    forge_crl(&authority, 2, 12, &crl); /* another one */
    assert_ok(check(&authority.cert, &crl, &member.cert, &err));
}

static void
N52_what_is_no_DER_to_the_last_byte_is_refused(void **state)
{
    (void)state;
    for (int part = 0; part < 3; part++)
        for (int change = -2; change <= 1; change++) {
            struct cert ca = authority.cert, cert = member.cert;
            struct crl crl = list;
            size_t *lens[] = {&ca.len, &crl.len, &cert.len};
            if (change == 0)
                *lens[part] = 0;
            else
                *lens[part] += (size_t)change;
            assert_refused(&ca, &crl, &cert, "is missing or malformed");
        }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_masters_make_is_a_member),
        cmocka_unit_test(N52_a_certificate_for_another_key_is_refused),
        cmocka_unit_test(N52_a_certificate_that_the_authority_did_not_sign_is_refused),
        cmocka_unit_test(N52_an_authority_without_the_CA_bit_is_refused),
        cmocka_unit_test(N52_an_authority_below_another_is_refused),
        cmocka_unit_test(N52_a_certificate_that_names_no_member_is_refused),
        cmocka_unit_test(N52_a_certificate_for_another_purpose_is_refused),
        cmocka_unit_test(N52_a_list_of_another_authority_is_refused),
        cmocka_unit_test(N52_N53_a_list_without_a_number_is_refused),
        cmocka_unit_test(N52_a_certificate_on_the_list_is_refused),
        cmocka_unit_test(N52_what_is_no_DER_to_the_last_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}

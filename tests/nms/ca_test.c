/* The masters' authority: what it issues and revokes, judged by others: the openssl
 * program, and wolfSSL, which the masters judge each other with. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "nms/ca.h"
#include "proto/file.h"
#include "proto/scope.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    NOW = 1700000000,
};

/* An authority with its first list, and three members. */
struct authority {
    char dir[64];
    struct ca ca;
    struct crl crl;
    struct cert members[3];
    struct secret keys[3];
};

static void
path_of(const struct authority *authority, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", authority->dir, name);
}

static int
open_authority(void **state)
{
    static struct authority authority;
    struct st_err err = {0};
    memset(&authority, 0, sizeof(authority));
    strcpy(authority.dir, "/tmp/smalltown-ca-XXXXXX");
    assert_non_null(mkdtemp(authority.dir));
    assert_ok(ca_new("home", &authority.ca, &err));
    assert_ok(ca_crl_empty(&authority.ca, 1, &authority.crl, &err));
    for (unsigned i = 0; i < 3; i++)
        assert_ok(ca_issue_member(&authority.ca, i + 1, i + 2, &authority.members[i],
                                  &authority.keys[i], &err));
    *state = &authority;
    return 0;
}

static int
close_authority(void **state)
{
    const struct authority *authority = *state;
    static const char *const names[] = {"crl", "cert", "ca.pem"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        path_of(authority, names[i], path);
        unlink(path);
    }
    assert_int_equal(rmdir(authority->dir), 0);
    return 0;
}

/* One number above, with one more on it. */
static void
add(struct authority *authority, uint64_t serial)
{
    static struct crl next;
    struct st_err err = {0};
    uint64_t before, number, read;
    assert_ok(ca_crl_number(authority->crl.der, authority->crl.len, &before, &err));
    assert_ok(ca_revoke(&authority->ca, authority->crl.der, authority->crl.len, serial,
                        NOW, &next, &number, &err));
    assert_ok(ca_crl_number(next.der, next.len, &read, &err));
    assert_int_equal(number, before + 1);
    assert_int_equal(read, number);
    authority->crl = next;
}

static void
put(const struct authority *authority, const char *name, const void *bytes, size_t len)
{
    char path[128];
    struct st_err err = {0};
    path_of(authority, name, path);
    assert_ok(file_write(path, 0600, bytes, len, &err));
}

/* Runs a command in the folder of the authority. */
static int
run(const struct authority *authority, const char *command)
{
    char line[512];
    snprintf(line, sizeof(line), "cd %s && %s", authority->dir, command);
    return system(line);
}

static void
assert_openssl(const struct authority *authority, const struct cert *cert,
               const char *verdict)
{
    char command[300];
    AUTO(st_freep) char *pem = NULL;
    struct st_err err = {0};
    assert_ok(cert_to_pem(authority->ca.cert.der, authority->ca.cert.len, &pem, &err));
    put(authority, "ca.pem", pem, strlen(pem));
    put(authority, "crl", authority->crl.der, authority->crl.len);
    put(authority, "cert", cert->der, cert->len);
    snprintf(command, sizeof(command),
             "openssl crl -inform DER -in crl >>ca.pem && "
             "openssl verify -x509_strict -crl_check -purpose sslclient -CAfile ca.pem "
             "cert 2>&1 | grep -q '%s'",
             verdict);
    assert_int_equal(run(authority, command), 0);
}

static int
wolfssl_verdict(const struct authority *authority, const struct cert *cert)
{
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    assert_non_null(manager);
    assert_int_equal(wolfSSL_CertManagerLoadCABuffer(manager, authority->ca.cert.der,
                                                     (long)authority->ca.cert.len,
                                                     WOLFSSL_FILETYPE_ASN1),
                     WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_CertManagerEnableCRL(manager, WOLFSSL_CRL_CHECKALL),
                     WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_CertManagerLoadCRLBuffer(manager, authority->crl.der,
                                                      (long)authority->crl.len,
                                                      WOLFSSL_FILETYPE_ASN1),
                     WOLFSSL_SUCCESS);
    const int verdict = wolfSSL_CertManagerVerifyBuffer(
        manager, cert->der, (long)cert->len, WOLFSSL_FILETYPE_ASN1);
    wolfSSL_CertManagerFree(manager);
    return verdict;
}

static void
who_is_on_the_list_is_refused_and_the_others_are_not(void **state)
{
    struct authority *authority = *state;
    for (unsigned i = 0; i < 3; i++) {
        assert_openssl(authority, &authority->members[i], "cert: OK");
        assert_int_equal(wolfssl_verdict(authority, &authority->members[i]),
                         WOLFSSL_SUCCESS);
    }
    add(authority, 3);
    add(authority, 4);
    assert_openssl(authority, &authority->members[0], "cert: OK");
    assert_int_equal(wolfssl_verdict(authority, &authority->members[0]), WOLFSSL_SUCCESS);
    for (unsigned i = 1; i < 3; i++) {
        assert_openssl(authority, &authority->members[i], "certificate revoked");
        assert_int_equal(wolfssl_verdict(authority, &authority->members[i]),
                         CRL_CERT_REVOKED);
    }
}

static void
a_list_that_grows_keeps_everybody_and_ends_at_its_bound(void **state)
{
    struct authority *authority = *state;
    static struct crl next;
    struct st_err err = {0};
    uint64_t number, serial = 1000000;
    enum st_code code = ST_OK;
    add(authority, 3);
    while (!(code = ca_revoke(&authority->ca, authority->crl.der, authority->crl.len,
                              serial, NOW, &next, &number, &err))) {
        authority->crl = next;
        serial++;
    }
    assert_code(code, ST_RESOURCE_EXHAUSTED);
    assert_in_range(serial - 1000000, 800, 2000);
    assert_int_equal(wolfssl_verdict(authority, &authority->members[0]), WOLFSSL_SUCCESS);
    assert_int_equal(wolfssl_verdict(authority, &authority->members[1]),
                     CRL_CERT_REVOKED);
    assert_openssl(authority, &authority->members[1], "certificate revoked");
}

static void
N53_a_list_that_is_not_this_authoritys_is_not_carried_on(void **state)
{
    struct authority *authority = *state;
    static struct crl other, next;
    struct ca stranger;
    struct st_err err = {0};
    uint64_t number;
    assert_ok(ca_new("home", &stranger, &err));
    assert_ok(ca_crl_empty(&stranger, 1, &other, &err));
    assert_code(
        ca_revoke(&authority->ca, other.der, other.len, 3, NOW, &next, &number, NULL),
        ST_DATA_LOSS);
    other = authority->crl;
    other.der[other.len / 2] ^= 1;
    assert_code(
        ca_revoke(&authority->ca, other.der, other.len, 3, NOW, &next, &number, NULL),
        ST_DATA_LOSS);
    assert_code(ca_revoke(&authority->ca, authority->crl.der, authority->crl.len - 1, 3,
                          NOW, &next, &number, NULL),
                ST_DATA_LOSS);
}

static void
what_is_no_list_has_no_number(void **state)
{
    struct authority *authority = *state;
    struct st_err err = {0};
    uint64_t number;
    const struct cert *cert = &authority->members[0];
    assert_ok(ca_crl_number(authority->crl.der, authority->crl.len, &number, &err));
    assert_int_equal(number, 1);
    assert_code(ca_crl_number("", 0, &number, NULL), ST_INVALID_ARGUMENT);
    assert_code(ca_crl_number(cert->der, cert->len, &number, NULL), ST_INVALID_ARGUMENT);
    for (size_t len = 0; len < authority->crl.len; len++)
        assert_code(ca_crl_number(authority->crl.der, len, &number, NULL),
                    ST_INVALID_ARGUMENT);
    static struct crl longer;
    longer = authority->crl;
    assert_code(ca_crl_number(longer.der, longer.len + 1, &number, NULL),
                ST_INVALID_ARGUMENT);
}

static void
a_key_from_elsewhere_is_certified_and_its_private_half_stays_there(void **state)
{
    struct authority *authority = *state;
    SECRET seed = {0};
    struct cert cert;
    struct st_err err = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    assert_ok(key_generate(&seed, public_key, &err));
    assert_ok(ca_certify_member(&authority->ca, 12, 13, public_key, &cert, &err));
    assert_non_null(memmem(cert.der, cert.len, public_key, sizeof(public_key)));
    assert_openssl(authority, &cert, "cert: OK");
    assert_int_equal(run(authority, "openssl x509 -in cert -noout -subject -serial | "
                                    "tr -d ' \\n' | "
                                    "grep -qx 'subject=CN=smalltown-member-12serial=0D'"),
                     0);
    add(authority, 13);
    assert_int_equal(wolfssl_verdict(authority, &cert), CRL_CERT_REVOKED);
}

#define CA_TEST(name)                                                                    \
    cmocka_unit_test_setup_teardown(name, open_authority, close_authority)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CA_TEST(who_is_on_the_list_is_refused_and_the_others_are_not),
        CA_TEST(a_list_that_grows_keeps_everybody_and_ends_at_its_bound),
        CA_TEST(N53_a_list_that_is_not_this_authoritys_is_not_carried_on),
        CA_TEST(what_is_no_list_has_no_number),
        CA_TEST(a_key_from_elsewhere_is_certified_and_its_private_half_stays_there),
    };
    wolfSSL_Init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

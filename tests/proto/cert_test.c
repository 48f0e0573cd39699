/* Ed25519 keys, their self-signed certificates, and the strict DER under both. */
#include "proto/cert.h"
#include "proto/der.h"
#include "proto/scope.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* RFC 8032, 7.1, test 2. */
static const struct secret rfc_seed = {
    .len = 32, .bytes = {0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3,
                         0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab,
                         0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb}};
static const uint8_t rfc_public[32] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a,
                                       0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
                                       0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c,
                                       0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
static const uint8_t rfc_signature_start[8] = {0x92, 0xa0, 0x09, 0xa9,
                                               0xf0, 0xd4, 0xca, 0xb8};

static char folder[] = "/tmp/smalltown-test-XXXXXX";

static void
write_text(const char *name, const char *text)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* Runs a shell command in the folder: its status, and what it wrote. */
static int
run(const char *command, char *out, size_t size)
{
    char line[400];
    snprintf(line, sizeof(line), "cd %s && { %s; } 2>&1", folder, command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t len = fread(out, 1, size - 1, pipe);
    out[len] = 0;
    return pclose(pipe);
}

static void
make(const char *common_name, struct secret *out_seed, struct cert *out)
{
    struct st_err err = {0};
    uint8_t public[ED25519_PUBLIC_LEN];
    assert_ok(key_generate(out_seed, public, &err));
    assert_ok(cert_self_sign(out_seed, common_name, out, &err));
}

static void
keys_and_signatures_are_those_of_rfc_8032(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint8_t public[ED25519_PUBLIC_LEN], signature[ED25519_SIGNATURE_LEN];
    assert_ok(key_public(&rfc_seed, public, &err));
    assert_memory_equal(public, rfc_public, sizeof(public));
    assert_ok(key_sign(&rfc_seed, "\x72", 1, signature, &err));
    assert_memory_equal(signature, rfc_signature_start, 8);
    assert_ok(key_verify(public, "\x72", 1, signature, &err));
}

static void
N30_a_signature_holds_for_one_key_and_one_message(void **state)
{
    (void)state;
    struct st_err err = {0};
    uint8_t signature[ED25519_SIGNATURE_LEN], other[ED25519_PUBLIC_LEN];
    assert_ok(key_sign(&rfc_seed, "message", 7, signature, &err));
    assert_ok(key_verify(rfc_public, "message", 7, signature, &err));
    assert_code(key_verify(rfc_public, "messagf", 7, signature, NULL),
                ST_PERMISSION_DENIED);
    assert_code(key_verify(rfc_public, "message", 6, signature, NULL),
                ST_PERMISSION_DENIED);
    SECRET seed = {0};
    assert_ok(key_generate(&seed, other, &err));
    assert_code(key_verify(other, "message", 7, signature, NULL), ST_PERMISSION_DENIED);
    for (size_t i = 0; i < sizeof(signature); i++) {
        signature[i] ^= 0x40;
        assert_code(key_verify(rfc_public, "message", 7, signature, NULL),
                    ST_PERMISSION_DENIED);
        signature[i] ^= 0x40;
    }
}

static void
a_key_of_another_length_is_refused(void **state)
{
    (void)state;
    struct secret seed = rfc_seed, out;
    struct cert cert;
    uint8_t bytes[ED25519_SIGNATURE_LEN];
    for (seed.len = 0; seed.len < 64; seed.len++) {
        if (seed.len == ED25519_SEED_LEN)
            continue;
        assert_code(key_public(&seed, bytes, NULL), ST_INVALID_ARGUMENT);
        assert_code(key_sign(&seed, "", 0, bytes, NULL), ST_INVALID_ARGUMENT);
        assert_code(key_to_pem(&seed, &out, NULL), ST_INVALID_ARGUMENT);
        assert_code(key_to_pkcs8(&seed, &out, NULL), ST_INVALID_ARGUMENT);
        assert_code(cert_self_sign(&seed, "x", &cert, NULL), ST_INVALID_ARGUMENT);
    }
}

static void
a_certificate_is_the_same_each_time_and_gives_its_key(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct cert a, b;
    uint8_t public[ED25519_PUBLIC_LEN];
    assert_ok(cert_self_sign(&rfc_seed, "smalltown-master", &a, &err));
    assert_ok(cert_self_sign(&rfc_seed, "smalltown-master", &b, &err));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.der, b.der, a.len);
    assert_ok(cert_public_key(a.der, a.len, public, &err));
    assert_memory_equal(public, rfc_public, sizeof(public));
    assert_ok(cert_self_sign(&rfc_seed, "another", &b, &err));
    assert_memory_not_equal(a.der + 9, b.der + 9, 16); /* the serial number */
}

static void
a_common_name_is_1_to_64_bytes(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct cert cert;
    uint8_t public[ED25519_PUBLIC_LEN];
    char name[66] = {0};
    for (size_t len = 0; len <= 65; len++) {
        if (len >= 1 && len <= 64) {
            assert_ok(cert_self_sign(&rfc_seed, name, &cert, &err));
            assert_ok(cert_public_key(cert.der, cert.len, public, &err));
        } else {
            assert_code(cert_self_sign(&rfc_seed, name, &cert, NULL),
                        ST_INVALID_ARGUMENT);
        }
        name[len] = 'n';
    }
}

static void
openssl_takes_a_certificate_as_its_own_root(void **state)
{
    (void)state;
    struct st_err err = {0};
    SECRET seed = {0};
    struct cert cert;
    make("smalltown-master", &seed, &cert);
    AUTO(st_freep) char *pem = NULL;
    assert_ok(cert_to_pem(cert.der, cert.len, &pem, &err));
    write_text("c.pem", pem);
    char out[8192];
    assert_int_equal(run("openssl verify -CAfile c.pem c.pem && "
                         "openssl verify -purpose sslserver -CAfile c.pem c.pem && "
                         "openssl verify -purpose sslclient -CAfile c.pem c.pem",
                         out, sizeof(out)),
                     0);
    assert_int_equal(run("openssl x509 -text -noout -in c.pem", out, sizeof(out)), 0);
    const char *said[] = {"Version: 3",
                          "Not Before: Jan  1 00:00:00 1970 GMT",
                          "Not After : Dec 31 23:59:59 9999 GMT",
                          "Issuer: CN = smalltown-master",
                          "Subject: CN = smalltown-master",
                          "CA:FALSE",
                          "TLS Web Server Authentication, TLS Web Client Authentication"};
    for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++)
        if (!strstr(out, said[i]))
            fail_msg("\"%s\" is not in %s", said[i], out);
    assert_null(strstr(out, "Alternative Name"));
    assert_null(strstr(out, "(Negative)"));
    /* Written again by OpenSSL it is the same: it was DER. */
    write_text("before.pem", pem);
    assert_int_equal(run("openssl x509 -in c.pem | cmp - before.pem", out, sizeof(out)),
                     0);
}

static void
pem_goes_out_and_in(void **state)
{
    (void)state;
    struct st_err err = {0};
    SECRET seed = {0}, pem = {0}, back = {0}, der = {0};
    struct cert cert, again;
    make("node", &seed, &cert);
    AUTO(st_freep) char *text = NULL;
    assert_ok(cert_to_pem(cert.der, cert.len, &text, &err));
    assert_ok(cert_from_pem(text, &again, &err));
    assert_int_equal(again.len, cert.len);
    assert_memory_equal(again.der, cert.der, cert.len);

    assert_ok(key_to_pem(&seed, &pem, &err));
    assert_int_equal(strlen((char *)pem.bytes), pem.len);
    assert_ok(key_from_pem((char *)pem.bytes, &back, &err));
    assert_true(secret_equal(&seed, &back));
    assert_ok(key_to_pkcs8(&seed, &der, &err));
    assert_int_equal(der.len, 48);

    write_text("k.pem", (char *)pem.bytes);
    char out[1000];
    assert_int_equal(run("openssl pkey -in k.pem | cmp - k.pem", out, sizeof(out)), 0);
}

static void
certificates_of_every_length_survive_pem(void **state)
{
    (void)state;
    struct st_err err = {0};
    struct cert cert = {.der = {0x30, 0x82}}, again;
    memset(cert.der + 4, 0, sizeof(cert.der) - 4);
    for (cert.len = 4 + 256; cert.len <= sizeof(cert.der); cert.len++) {
        cert.der[2] = (uint8_t)((cert.len - 4) >> 8);
        cert.der[3] = (uint8_t)(cert.len - 4);
        cert.der[4] = DER_UTF8_STRING;
        cert.der[5] = 0x82;
        cert.der[6] = (uint8_t)((cert.len - 8) >> 8);
        cert.der[7] = (uint8_t)(cert.len - 8);
        if (cert.len - 8 < 256)
            continue;
        AUTO(st_freep) char *text = NULL;
        assert_ok(cert_to_pem(cert.der, cert.len, &text, &err));
        assert_ok(cert_from_pem(text, &again, &err));
        assert_int_equal(again.len, cert.len);
        assert_memory_equal(again.der, cert.der, cert.len);
    }
    uint8_t big[sizeof(cert.der) + 1] = {0x30, 0x82, 0x03, 0xfd};
    AUTO(st_freep) char *text = NULL;
    assert_ok(cert_to_pem(big, sizeof(big), &text, &err));
    assert_code(cert_from_pem(text, &again, NULL), ST_INVALID_ARGUMENT);
}

static void
a_key_that_openssl_made_is_read(void **state)
{
    (void)state;
    struct st_err err = {0};
    char pem[1000], public[1000];
    assert_int_equal(run("openssl genpkey -algorithm ed25519", pem, sizeof(pem)), 0);
    write_text("o.pem", pem);
    assert_int_equal(run("openssl pkey -in o.pem -pubout -outform DER | tail -c 32 | "
                         "od -An -v -tx1 | tr -d ' \\n'",
                         public, sizeof(public)),
                     0);
    SECRET seed = {0};
    uint8_t key[ED25519_PUBLIC_LEN];
    assert_ok(key_from_pem(pem, &seed, &err));
    assert_ok(key_public(&seed, key, &err));
    char hex[2 * sizeof(key) + 1];
    for (size_t i = 0; i < sizeof(key); i++)
        sprintf(hex + 2 * i, "%02x", key[i]);
    assert_string_equal(public, hex);
}

static void
pem_of_anything_else_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {
        "",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n",
        "-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAACAQ==\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA\n",
    };
    struct secret seed;
    struct cert cert;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_code(key_from_pem(bad[i], &seed, NULL), ST_INVALID_ARGUMENT);
        assert_code(cert_from_pem(bad[i], &cert, NULL), ST_INVALID_ARGUMENT);
    }
    char pem[1000];
    const char *others[] = {"openssl genpkey -algorithm x25519",
                            "openssl genpkey -algorithm ed448",
                            "openssl ecparam -genkey -noout -name prime256v1 | "
                            "openssl pkcs8 -topk8 -nocrypt",
                            "openssl genpkey -algorithm ed25519 -aes256 -pass pass:x"};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        assert_int_equal(run(others[i], pem, sizeof(pem)), 0);
        assert_non_null(strstr(pem, "PRIVATE KEY"));
        assert_code(key_from_pem(pem, &seed, NULL), ST_INVALID_ARGUMENT);
    }
}

static void
N30_a_certificate_with_one_bit_changed_is_refused(void **state)
{
    (void)state;
    struct cert cert;
    uint8_t public[ED25519_PUBLIC_LEN];
    assert_code(cert_self_sign(&rfc_seed, "node", &cert, NULL), ST_OK);
    for (size_t i = 0; i < cert.len; i++) {
        cert.der[i] ^= 1;
        assert_code(cert_public_key(cert.der, cert.len, public, NULL),
                    ST_INVALID_ARGUMENT);
        cert.der[i] ^= 1;
    }
}

static void
N30_a_certificate_cut_or_with_a_tail_is_refused(void **state)
{
    (void)state;
    struct cert cert;
    uint8_t public[ED25519_PUBLIC_LEN];
    assert_code(cert_self_sign(&rfc_seed, "node", &cert, NULL), ST_OK);
    for (size_t len = 0; len < cert.len; len++) {
        uint8_t *exact = malloc(len ? len : 1);
        assert_non_null(exact);
        memcpy(exact, cert.der, len);
        assert_code(cert_public_key(exact, len, public, NULL), ST_INVALID_ARGUMENT);
        free(exact);
    }
    cert.der[cert.len] = 0;
    assert_code(cert_public_key(cert.der, cert.len + 1, public, NULL),
                ST_INVALID_ARGUMENT);
}

static void
N30_only_a_self_signed_ed25519_certificate_is_read(void **state)
{
    (void)state;
    char out[2000];
    const char *made[] = {
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "
        "/CN=x "
        "-keyout /dev/null",
        "openssl req -x509 -newkey ed448 -nodes -subj /CN=x -keyout /dev/null",
        /* Ed25519, but issued by another Ed25519 key: */
        "openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -keyout ca.key -out ca.pem "
        "2>/dev/null && openssl req -new -newkey ed25519 -nodes -subj /CN=x "
        "-keyout /dev/null 2>/dev/null | openssl x509 -req -CA ca.pem -CAkey ca.key "
        "2>/dev/null",
    };
    struct cert cert;
    struct st_err err = {0};
    uint8_t public[ED25519_PUBLIC_LEN];
    for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
        assert_int_equal(run(made[i], out, sizeof(out)), 0);
        assert_ok(cert_from_pem(out, &cert, &err));
        assert_code(cert_public_key(cert.der, cert.len, public, NULL),
                    ST_INVALID_ARGUMENT);
    }
    assert_int_equal(run("cat ca.pem", out, sizeof(out)), 0);
    assert_ok(cert_from_pem(out, &cert, &err));
    assert_ok(cert_public_key(cert.der, cert.len, public, &err));
}

static void
N25_what_ber_allows_and_der_does_not_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint8_t bytes[12];
    } bad[] = {
        {4, {0x30, 0x80, 0x00, 0x00}},             /* indefinite length */
        {5, {0x30, 0x81, 0x02, 0x05, 0x00}},       /* a length longer than it need be */
        {6, {0x30, 0x82, 0x00, 0x02, 0x05, 0x00}}, /* ... in two bytes */
        {6, {0x30, 0x84, 0x00, 0x00, 0x00, 0x00}}, /* four bytes of length */
        {6, {0x30, 0x04, 0x02, 0x02, 0x00, 0x01}}, /* padded INTEGER */
        {6, {0x30, 0x04, 0x02, 0x02, 0xff, 0x80}}, /* ... negative */
        {4, {0x30, 0x02, 0x02, 0x00}},             /* empty INTEGER */
        {5, {0x30, 0x03, 0x01, 0x01, 0x01}},       /* TRUE is 0xff */
        {5, {0x30, 0x03, 0x05, 0x01, 0x00}},       /* NULL with content */
        {5, {0x30, 0x03, 0x1f, 0x20, 0x00}},       /* tag in two bytes */
        {4, {0x30, 0x02, 0x00, 0x00}},             /* end of contents */
        {4, {0x30, 0x01, 0x05, 0x00}},             /* an element crosses its end */
        {3, {0x30, 0x02, 0x05}},                   /* cut */
        {3, {0x30, 0x00, 0x00}},                   /* tail */
        {2, {0x31, 0x00}},                         /* another tag */
        {1, {0x30}},
        {0, {0}},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (der_check(bad[i].bytes, bad[i].len, DER_SEQUENCE))
            fail_msg("row %zu", i);
    static const uint8_t good[] = {0x30, 0x09, 0x02, 0x01, 0x80, 0x30,
                                   0x02, 0x05, 0x00, 0x30, 0x00};
    assert_true(der_check(good, sizeof(good), DER_SEQUENCE));
    uint8_t deep[80];
    for (size_t i = 0; i < sizeof(deep); i += 2) {
        deep[i] = 0x30;
        deep[i + 1] = (uint8_t)(sizeof(deep) - 2 - i);
    }
    assert_false(der_check(deep, sizeof(deep), DER_SEQUENCE));
    assert_true(der_check(deep + sizeof(deep) - 20, 20, DER_SEQUENCE));
}

static void
what_is_written_in_der_is_read_again(void **state)
{
    (void)state;
    static uint8_t content[70000], bytes[70000];
    const size_t lens[] = {0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff};
    for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
        struct der_writer out = {bytes, sizeof(bytes), sizeof(bytes), false};
        der_write_element(&out, DER_OCTET_STRING, content, lens[i]);
        assert_false(out.full);
        struct der in = {bytes + out.at, out.end - out.at}, read;
        assert_true(der_check(in.at, in.len, DER_OCTET_STRING));
        assert_true(der_read(&in, DER_OCTET_STRING, &read));
        assert_int_equal(read.len, lens[i]);
        assert_int_equal(in.len, 0);
    }
    struct der_writer out = {bytes, sizeof(bytes), sizeof(bytes), false};
    der_write_element(&out, DER_OCTET_STRING, content, 0x10000);
    assert_true(out.full);
    out = (struct der_writer){bytes, 11, 11, false};
    der_write_element(&out, DER_OCTET_STRING, content, 10);
    assert_true(out.full);
}

static int
open_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int
close_folder(void **state)
{
    (void)state;
    char out[100];
    const int status = run("rm -f *.pem ca.key", out, sizeof(out));
    return rmdir(folder) || status;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_signatures_are_those_of_rfc_8032),
        cmocka_unit_test(N30_a_signature_holds_for_one_key_and_one_message),
        cmocka_unit_test(a_key_of_another_length_is_refused),
        cmocka_unit_test(a_certificate_is_the_same_each_time_and_gives_its_key),
        cmocka_unit_test(a_common_name_is_1_to_64_bytes),
        cmocka_unit_test(openssl_takes_a_certificate_as_its_own_root),
        cmocka_unit_test(pem_goes_out_and_in),
        cmocka_unit_test(certificates_of_every_length_survive_pem),
        cmocka_unit_test(a_key_that_openssl_made_is_read),
        cmocka_unit_test(pem_of_anything_else_is_refused),
        cmocka_unit_test(N30_a_certificate_with_one_bit_changed_is_refused),
        cmocka_unit_test(N30_a_certificate_cut_or_with_a_tail_is_refused),
        cmocka_unit_test(N30_only_a_self_signed_ed25519_certificate_is_read),
        cmocka_unit_test(N25_what_ber_allows_and_der_does_not_is_refused),
        cmocka_unit_test(what_is_written_in_der_is_read_again),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

/* Which keys are taken for an endorsement key, and which certificate speaks of one. */
#include "proto/der.h"
#include "tests/cmocka.h"
#include "tests/tpm/judge_forge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/smalltown-test-XXXXXX";

/* What a shell command in the folder writes. */
static struct forge_bytes
run(const char *command)
{
    char line[400];
    uint8_t out[CERT_MAX_LEN + 1];
    snprintf(line, sizeof(line), "cd %s && { %s; } 2>/dev/null", folder, command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t len = fread(out, 1, sizeof(out), pipe);
    if (pclose(pipe) != 0)
        fail_msg("%s", command);
    return forge_copy(out, len);
}

static struct forge_bytes
spki_of(const char *genpkey)
{
    char line[300];
    snprintf(
        line, sizeof(line),
        "openssl genpkey %s -out k.pem && openssl pkey -in k.pem -pubout -outform DER",
        genpkey);
    return run(line);
}

/* After spki_of(): of the same key. */
static struct forge_bytes
cert_of_last(void)
{
    return run("openssl req -x509 -key k.pem -subj /CN=ek -outform DER");
}

static void
expect(const struct forge_bytes *spki, enum st_code expected, const char *words)
{
    struct tpm_ek ek = {0};
    struct st_err err = {0};
    enum st_code code = tpm_ek_check(spki->bytes, spki->len, &ek, &err);
    if (code != expected || (code && !strstr(err.text, words)))
        fail_msg("%s \"%s\" where %s \"%s\" belongs", st_code_name(code), err.text,
                 st_code_name(expected), words);
    assert_int_equal(ek.spki_len, code ? 0 : spki->len);
}

static const char *const good_keys[] = {
    "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
};
enum {
    GOOD_KEYS = sizeof(good_keys) / sizeof(*good_keys)
};

static void
rsa_2048_and_p256_and_p384_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD_KEYS; i++) {
        FORGE_BYTES spki = spki_of(good_keys[i]);
        struct tpm_ek ek;
        struct st_err err = {0};
        assert_ok(tpm_ek_check(spki.bytes, spki.len, &ek, &err));
        assert_int_equal(ek.spki_len, spki.len);
        assert_memory_equal(ek.spki, spki.bytes, spki.len);
        uint8_t hash[SHA256_LEN];
        forge_digest(&spki, hash);
        assert_memory_equal(ek.hash, hash, sizeof(hash));
    }
}

static void
N22_other_keys_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *genpkey, *words;
    } rows[] = {
        {"-algorithm ed25519", "neither RSA-2048"},
        {"-algorithm x25519", "neither RSA-2048"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "2048 bits"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:2040", "2048 bits"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "2048 bits"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3",
         "exponent"},
        {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:65539",
         "exponent"},
        {"-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", "neither RSA-2048"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:secp224r1", "neither RSA-2048"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "neither RSA-2048"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "neither RSA-2048"},
        {"-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1", "neither RSA-2048"},
        /* P-256, but its numbers written out: an attacker would choose them. */
        {"-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
         "neither RSA-2048"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        FORGE_BYTES spki = spki_of(rows[i].genpkey);
        expect(&spki, ST_INVALID_ARGUMENT, rows[i].words);
    }
    FORGE_BYTES compressed =
        run("openssl ecparam -genkey -noout -name prime256v1 -conv_form compressed |"
            "openssl ec -pubout -conv_form compressed -outform DER");
    expect(&compressed, ST_INVALID_ARGUMENT, "uncompressed");
}

static void
N22_what_is_no_key_is_refused(void **state)
{
    (void)state;
    struct forge_bytes mebibyte = {1024 * 1024, calloc(1, 1024 * 1024)};
    assert_non_null(mebibyte.bytes);
    expect(&mebibyte, ST_INVALID_ARGUMENT, "SubjectPublicKeyInfo");
    FORGE_BYTES good = spki_of(good_keys[0]);
    memcpy(mebibyte.bytes, good.bytes, good.len);
    expect(&mebibyte, ST_INVALID_ARGUMENT, "SubjectPublicKeyInfo");
    forge_bytes_free(&mebibyte);
    FORGE_BYTES empty = forge_copy("", 0);
    expect(&empty, ST_INVALID_ARGUMENT, "SubjectPublicKeyInfo");
    FORGE_BYTES text = forge_copy("-----BEGIN PUBLIC KEY-----\n", 27);
    expect(&text, ST_INVALID_ARGUMENT, "SubjectPublicKeyInfo");
    assert_code(tpm_ek_check(NULL, 0, &(struct tpm_ek){0}, NULL), ST_INVALID_ARGUMENT);
    /* PKCS #1 without the SubjectPublicKeyInfo around it. */
    FORGE_BYTES pkcs1 = run("openssl rsa -in k.pem -RSAPublicKey_out -outform DER");
    expect(&pkcs1, ST_INVALID_ARGUMENT, "SubjectPublicKeyInfo");
}

static void
N22_a_point_off_its_curve_is_refused(void **state)
{
    (void)state;
    for (size_t i = 1; i < GOOD_KEYS; i++) {
        FORGE_BYTES spki = spki_of(good_keys[i]);
        spki.bytes[spki.len - 1] ^= 1;
        expect(&spki, ST_INVALID_ARGUMENT, "not a point");
        size_t point_len = i == 1 ? 64 : 96;
        memset(spki.bytes + spki.len - point_len, 0, point_len);
        expect(&spki, ST_INVALID_ARGUMENT, "not a point");
        memset(spki.bytes + spki.len - point_len, 0xff, point_len);
        expect(&spki, ST_INVALID_ARGUMENT, "not a point");
    }
}

static void
N22_a_key_cut_or_with_a_tail_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD_KEYS; i++) {
        FORGE_BYTES spki = spki_of(good_keys[i]);
        for (size_t len = 0; len < spki.len; len++) {
            FORGE_BYTES cut = forge_copy(spki.bytes, len);
            expect(&cut, ST_INVALID_ARGUMENT, "");
        }
        uint8_t longer[TPM_SPKI_MAX] = {0};
        memcpy(longer, spki.bytes, spki.len);
        FORGE_BYTES tail = forge_copy(longer, spki.len + 1);
        expect(&tail, ST_INVALID_ARGUMENT, "SubjectPublicKeyInfo");
    }
}

/* Every byte, every value near it: never over the end, and never the same hash. */
static void
N22_a_key_with_one_byte_changed_is_refused_or_another_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOOD_KEYS; i++) {
        FORGE_BYTES spki = spki_of(good_keys[i]);
        struct tpm_ek good, ek;
        struct st_err err = {0};
        assert_ok(tpm_ek_check(spki.bytes, spki.len, &good, &err));
        for (size_t at = 0; at < spki.len; at++) {
            const uint8_t was = spki.bytes[at];
            const uint8_t values[] = {(uint8_t)(was + 1), (uint8_t)(was - 1), 0, 0xff,
                                      0x80};
            for (size_t j = 0; j < sizeof(values); j++) {
                spki.bytes[at] = values[j];
                if (values[j] != was &&
                    tpm_ek_check(spki.bytes, spki.len, &ek, NULL) == ST_OK)
                    assert_memory_not_equal(ek.hash, good.hash, SHA256_LEN);
            }
            spki.bytes[at] = was;
        }
    }
}

static void
expect_cert(const struct forge_bytes *cert, const struct tpm_ek *ek,
            enum st_code expected, const char *words)
{
    struct st_err err = {0};
    enum st_code code = tpm_ek_cert_check(cert->bytes, cert->len, ek, &err);
    if (code != expected || (code && !strstr(err.text, words)))
        fail_msg("%s \"%s\" where %s \"%s\" belongs", st_code_name(code), err.text,
                 st_code_name(expected), words);
}

static struct tpm_ek
ek_of(const struct forge_bytes *spki)
{
    struct tpm_ek ek;
    struct st_err err = {0};
    assert_ok(tpm_ek_check(spki->bytes, spki->len, &ek, &err));
    return ek;
}

static void
N23_a_certificate_speaks_of_one_key_only(void **state)
{
    (void)state;
    struct tpm_ek eks[2 * GOOD_KEYS];
    struct forge_bytes certs[2 * GOOD_KEYS];
    for (size_t i = 0; i < 2 * GOOD_KEYS; i++) {
        FORGE_BYTES spki = spki_of(good_keys[i % GOOD_KEYS]);
        eks[i] = ek_of(&spki);
        certs[i] = cert_of_last();
    }
    for (size_t i = 0; i < 2 * GOOD_KEYS; i++)
        for (size_t j = 0; j < 2 * GOOD_KEYS; j++)
            expect_cert(&certs[i], &eks[j], i == j ? ST_OK : ST_PERMISSION_DENIED,
                        "another key");
    for (size_t i = 0; i < 2 * GOOD_KEYS; i++)
        forge_bytes_free(&certs[i]);
}

/* A certificate of nothing but what der_certificate() asks for, around this key. */
static struct forge_bytes
bare_cert(const struct forge_bytes *spki)
{
    static const uint8_t v3[] = {DER_CONTEXT_0, 3, DER_INTEGER, 1, 2};
    uint8_t bytes[2000];
    struct der_writer out = {bytes, sizeof(bytes), sizeof(bytes), false};
    der_write_element(&out, DER_BIT_STRING, "\0sig", 4);
    der_write_element(&out, DER_SEQUENCE, NULL, 0);
    size_t tbs = out.at;
    der_write(&out, spki->bytes, spki->len);
    for (int i = 0; i < 4; i++) /* subject, validity, issuer, algorithm */
        der_write_element(&out, DER_SEQUENCE, NULL, 0);
    der_write_element(&out, DER_INTEGER, "\1", 1);
    der_write(&out, v3, sizeof(v3));
    der_wrap(&out, DER_SEQUENCE, tbs);
    der_wrap(&out, DER_SEQUENCE, sizeof(bytes));
    assert_false(out.full);
    return forge_copy(bytes + out.at, sizeof(bytes) - out.at);
}

/* The same key, called one for RSAES-OAEP: so do some Infineon chips. */
static struct forge_bytes
oaep_spki(const struct forge_bytes *rsa)
{
    static const uint8_t oaep[] = {DER_OID, 9,    0x2a, 0x86, 0x48,         0x86, 0xf7,
                                   0x0d,    0x01, 0x01, 0x07, DER_SEQUENCE, 0};
    struct der in = {rsa->bytes, rsa->len}, content, algorithm;
    assert_true(der_read(&in, DER_SEQUENCE, &content));
    assert_true(der_read(&content, DER_SEQUENCE, &algorithm));
    uint8_t bytes[1000];
    struct der_writer out = {bytes, sizeof(bytes), sizeof(bytes), false};
    der_write(&out, content.at, content.len);
    der_write_element(&out, DER_SEQUENCE, oaep, sizeof(oaep));
    der_wrap(&out, DER_SEQUENCE, sizeof(bytes));
    return forge_copy(bytes + out.at, sizeof(bytes) - out.at);
}

static void
N23_the_same_rsa_key_under_its_other_name_is_the_same(void **state)
{
    (void)state;
    FORGE_BYTES rsa = spki_of(good_keys[0]);
    FORGE_BYTES ecc = spki_of(good_keys[1]);
    FORGE_BYTES other = spki_of(good_keys[0]);
    const struct tpm_ek ek = ek_of(&rsa), ecc_ek = ek_of(&ecc);
    FORGE_BYTES plain_cert = bare_cert(&rsa);
    expect_cert(&plain_cert, &ek, ST_OK, "");
    FORGE_BYTES oaep = oaep_spki(&rsa);
    FORGE_BYTES oaep_cert = bare_cert(&oaep);
    expect_cert(&oaep_cert, &ek, ST_OK, "");
    expect(&oaep, ST_INVALID_ARGUMENT, "neither RSA-2048"); /* in a certificate only */
    FORGE_BYTES other_oaep = oaep_spki(&other);
    FORGE_BYTES other_cert = bare_cert(&other_oaep);
    expect_cert(&other_cert, &ek, ST_PERMISSION_DENIED, "another key");
    FORGE_BYTES ecc_oaep = oaep_spki(&ecc);
    FORGE_BYTES ecc_cert = bare_cert(&ecc_oaep);
    expect_cert(&ecc_cert, &ecc_ek, ST_PERMISSION_DENIED, "another key");
}

static void
N25_a_certificate_in_ber_or_cut_is_refused(void **state)
{
    (void)state;
    FORGE_BYTES spki = spki_of(good_keys[1]);
    const struct tpm_ek ek = ek_of(&spki);
    FORGE_BYTES cert = cert_of_last();
    expect_cert(&cert, &ek, ST_OK, "");
    for (size_t len = 0; len < cert.len; len++) {
        FORGE_BYTES cut = forge_copy(cert.bytes, len);
        expect_cert(&cut, &ek, ST_INVALID_ARGUMENT, "");
    }
    uint8_t bytes[CERT_MAX_LEN + 1] = {0};
    memcpy(bytes, cert.bytes, cert.len);
    FORGE_BYTES tail = forge_copy(bytes, cert.len + 1);
    expect_cert(&tail, &ek, ST_INVALID_ARGUMENT, "");
    FORGE_BYTES huge = forge_copy(bytes, sizeof(bytes));
    expect_cert(&huge, &ek, ST_INVALID_ARGUMENT, "");
    /* 30 82 xx xx becomes 30 80 ... 00 00, and 30 83 00 xx xx. */
    assert_memory_equal(cert.bytes, "\x30\x82", 2);
    memcpy(bytes, "\x30\x80", 2);
    memcpy(bytes + 2, cert.bytes + 4, cert.len - 4);
    memset(bytes + cert.len - 2, 0, 2);
    FORGE_BYTES indefinite = forge_copy(bytes, cert.len);
    expect_cert(&indefinite, &ek, ST_INVALID_ARGUMENT, "");
    memcpy(bytes, "\x30\x83\x00", 3);
    memcpy(bytes + 3, cert.bytes + 2, cert.len - 2);
    FORGE_BYTES longer = forge_copy(bytes, cert.len + 1);
    expect_cert(&longer, &ek, ST_INVALID_ARGUMENT, "");
    assert_code(tpm_ek_cert_check(NULL, 0, &ek, NULL), ST_INVALID_ARGUMENT);
}

static void
N25_no_byte_of_a_certificate_leads_astray(void **state)
{
    (void)state;
    FORGE_BYTES spki = spki_of(good_keys[1]);
    const struct tpm_ek ek = ek_of(&spki);
    FORGE_BYTES cert = cert_of_last();
    const uint8_t *key = memmem(cert.bytes, cert.len, spki.bytes, spki.len);
    assert_non_null(key);
    for (size_t at = 0; at < cert.len; at++) {
        for (int value = 0; value < 256; value++) {
            const uint8_t was = cert.bytes[at];
            cert.bytes[at] = (uint8_t)value;
            enum st_code code = tpm_ek_cert_check(cert.bytes, cert.len, &ek, NULL);
            if (value != was && &cert.bytes[at] >= key &&
                &cert.bytes[at] < key + spki.len)
                assert_int_not_equal(code, ST_OK);
            cert.bytes[at] = was;
        }
    }
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
    char path[64];
    snprintf(path, sizeof(path), "%s/k.pem", folder);
    unlink(path);
    return rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rsa_2048_and_p256_and_p384_are_taken),
        cmocka_unit_test(N22_other_keys_are_refused),
        cmocka_unit_test(N22_what_is_no_key_is_refused),
        cmocka_unit_test(N22_a_point_off_its_curve_is_refused),
        cmocka_unit_test(N22_a_key_cut_or_with_a_tail_is_refused),
        cmocka_unit_test(N22_a_key_with_one_byte_changed_is_refused_or_another_key),
        cmocka_unit_test(N23_a_certificate_speaks_of_one_key_only),
        cmocka_unit_test(N23_the_same_rsa_key_under_its_other_name_is_the_same),
        cmocka_unit_test(N25_a_certificate_in_ber_or_cut_is_refused),
        cmocka_unit_test(N25_no_byte_of_a_certificate_leads_astray),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

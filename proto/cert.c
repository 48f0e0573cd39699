#include <wolfssl/options.h>

#include "proto/cert.h"
#include "proto/der.h"
#include "proto/scope.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/hash.h>

enum {
    COMMON_NAME_MAX = 64, /* ub-common-name of RFC 5280 */
    SERIAL_LEN = 16,
    PEM_LINE = 64,
};

/* RFC 8410: id-Ed25519, no parameters. */
static const uint8_t ed25519_algorithm[] = {DER_OID, 3, 0x2b, 0x65, 0x70};
/* SubjectPublicKeyInfo and OneAsymmetricKey up to the 32 bytes that end them. */
static const uint8_t spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                      0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const uint8_t pkcs8_prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
enum {
    PKCS8_LEN = sizeof(pkcs8_prefix) + ED25519_SEED_LEN
};

/* 1970-01-01 to 9999-12-31T23:59:59Z, RFC 5280 4.1.2.5 */
static const uint8_t validity[] = "\x17\x0d"
                                  "700101000000Z"
                                  "\x18\x0f"
                                  "99991231235959Z";
/* basicConstraints, critical: not a CA; extKeyUsage: serverAuth, clientAuth. */
static const uint8_t extensions[] = {
    0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02,
    0x30, 0x00, 0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x16, 0x30,
    0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01, 0x06,
    0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};

/* wc_ed25519_free() wipes it. */
#define KEY AUTO(wc_ed25519_free) ed25519_key

static enum st_code
seed_check(const struct secret *seed, struct st_err *err)
{
    if (seed->len != ED25519_SEED_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "an Ed25519 key of %zu bytes",
                       seed->len);
    return ST_OK;
}

static enum st_code
key_load(const struct secret *seed, ed25519_key *key, uint8_t out[ED25519_PUBLIC_LEN],
         struct st_err *err)
{
    enum st_code code = seed_check(seed, err);
    if (code)
        return code;
    if (wc_ed25519_import_private_only(seed->bytes, ED25519_SEED_LEN, key) ||
        wc_ed25519_make_public(key, out, ED25519_PUBLIC_LEN) ||
        wc_ed25519_import_private_key(seed->bytes, ED25519_SEED_LEN, out,
                                      ED25519_PUBLIC_LEN, key))
        return st_fail(err, ST_INTERNAL, "cannot load an Ed25519 key");
    return ST_OK;
}

enum st_code
key_generate(struct secret *out_seed, uint8_t out_public[ED25519_PUBLIC_LEN],
             struct st_err *err)
{
    SECRET seed = {0};
    enum st_code code;
    if ((code = secret_random(&seed, ED25519_SEED_LEN, err)) ||
        (code = key_public(&seed, out_public, err)))
        return code;
    *out_seed = seed;
    return ST_OK;
}

enum st_code
key_public(const struct secret *seed, uint8_t out[ED25519_PUBLIC_LEN], struct st_err *err)
{
    KEY key = {0};
    if (wc_ed25519_init(&key))
        return st_fail(err, ST_INTERNAL, "cannot prepare an Ed25519 key");
    uint8_t public[ED25519_PUBLIC_LEN];
    enum st_code code = key_load(seed, &key, public, err);
    if (!code)
        memcpy(out, public, sizeof(public));
    return code;
}

enum st_code
key_sign(const struct secret *seed, const void *message, size_t len,
         uint8_t out[ED25519_SIGNATURE_LEN], struct st_err *err)
{
    KEY key = {0};
    if (wc_ed25519_init(&key))
        return st_fail(err, ST_INTERNAL, "cannot prepare an Ed25519 key");
    uint8_t public[ED25519_PUBLIC_LEN];
    enum st_code code = key_load(seed, &key, public, err);
    if (code)
        return code;
    uint8_t signature[ED25519_SIGNATURE_LEN];
    word32 signature_len = sizeof(signature);
    if (len > UINT32_MAX ||
        wc_ed25519_sign_msg(message, (word32)len, signature, &signature_len, &key) ||
        signature_len != sizeof(signature))
        return st_fail(err, ST_INTERNAL, "cannot sign with an Ed25519 key");
    memcpy(out, signature, sizeof(signature));
    return ST_OK;
}

enum st_code
key_verify(const uint8_t public_key[ED25519_PUBLIC_LEN], const void *message, size_t len,
           const uint8_t signature[ED25519_SIGNATURE_LEN], struct st_err *err)
{
    KEY key = {0};
    if (wc_ed25519_init(&key))
        return st_fail(err, ST_INTERNAL, "cannot prepare an Ed25519 key");
    int good = 0;
    if (len > UINT32_MAX ||
        wc_ed25519_import_public(public_key, ED25519_PUBLIC_LEN, &key) ||
        wc_ed25519_verify_msg(signature, ED25519_SIGNATURE_LEN, message, (word32)len,
                              &good, &key) ||
        good != 1)
        return st_fail(err, ST_PERMISSION_DENIED,
                       "the Ed25519 signature is not of this key over this message");
    return ST_OK;
}

static void
write_algorithm(struct der_writer *out)
{
    der_write_element(out, DER_SEQUENCE, ed25519_algorithm, sizeof(ed25519_algorithm));
}

static void
write_name(struct der_writer *out, const char *common_name)
{
    static const uint8_t id_at_common_name[] = {DER_OID, 3, 0x55, 0x04, 0x03};
    size_t mark = out->at;
    der_write_element(out, DER_UTF8_STRING, common_name, strlen(common_name));
    der_write(out, id_at_common_name, sizeof(id_at_common_name));
    der_wrap(out, DER_SEQUENCE, mark);
    der_wrap(out, DER_SET, mark);
    der_wrap(out, DER_SEQUENCE, mark);
}

/* The same key and name give the same number, positive and of one length. */
static bool
make_serial(const uint8_t public_key[ED25519_PUBLIC_LEN], const char *common_name,
            uint8_t out[SERIAL_LEN])
{
    uint8_t seen[ED25519_PUBLIC_LEN + COMMON_NAME_MAX] = {0}, hash[SHA256_LEN];
    memcpy(seen, public_key, ED25519_PUBLIC_LEN);
    memcpy(seen + ED25519_PUBLIC_LEN, common_name, strlen(common_name));
    if (wc_Sha256Hash(seen, sizeof(seen), hash))
        return false;
    hash[0] = (hash[0] & 0x7f) | 0x40;
    memcpy(out, hash, SERIAL_LEN);
    return true;
}

/* TBSCertificate, from its last field to its first. */
static void
write_tbs(struct der_writer *out, const uint8_t serial[SERIAL_LEN],
          const uint8_t public_key[ED25519_PUBLIC_LEN], const char *common_name)
{
    static const uint8_t v3[] = {DER_CONTEXT_0, 3, DER_INTEGER, 1, 2};
    size_t end = out->at;
    der_write_element(out, DER_SEQUENCE, extensions, sizeof(extensions));
    der_wrap(out, DER_CONTEXT_0 + 3, end);
    der_write(out, public_key, ED25519_PUBLIC_LEN);
    der_write(out, spki_prefix, sizeof(spki_prefix));
    write_name(out, common_name);
    der_write_element(out, DER_SEQUENCE, validity, sizeof(validity) - 1);
    write_name(out, common_name);
    write_algorithm(out);
    der_write_element(out, DER_INTEGER, serial, SERIAL_LEN);
    der_write(out, v3, sizeof(v3));
    der_wrap(out, DER_SEQUENCE, end);
}

enum st_code
cert_self_sign(const struct secret *seed, const char *common_name, struct cert *out,
               struct st_err *err)
{
    size_t name_len = strlen(common_name);
    if (name_len < 1 || name_len > COMMON_NAME_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a common name of %zu bytes", name_len);
    uint8_t public[ED25519_PUBLIC_LEN];
    enum st_code code = key_public(seed, public, err);
    if (code)
        return code;
    uint8_t serial[SERIAL_LEN];
    if (!make_serial(public, common_name, serial))
        return st_fail(err, ST_INTERNAL, "cannot number a certificate");

    uint8_t tbs[512];
    struct der_writer body = {.start = tbs, .at = sizeof(tbs), .end = sizeof(tbs)};
    write_tbs(&body, serial, public, common_name);
    size_t tbs_len = sizeof(tbs) - body.at;
    uint8_t signature[1 + ED25519_SIGNATURE_LEN] = {0}; /* no unused bits */
    if ((code = key_sign(seed, tbs + body.at, tbs_len, signature + 1, err)))
        return code;

    uint8_t der[sizeof(out->der)];
    struct der_writer whole = {.start = der, .at = sizeof(der), .end = sizeof(der)};
    der_write_element(&whole, DER_BIT_STRING, signature, sizeof(signature));
    write_algorithm(&whole);
    der_write(&whole, tbs + body.at, tbs_len);
    der_wrap(&whole, DER_SEQUENCE, sizeof(der));
    if (body.full || whole.full)
        return st_fail(err, ST_INTERNAL, "a certificate does not fit");
    out->len = sizeof(der) - whole.at;
    memcpy(out->der, der + whole.at, out->len);
    return ST_OK;
}

enum st_code
cert_public_key(const void *der, size_t len, uint8_t out[ED25519_PUBLIC_LEN],
                struct st_err *err)
{
    struct der_certificate cert;
    if (len > CERT_MAX_LEN || !der_certificate(der, len, &cert))
        return st_fail(err, ST_INVALID_ARGUMENT, "not one X.509 certificate in DER");
    if (!der_equal(&cert.algorithm, ed25519_algorithm, sizeof(ed25519_algorithm)) ||
        cert.signature.len != ED25519_SIGNATURE_LEN ||
        cert.spki.len != sizeof(spki_prefix) + ED25519_PUBLIC_LEN ||
        memcmp(cert.spki.at, spki_prefix, sizeof(spki_prefix)) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "not an Ed25519 certificate");
    const uint8_t *public = cert.spki.at + sizeof(spki_prefix);
    if (!der_equal(&cert.issuer, cert.subject.at, cert.subject.len) ||
        key_verify(public, cert.tbs.at, cert.tbs.len, cert.signature.at, NULL))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "the certificate is not signed by its own key");
    memcpy(out, public, ED25519_PUBLIC_LEN);
    return ST_OK;
}

void
cert_fingerprint(const void *der, size_t len, uint8_t out[SHA256_LEN])
{
    sha256_of(der, len, out);
}

void
cert_fingerprint_hex(const void *der, size_t len, char out[2 * SHA256_LEN + 1])
{
    uint8_t digest[SHA256_LEN];
    cert_fingerprint(der, len, digest);
    sha256_hex(digest, out);
}

enum st_code
cert_to_pem(const void *der, size_t len, char **out, struct st_err *err)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----\n";
    static const char end[] = "-----END CERTIFICATE-----\n";
    if (len < 1 || len > CERT_MAX_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "a certificate of %zu bytes", len);
    word32 body_len = (word32)((len + 2) / 3 * 4);
    body_len += (body_len + PEM_LINE - 1) / PEM_LINE; /* a newline ends each line */
    AUTO(st_freep) char *pem = malloc(sizeof(begin) + body_len + sizeof(end));
    if (!pem)
        return st_fail(err, ST_RESOURCE_EXHAUSTED, "no memory for a certificate");
    char *body = stpcpy(pem, begin);
    if (Base64_Encode(der, (word32)len, (byte *)body, &body_len))
        return st_fail(err, ST_INTERNAL, "cannot write a certificate in PEM");
    memcpy(body + body_len, end, sizeof(end));
    *out = TAKE(pem);
    return ST_OK;
}

/* Decodes the first block of this kind; false where there is none, it is no base64 or
 * may be longer than *out_len. */
static bool
pem_block(const char *pem, const char *begin, const char *end, uint8_t *out,
          size_t *out_len)
{
    const char *body = strstr(pem, begin);
    if (!body)
        return false;
    body += strlen(begin);
    body += strspn(body, "\r\n");
    const char *stop = strstr(body, end);
    if (!stop || stop == body || stop - body > 2 * CERT_MAX_LEN)
        return false;
    word32 len = (word32)*out_len;
    if (Base64_Decode((const byte *)body, (word32)(stop - body), out, &len))
        return false;
    *out_len = len;
    return true;
}

bool
cert_der_from_pem(const char *pem, uint8_t out[CERT_MAX_LEN], size_t *out_len)
{
    *out_len = CERT_MAX_LEN;
    return pem_block(pem, "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", out,
                     out_len) &&
           der_check(out, *out_len, DER_SEQUENCE);
}

enum st_code
cert_from_pem(const char *pem, struct cert *out, struct st_err *err)
{
    uint8_t der[CERT_MAX_LEN];
    size_t len;
    if (!cert_der_from_pem(pem, der, &len) || len > sizeof(out->der))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "no certificate of at most %zu bytes in PEM", sizeof(out->der));
    out->len = len;
    memcpy(out->der, der, len);
    return ST_OK;
}

enum st_code
key_to_pkcs8(const struct secret *seed, struct secret *out_der, struct st_err *err)
{
    enum st_code code = seed_check(seed, err);
    if (code)
        return code;
    SECRET der = {.len = PKCS8_LEN};
    memcpy(der.bytes, pkcs8_prefix, sizeof(pkcs8_prefix));
    memcpy(der.bytes + sizeof(pkcs8_prefix), seed->bytes, ED25519_SEED_LEN);
    *out_der = der;
    return ST_OK;
}

enum st_code
key_from_pkcs8(const void *der, size_t len, struct secret *out_seed, struct st_err *err)
{
    if (len != PKCS8_LEN || memcmp(der, pkcs8_prefix, sizeof(pkcs8_prefix)) != 0)
        return st_fail(err, ST_INVALID_ARGUMENT, "no Ed25519 key in PKCS#8");
    return secret_set(out_seed, (const uint8_t *)der + sizeof(pkcs8_prefix),
                      ED25519_SEED_LEN, err);
}

enum st_code
key_to_pem(const struct secret *seed, struct secret *out_pem, struct st_err *err)
{
    SECRET der = {0}, body = {.len = SECRET_MAX - 1}, pem = {0};
    enum st_code code = key_to_pkcs8(seed, &der, err);
    if (code)
        return code;
    word32 len = (word32)body.len;
    if (Base64_Encode(der.bytes, (word32)der.len, body.bytes, &len))
        return st_fail(err, ST_INTERNAL, "cannot write a key in PEM");
    int written = snprintf((char *)pem.bytes, sizeof(pem.bytes),
                           "-----BEGIN PRIVATE KEY-----\n%.*s-----END PRIVATE KEY-----\n",
                           (int)len, (const char *)body.bytes);
    if (written < 0 || (size_t)written >= sizeof(pem.bytes))
        return st_fail(err, ST_INTERNAL, "a key in PEM does not fit");
    pem.len = (size_t)written;
    *out_pem = pem;
    return ST_OK;
}

enum st_code
key_from_pem(const char *pem, struct secret *out_seed, struct st_err *err)
{
    SECRET der = {.len = SECRET_MAX};
    if (!pem_block(pem, "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----",
                   der.bytes, &der.len) ||
        key_from_pkcs8(der.bytes, der.len, out_seed, NULL))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "no Ed25519 private key in PEM (PKCS#8, not encrypted)");
    return ST_OK;
}

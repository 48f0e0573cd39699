/* X25519 keys in PEM, RFC 8410: fixed bytes before the 32 that matter. */
#include <wolfssl/options.h>

#include "proto/recovery.h"

#include <stdio.h>
#include <string.h>
#include <wolfssl/wolfcrypt/coding.h>

static const uint8_t spki_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                      0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00};
static const uint8_t pkcs8_prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                       0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20};

#define PUBLIC "PUBLIC KEY"
#define PRIVATE "PRIVATE KEY"

/* One line of base64 in a frame; the same for both kinds. */
static enum st_code
frame(const char *kind, const uint8_t *prefix, size_t prefix_len,
      const uint8_t key[HPKE_KEY_LEN], struct secret *out, struct st_err *err)
{
    SECRET der = {.len = prefix_len + HPKE_KEY_LEN}, body = {0};
    word32 len = SECRET_MAX;
    memcpy(der.bytes, prefix, prefix_len);
    memcpy(der.bytes + prefix_len, key, HPKE_KEY_LEN);
    if (Base64_Encode_NoNl(der.bytes, (word32)der.len, body.bytes, &len))
        return st_fail(err, ST_INTERNAL, "cannot write a key in PEM");
    int n = snprintf((char *)out->bytes, SECRET_MAX,
                     "-----BEGIN %s-----\n%.*s\n-----END %s-----\n", kind, (int)len,
                     (const char *)body.bytes, kind);
    out->len = (size_t)n; /* 64 and some: it fits */
    return ST_OK;
}

static bool
unframe(const char *pem, const char *kind, const uint8_t *prefix, size_t prefix_len,
        struct secret *out)
{
    char begin[40], end[40];
    SECRET der = {0};
    word32 len = SECRET_MAX;
    snprintf(begin, sizeof(begin), "-----BEGIN %s-----", kind);
    snprintf(end, sizeof(end), "-----END %s-----", kind);
    const char *body = strstr(pem, begin);
    body = body ? body + strlen(begin) : pem;
    body += strspn(body, "\r\n");
    const char *stop = strstr(body, end);
    if (body == pem || !stop || stop == body || stop - body > SECRET_MAX ||
        Base64_Decode((const byte *)body, (word32)(stop - body), der.bytes, &len) ||
        len != prefix_len + HPKE_KEY_LEN || memcmp(der.bytes, prefix, prefix_len) != 0)
        return false;
    return !secret_set(out, der.bytes + prefix_len, HPKE_KEY_LEN, NULL);
}

enum st_code
recovery_private_to_pem(const struct secret *private_key, struct secret *out_pem,
                        struct st_err *err)
{
    if (private_key->len != HPKE_KEY_LEN)
        return st_fail(err, ST_INVALID_ARGUMENT, "no X25519 private key");
    return frame(PRIVATE, pkcs8_prefix, sizeof(pkcs8_prefix), private_key->bytes, out_pem,
                 err);
}

enum st_code
recovery_private_from_pem(const char *pem, struct secret *out, struct st_err *err)
{
    if (!unframe(pem, PRIVATE, pkcs8_prefix, sizeof(pkcs8_prefix), out))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "no X25519 private key in PEM (PKCS#8, not encrypted)");
    return ST_OK;
}

enum st_code
recovery_public_to_pem(const uint8_t public_key[HPKE_KEY_LEN],
                       char out_pem[RECOVERY_PEM_MAX], struct st_err *err)
{
    SECRET pem = {0};
    enum st_code code =
        frame(PUBLIC, spki_prefix, sizeof(spki_prefix), public_key, &pem, err);
    if (!code)
        strcpy(out_pem, (const char *)pem.bytes);
    return code;
}

enum st_code
recovery_public_from_pem(const char *pem, uint8_t out[HPKE_KEY_LEN], struct st_err *err)
{
    SECRET key = {0};
    if (!unframe(pem, PUBLIC, spki_prefix, sizeof(spki_prefix), &key))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "no X25519 public key in PEM, as `stctl recovery keygen` and "
                       "`openssl pkey -pubout` write it");
    memcpy(out, key.bytes, HPKE_KEY_LEN);
    return ST_OK;
}

#include <wolfssl/options.h>

#include "proto/hpke.h"

#include "proto/scope.h"

#include <string.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/curve25519.h>
#include <wolfssl/wolfcrypt/hmac.h>

enum {
    ENC_LEN = HPKE_KEY_LEN,
    TAG_LEN = CHACHA20_POLY1305_AEAD_AUTHTAG_SIZE,
    NONCE_SIZE = CHACHA20_POLY1305_AEAD_IV_SIZE,
    HASH_LEN = WC_SHA256_DIGEST_SIZE,
    KEM_CONTEXT_LEN = 2 * HPKE_KEY_LEN,
    SCHEDULE_CONTEXT_LEN = 1 + 2 * HASH_LEN,
    LABELLED_MAX = 512, /* everything that is hashed: label, suite and value */
};
static_assert(ENC_LEN + TAG_LEN == HPKE_OVERHEAD, "what is sealed is that much longer");

/* RFC 9180, 4.1 and 5.1: kem_id 0x0020, kdf_id 0x0001, aead_id 0x0003. */
struct suite {
    size_t len;
    uint8_t id[10];
};
static const struct suite kem = {5, {'K', 'E', 'M', 0x00, 0x20}};
static const struct suite hpke = {
    10, {'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x03}};

struct buffer {
    size_t len;
    bool full;
    uint8_t bytes[LABELLED_MAX];
};
static void
buffer_wipe(struct buffer *buffer)
{
    explicit_bzero(buffer, sizeof(*buffer));
}
#define BUFFER AUTO(buffer_wipe) struct buffer

static void
append(struct buffer *buffer, const void *bytes, size_t len)
{
    if (len > sizeof(buffer->bytes) - buffer->len) {
        buffer->full = true;
        return;
    }
    if (len)
        memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
}

static void
append_label(struct buffer *buffer, const struct suite *suite, const char *label)
{
    append(buffer, "HPKE-v1", 7);
    append(buffer, suite->id, suite->len);
    append(buffer, label, strlen(label));
}

/* LabeledExtract (4); no salt: NULL. */
static bool
extract(const struct suite *suite, const struct secret *salt, const char *label,
        const void *ikm, size_t len, struct secret *out)
{
    BUFFER labelled = {0};
    append_label(&labelled, suite, label);
    append(&labelled, ikm, len);
    out->len = HASH_LEN;
    return !labelled.full &&
           !wc_HKDF_Extract(WC_SHA256, salt ? salt->bytes : NULL,
                            salt ? (word32)salt->len : 0, labelled.bytes,
                            (word32)labelled.len, out->bytes);
}

/* LabeledExpand (4). */
static bool
expand(const struct suite *suite, const struct secret *prk, const char *label,
       const void *info, size_t info_len, size_t len, struct secret *out)
{
    BUFFER labelled = {0};
    const uint8_t length[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    append(&labelled, length, sizeof(length));
    append_label(&labelled, suite, label);
    append(&labelled, info, info_len);
    out->len = len;
    return !labelled.full &&
           !wc_HKDF_Expand(WC_SHA256, prk->bytes, (word32)prk->len, labelled.bytes,
                           (word32)labelled.len, out->bytes, (word32)len);
}

static bool
is_zero(const uint8_t bytes[HPKE_KEY_LEN])
{
    static const uint8_t zeros[HPKE_KEY_LEN];
    return secret_equal_bytes(bytes, zeros, HPKE_KEY_LEN);
}

#define CURVE_KEY AUTO(wc_curve25519_free) curve25519_key

static bool
load_private(const struct secret *private_key, curve25519_key *key)
{
    return private_key->len == HPKE_KEY_LEN && !wc_curve25519_init(key) &&
           !wc_curve25519_import_private_ex(private_key->bytes, HPKE_KEY_LEN, key,
                                            EC25519_LITTLE_ENDIAN);
}

/* X25519; all zeros is refused, as 7.1.4 wants. */
static bool
agree(const struct secret *private_key, const uint8_t public_key[HPKE_KEY_LEN],
      struct secret *out)
{
    CURVE_KEY own = {0}, other = {0};
    word32 len = HPKE_KEY_LEN;
    out->len = HPKE_KEY_LEN;
    return load_private(private_key, &own) && !wc_curve25519_init(&other) &&
           !wc_curve25519_import_public_ex(public_key, HPKE_KEY_LEN, &other,
                                           EC25519_LITTLE_ENDIAN) &&
           !wc_curve25519_shared_secret_ex(&own, &other, out->bytes, &len,
                                           EC25519_LITTLE_ENDIAN) &&
           len == HPKE_KEY_LEN && !is_zero(out->bytes);
}

/* What both ends come to: ExtractAndExpand (4.1), then KeySchedule (5.1) in base mode. */
static bool
schedule(const struct secret *private_key, const uint8_t peer[HPKE_KEY_LEN],
         const uint8_t kem_context[KEM_CONTEXT_LEN], const struct hpke_context *context,
         struct secret *out_key, struct secret *out_nonce)
{
    SECRET dh = {0}, prk = {0}, shared = {0}, secret = {0}, id_hash = {0},
           info_hash = {0};
    uint8_t joined[SCHEDULE_CONTEXT_LEN] = {0}; /* mode_base */
    if (!agree(private_key, peer, &dh) ||
        !extract(&kem, NULL, "eae_prk", dh.bytes, dh.len, &prk) ||
        !expand(&kem, &prk, "shared_secret", kem_context, KEM_CONTEXT_LEN, HASH_LEN,
                &shared) ||
        !extract(&hpke, NULL, "psk_id_hash", NULL, 0, &id_hash) ||
        !extract(&hpke, NULL, "info_hash", context->info, context->info_len,
                 &info_hash) ||
        !extract(&hpke, &shared, "secret", NULL, 0, &secret))
        return false;
    memcpy(joined + 1, id_hash.bytes, HASH_LEN);
    memcpy(joined + 1 + HASH_LEN, info_hash.bytes, HASH_LEN);
    return expand(&hpke, &secret, "key", joined, sizeof(joined), HPKE_KEY_LEN, out_key) &&
           expand(&hpke, &secret, "base_nonce", joined, sizeof(joined), NONCE_SIZE,
                  out_nonce);
}

enum st_code
hpke_public(const struct secret *private_key, uint8_t out[HPKE_KEY_LEN],
            struct st_err *err)
{
    uint8_t public_key[HPKE_KEY_LEN];
    CURVE_KEY key = {0};
    word32 len = HPKE_KEY_LEN;
    if (!load_private(private_key, &key) ||
        wc_curve25519_export_public_ex(&key, public_key, &len, EC25519_LITTLE_ENDIAN))
        return st_fail(err, ST_INVALID_ARGUMENT, "no X25519 private key");
    memcpy(out, public_key, HPKE_KEY_LEN);
    return ST_OK;
}

enum st_code
hpke_generate(struct secret *out_private, uint8_t out_public[HPKE_KEY_LEN],
              struct st_err *err)
{
    SECRET made = {0};
    enum st_code code;
    if ((code = secret_random(&made, HPKE_KEY_LEN, err)))
        return code;
    made.bytes[0] &= 0xf8; /* as RFC 7748, 5 reads it: so others write it */
    made.bytes[31] = (uint8_t)((made.bytes[31] & 0x7f) | 0x40);
    if ((code = hpke_public(&made, out_public, err)))
        return code;
    *out_private = made;
    return ST_OK;
}

enum st_code
hpke_seal(const uint8_t public_key[HPKE_KEY_LEN], const struct hpke_context *context,
          const struct secret *message, uint8_t *out, struct st_err *err)
{
    SECRET ephemeral = {0}, key = {0}, nonce = {0};
    uint8_t kem_context[KEM_CONTEXT_LEN];
    enum st_code code;
    if ((code = hpke_generate(&ephemeral, kem_context, err)))
        return code;
    memcpy(kem_context + ENC_LEN, public_key, HPKE_KEY_LEN);
    if (!schedule(&ephemeral, public_key, kem_context, context, &key, &nonce))
        return st_fail(err, ST_INVALID_ARGUMENT,
                       "nothing can be sealed for this X25519 key");
    memcpy(out, kem_context, ENC_LEN);
    if (wc_ChaCha20Poly1305_Encrypt(key.bytes, nonce.bytes, context->aad,
                                    (word32)context->aad_len, message->bytes,
                                    (word32)message->len, out + ENC_LEN,
                                    out + ENC_LEN + message->len))
        return st_fail(err, ST_INTERNAL, "ChaCha20-Poly1305 failed");
    return ST_OK;
}

enum st_code
hpke_open(const struct secret *private_key, const struct hpke_context *context,
          const void *sealed, size_t len, struct secret *out, struct st_err *err)
{
    SECRET key = {0}, nonce = {0}, message = {0};
    uint8_t kem_context[KEM_CONTEXT_LEN];
    const uint8_t *enc = sealed, *encrypted = enc + ENC_LEN;
    enum st_code code;
    if (len <= HPKE_OVERHEAD || len - HPKE_OVERHEAD > SECRET_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "%zu sealed bytes", len);
    memcpy(kem_context, enc, ENC_LEN);
    if ((code = hpke_public(private_key, kem_context + ENC_LEN, err)))
        return code;
    message.len = len - HPKE_OVERHEAD;
    const bool opens =
        schedule(private_key, enc, kem_context, context, &key, &nonce) &&
        !wc_ChaCha20Poly1305_Decrypt(
            key.bytes, nonce.bytes, context->aad, (word32)context->aad_len, encrypted,
            (word32)message.len, encrypted + message.len, message.bytes);
    if (!opens)
        return st_fail(err, ST_PERMISSION_DENIED,
                       "it was not sealed for this key, or is not what was sealed");
    *out = message;
    return ST_OK;
}

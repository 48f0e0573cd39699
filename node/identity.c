#include <wolfssl/options.h>

#include "node/identity.h"

#include <string.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/hmac.h>

#define LABEL "smalltown identity v1"

enum {
    IV_LEN = CHACHA20_POLY1305_AEAD_IV_SIZE,
    TAG_LEN = CHACHA20_POLY1305_AEAD_AUTHTAG_SIZE,
    PLAIN_MAX = ED25519_SEED_LEN + 1024
};

void
identity_wipe(struct identity *identity)
{
    explicit_bzero(identity, sizeof(*identity));
}

enum st_code
identity_of_seed(const struct secret *seed, struct identity *out, struct st_err *err)
{
    IDENTITY identity = {.seed = *seed};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code = key_public(seed, public_key, err);
    if (code)
        return code;
    node_id_of_key(public_key, identity.node_id);
    if ((code = cert_self_sign(seed, identity.node_id, &identity.cert, err)))
        return code;
    *out = identity;
    return ST_OK;
}

static enum st_code
derive(const struct secret *disk_key, struct secret *out, struct st_err *err)
{
    out->len = CHACHA20_POLY1305_AEAD_KEYSIZE;
    if (wc_HKDF(WC_SHA256, disk_key->bytes, (word32)disk_key->len, NULL, 0,
                (const byte *)LABEL, strlen(LABEL), out->bytes, (word32)out->len))
        return st_fail(err, ST_INTERNAL, "HKDF failed");
    return ST_OK;
}

enum st_code
identity_write(const struct esp *esp, const struct secret *disk_key,
               const struct identity *identity, struct st_err *err)
{
    SECRET key = {0}, iv = {0};
    uint8_t plain[PLAIN_MAX], content[IV_LEN + PLAIN_MAX + TAG_LEN];
    size_t len = ED25519_SEED_LEN + identity->cert.len;
    enum st_code code;
    if ((code = derive(disk_key, &key, err)) || (code = secret_random(&iv, IV_LEN, err)))
        return code;
    memcpy(plain, identity->seed.bytes, ED25519_SEED_LEN);
    memcpy(plain + ED25519_SEED_LEN, identity->cert.der, identity->cert.len);
    memcpy(content, iv.bytes, IV_LEN);
    int failed = wc_ChaCha20Poly1305_Encrypt(
        key.bytes, content, (const byte *)identity->node_id, NODE_ID_LEN, plain,
        (word32)len, content + IV_LEN, content + IV_LEN + len);
    explicit_bzero(plain, sizeof(plain));
    if (failed)
        return st_fail(err, ST_INTERNAL, "ChaCha20-Poly1305 failed (%d)", failed);
    return esp_write(esp, ESP_IDENTITY, content, IV_LEN + len + TAG_LEN, err);
}

static enum st_code
take(const uint8_t *plain, size_t len, const char *node_id, struct identity *out,
     struct st_err *err)
{
    IDENTITY identity = {0};
    enum st_code code = secret_set(&identity.seed, plain, ED25519_SEED_LEN, err);
    if (code || (code = identity_of_seed(&identity.seed, &identity, err)))
        return code;
    if (strcmp(identity.node_id, node_id) != 0 ||
        len - ED25519_SEED_LEN > sizeof(identity.cert.der))
        return st_fail(err, ST_DATA_LOSS, "it is of %s", identity.node_id);
    identity.cert.len = len - ED25519_SEED_LEN;
    memcpy(identity.cert.der, plain + ED25519_SEED_LEN, identity.cert.len);
    *out = identity;
    return ST_OK;
}

enum st_code
identity_read(const struct esp *esp, const struct secret *disk_key, const char *node_id,
              struct identity *out, struct st_err *err)
{
    SECRET key = {0};
    uint8_t content[ESP_CONTENT_MAX], plain[ESP_CONTENT_MAX];
    size_t len;
    enum st_code code;
    if ((code = esp_read(esp, ESP_IDENTITY, content, &len, err)) ||
        (code = derive(disk_key, &key, err)))
        return code;
    if (len <= IV_LEN + ED25519_SEED_LEN + TAG_LEN)
        return st_fail(err, ST_DATA_LOSS, "%s is too short", esp_path(esp, ESP_IDENTITY));
    len -= IV_LEN + TAG_LEN;
    if (wc_ChaCha20Poly1305_Decrypt(key.bytes, content, (const byte *)node_id,
                                    NODE_ID_LEN, content + IV_LEN, (word32)len,
                                    content + IV_LEN + len, plain))
        return st_fail(err, ST_DATA_LOSS,
                       "%s does not open with the key of this disk: it is of another "
                       "enrolment",
                       esp_path(esp, ESP_IDENTITY));
    code = take(plain, len, node_id, out, err);
    explicit_bzero(plain, sizeof(plain));
    return code ? st_wrap(err, "%s", esp_path(esp, ESP_IDENTITY)) : ST_OK;
}

/* Part 1, 24 "Credential Protection", with the key derivations of 11.4.10 and annex B.10
 * (RSA) and C.6 (ECC). */
#include "tpm/judge_internal.h"

#include <assert.h>
#include <string.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/random.h>

enum {
    CREDENTIAL_MAX = 32
};

/* What the EK's template says beside its key (TCG EK Credential Profile, B.3, B.4). */
struct protection {
    enum wc_HashType hash;
    int mgf;
    size_t digest_len; /* of hash; also of the seed and the HMAC key */
    size_t aes_len;
};
static const struct protection low_range = {WC_HASH_TYPE_SHA256, WC_MGF1SHA256, 32, 16};
static const struct protection high_range = {WC_HASH_TYPE_SHA384, WC_MGF1SHA384, 48, 32};

static const char identity[] = "IDENTITY"; /* labels are used with their NUL */
static const char storage[] = "STORAGE";
static const char integrity[] = "INTEGRITY";

static void
put(struct secret *to, const void *bytes, size_t len)
{
    assert(len <= SECRET_MAX - to->len);
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
}

static void
put_u16(struct secret *to, size_t value)
{
    const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};
    put(to, bytes, sizeof(bytes));
}

static void
put_u32(struct secret *to, size_t value)
{
    put_u16(to, value >> 16);
    put_u16(to, value);
}

static void
hmac_wipe(Hmac *hmac)
{
    wc_HmacFree(hmac);
    explicit_bzero(hmac, sizeof(*hmac));
}

static bool
hmac_over(const struct protection *with, const struct secret *key,
          const struct secret *message, struct secret *out)
{
    AUTO(hmac_wipe) Hmac hmac = {0};
    out->len = with->digest_len;
    return wc_HmacInit(&hmac, NULL, INVALID_DEVID) == 0 &&
           wc_HmacSetKey(&hmac, (int)with->hash, key->bytes, (word32)key->len) == 0 &&
           wc_HmacUpdate(&hmac, message->bytes, (word32)message->len) == 0 &&
           wc_HmacFinal(&hmac, out->bytes) == 0;
}

/* KDFa (11.4.10.2), where the key is no longer than one digest: the first round. */
static bool
kdfa(const struct protection *with, const struct secret *seed, const char *label,
     const void *context, size_t context_len, size_t len, struct secret *out)
{
    assert(len <= with->digest_len);
    SECRET message = {0};
    put_u32(&message, 1);
    put(&message, label, strlen(label) + 1);
    if (context_len > 0)
        put(&message, context, context_len);
    put_u32(&message, 8 * len);
    if (!hmac_over(with, seed, &message, out))
        return false;
    out->len = len;
    return true;
}

/* KDFe (11.4.10.3), for exactly one digest; the parties are x coordinates. */
static bool
kdfe(const struct protection *with, const struct secret *shared, const uint8_t *x_ours,
     const uint8_t *x_theirs, size_t x_len, struct secret *out)
{
    SECRET message = {0};
    put_u32(&message, 1);
    put(&message, shared->bytes, shared->len);
    put(&message, identity, sizeof(identity));
    put(&message, x_ours, x_len);
    put(&message, x_theirs, x_len);
    out->len = with->digest_len;
    return wc_Hash(with->hash, message.bytes, (word32)message.len, out->bytes,
                   (word32)out->len) == 0;
}

/* B.10.4: a random seed under RSAES-OAEP. */
static enum st_code
seed_for_rsa(const struct protection *with, const struct tpm_ek_numbers *ek, WC_RNG *rng,
             struct secret *out_seed, struct tpm_challenge *out, struct st_err *err)
{
    enum st_code code = secret_random(out_seed, with->digest_len, err);
    if (code)
        return code;
    TPM_RSA_KEY key = {0};
    byte label[sizeof(identity)];
    memcpy(label, identity, sizeof(label));
    if (!tpm_rsa_load(&key, ek->modulus) ||
        wc_RsaPublicEncrypt_ex(out_seed->bytes, (word32)out_seed->len,
                               out->encrypted_secret, sizeof(out->encrypted_secret), &key,
                               rng, WC_RSA_OAEP_PAD, with->hash, with->mgf, label,
                               sizeof(label)) != RSA_LEN)
        return tpm_crypto_failed(err, "encrypt to an RSA EK");
    out->encrypted_secret_len = RSA_LEN;
    return ST_OK;
}

/* C.6.1: one-pass Diffie-Hellman with a fresh key, whose point is what is sent. */
static enum st_code
seed_for_ecc(const struct protection *with, const struct tpm_ek_numbers *ek, WC_RNG *rng,
             struct secret *out_seed, struct tpm_challenge *out, struct st_err *err)
{
    TPM_ECC_KEY theirs = {0};
    TPM_ECC_KEY ours = {0};
    SECRET shared = {.len = ek->len};
    SECRET point = {0};
    uint8_t x[POINT_MAX], y[POINT_MAX];
    word32 x_len = (word32)ek->len, y_len = (word32)ek->len, shared_len = (word32)ek->len;
    if (!tpm_point_load(&theirs, ek->curve, ek->x, ek->y) || wc_ecc_init(&ours) ||
        wc_ecc_make_key_ex(rng, (int)ek->len, &ours, ek->curve) ||
        wc_ecc_set_rng(&ours, rng) ||
        wc_ecc_export_public_raw(&ours, x, &x_len, y, &y_len) ||
        wc_ecc_shared_secret(&ours, &theirs, shared.bytes, &shared_len) ||
        x_len != ek->len || y_len != ek->len || shared_len != ek->len ||
        !kdfe(with, &shared, x, ek->x, ek->len, out_seed))
        return tpm_crypto_failed(err, "agree on a seed with an ECC EK");
    put_u16(&point, x_len);
    put(&point, x, x_len);
    put_u16(&point, y_len);
    put(&point, y, y_len);
    memcpy(out->encrypted_secret, point.bytes, point.len);
    out->encrypted_secret_len = point.len;
    return ST_OK;
}

static void
aes_wipe(Aes *aes)
{
    wc_AesFree(aes);
    explicit_bzero(aes, sizeof(*aes));
}

static bool
encrypt(const struct secret *key, const struct secret *plain, struct secret *out)
{
    static const byte zero_iv[AES_BLOCK_SIZE];
    AUTO(aes_wipe) Aes aes = {0};
    out->len = plain->len;
    return wc_AesInit(&aes, NULL, INVALID_DEVID) == 0 &&
           wc_AesSetKey(&aes, key->bytes, (word32)key->len, zero_iv, AES_ENCRYPTION) ==
               0 &&
           wc_AesCfbEncrypt(&aes, out->bytes, plain->bytes, (word32)plain->len) == 0;
}

/* 24.4 and 24.5: TPMS_ID_OBJECT is the HMAC as TPM2B, then the encrypted TPM2B. */
static bool
protect(const struct protection *with, const struct secret *seed,
        const uint8_t ak_name[TPM_NAME_LEN], const struct secret *credential,
        struct tpm_challenge *out)
{
    SECRET aes_key = {0};
    SECRET hmac_key = {0};
    SECRET plain = {0};
    SECRET sealed = {0};
    SECRET hmac = {0};
    SECRET object = {0};
    put_u16(&plain, credential->len);
    put(&plain, credential->bytes, credential->len);
    if (!kdfa(with, seed, storage, ak_name, TPM_NAME_LEN, with->aes_len, &aes_key) ||
        !encrypt(&aes_key, &plain, &sealed) ||
        !kdfa(with, seed, integrity, NULL, 0, with->digest_len, &hmac_key))
        return false;
    size_t encrypted_len = sealed.len;
    put(&sealed, ak_name, TPM_NAME_LEN);
    if (!hmac_over(with, &hmac_key, &sealed, &hmac))
        return false;
    put_u16(&object, hmac.len);
    put(&object, hmac.bytes, hmac.len);
    put(&object, sealed.bytes, encrypted_len);
    memcpy(out->id_object, object.bytes, object.len);
    out->id_object_len = object.len;
    return true;
}

enum st_code
tpm_challenge_make(const struct tpm_ek *ek, const uint8_t ak_name[TPM_NAME_LEN],
                   const struct secret *credential, struct tpm_challenge *out,
                   struct st_err *err)
{
    struct tpm_ek_numbers numbers;
    enum st_code code = tpm_ek_read_numbers(ek->spki, ek->spki_len, &numbers, err);
    if (code)
        return code;
    if (credential->len < 1 || credential->len > CREDENTIAL_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "a credential of %zu bytes",
                       credential->len);
    const struct protection *with =
        !numbers.rsa && numbers.curve == ECC_SECP384R1 ? &high_range : &low_range;
    /* Made for one call: wolfSSL's RNG is not fork-safe, and any thread may come. */
    AUTO(wc_FreeRng) WC_RNG rng = {0};
    SECRET seed = {0};
    struct tpm_challenge challenge = {0};
    if (wc_InitRng(&rng))
        return st_fail(err, ST_UNAVAILABLE, "the system has no random bytes");
    code = numbers.rsa ? seed_for_rsa(with, &numbers, &rng, &seed, &challenge, err)
                       : seed_for_ecc(with, &numbers, &rng, &seed, &challenge, err);
    if (code)
        return code;
    if (!protect(with, &seed, ak_name, credential, &challenge))
        return tpm_crypto_failed(err, "make a challenge");
    *out = challenge;
    return ST_OK;
}

#include "tpm/approval.h"

#include "tpm/judge_internal.h"

#include <assert.h>
#include <string.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/random.h>

#define REF_LABEL "smalltown seal v1"

enum {
    SIGNATURE_DER_MAX = 80, /* two INTEGERs of at most 33 bytes */
};

/* What goes into a digest; never more than two digests and a Name. */
struct message {
    size_t len;
    uint8_t bytes[160];
};

static void
put(struct message *to, const void *bytes, size_t len)
{
    assert(len <= sizeof(to->bytes) - to->len);
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
}

static void
put_u32(struct message *to, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16),
                             (uint8_t)(value >> 8), (uint8_t)value};
    put(to, bytes, sizeof(bytes));
}

static enum st_code
hash(const struct message *message, uint8_t out[SHA256_LEN], struct st_err *err)
{
    if (wc_Sha256Hash(message->bytes, (word32)message->len, out))
        return tpm_crypto_failed(err, "hash a policy");
    return ST_OK;
}

/* A policy begins with zeros and the number of its first command. */
static struct message
policy_begin(TPM2_CC command)
{
    struct message message = {.len = SHA256_LEN};
    put_u32(&message, command);
    return message;
}

enum st_code
tpm_policy_pcrs(const struct tpm_pcrs *pcrs, uint32_t mask, uint8_t out[SHA256_LEN],
                struct st_err *err)
{
    uint8_t values[sizeof(pcrs->digest)], digest[SHA256_LEN];
    size_t len = 0;
    for (int pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
        if (mask >> pcr & 1) {
            memcpy(values + len, pcrs->digest[pcr], SHA256_LEN);
            len += SHA256_LEN;
        }
    if (wc_Sha256Hash(values, (word32)len, digest))
        return tpm_crypto_failed(err, "hash PCRs");
    return tpm_policy_pcr_digest(digest, mask, out, err);
}

enum st_code
tpm_policy_pcr_digest(const uint8_t digest[SHA256_LEN], uint32_t mask,
                      uint8_t out[SHA256_LEN], struct st_err *err)
{
    /* TPML_PCR_SELECTION of one bank, SHA-256, three bytes of bits */
    const uint8_t selection[] = {
        0, 0, 0, 1, 0, TPM2_ALG_SHA256, 3, (uint8_t)mask, (uint8_t)(mask >> 8), 0};
    struct message message = policy_begin(TPM2_CC_PolicyPCR);
    put(&message, selection, sizeof(selection));
    put(&message, digest, SHA256_LEN);
    return hash(&message, out, err);
}

void
tpm_authority_public(const uint8_t point[TPM_AUTHORITY_LEN],
                     uint8_t out[TPM_AUTHORITY_PUBLIC_LEN])
{
    static const uint8_t head[] = {
        0x00, 0x23,             /* TPM_ALG_ECC */
        0x00, 0x0b,             /* nameAlg SHA-256 */
        0x00, 0x04, 0x00, 0x40, /* sign; userWithAuth */
        0x00, 0x00,             /* no authPolicy */
        0x00, 0x10,             /* symmetric: null */
        0x00, 0x18, 0x00, 0x0b, /* ECDSA, SHA-256 */
        0x00, 0x03,             /* NIST P-256 */
        0x00, 0x10,             /* kdf: null */
    };
    static const uint8_t size[] = {0x00, P256_LEN};
    static_assert(sizeof(head) + 2 * (sizeof(size) + P256_LEN) ==
                      TPM_AUTHORITY_PUBLIC_LEN,
                  "its length is known to others");
    out = mempcpy(out, head, sizeof(head));
    out = mempcpy(out, size, sizeof(size));
    out = mempcpy(out, point, P256_LEN);
    out = mempcpy(out, size, sizeof(size));
    memcpy(out, point + P256_LEN, P256_LEN);
}

enum st_code
tpm_authority_name(const uint8_t point[TPM_AUTHORITY_LEN], uint8_t out[TPM_NAME_LEN],
                   struct st_err *err)
{
    struct message public = {.len = TPM_AUTHORITY_PUBLIC_LEN};
    uint8_t digest[SHA256_LEN];
    tpm_authority_public(point, public.bytes);
    enum st_code code = hash(&public, digest, err);
    if (code)
        return code;
    out[0] = TPM2_ALG_SHA256 >> 8;
    out[1] = TPM2_ALG_SHA256;
    memcpy(out + 2, digest, SHA256_LEN);
    return ST_OK;
}

enum st_code
tpm_policy_authorize(const struct tpm_authority *authority, uint8_t out[SHA256_LEN],
                     struct st_err *err)
{
    struct message message = policy_begin(TPM2_CC_PolicyAuthorize);
    uint8_t name[TPM_NAME_LEN], digest[SHA256_LEN];
    enum st_code code = tpm_authority_name(authority->point, name, err);
    if (code)
        return code;
    put(&message, name, sizeof(name));
    if ((code = hash(&message, digest, err)))
        return code;
    return tpm_approval_digest(digest, authority->ref, out, err);
}

enum st_code
tpm_policy_or(const uint8_t first[SHA256_LEN], const uint8_t second[SHA256_LEN],
              uint8_t out[SHA256_LEN], struct st_err *err)
{
    struct message message = policy_begin(TPM2_CC_PolicyOR);
    put(&message, first, SHA256_LEN);
    put(&message, second, SHA256_LEN);
    return hash(&message, out, err);
}

enum st_code
tpm_approval_digest(const uint8_t policy[SHA256_LEN], const uint8_t ref[SHA256_LEN],
                    uint8_t out[SHA256_LEN], struct st_err *err)
{
    struct message message = {0};
    put(&message, policy, SHA256_LEN);
    put(&message, ref, SHA256_LEN);
    return hash(&message, out, err);
}

enum st_code
tpm_authority_for(const uint8_t point[TPM_AUTHORITY_LEN], const char *node_id,
                  struct tpm_authority *out, struct st_err *err)
{
    struct message message = {0};
    uint8_t ref[SHA256_LEN];
    put(&message, REF_LABEL, strlen(REF_LABEL));
    put(&message, node_id, strlen(node_id));
    enum st_code code = hash(&message, ref, err);
    if (code)
        return code;
    memcpy(out->point, point, TPM_AUTHORITY_LEN);
    memcpy(out->ref, ref, SHA256_LEN);
    return ST_OK;
}

enum st_code
tpm_authority_check(const uint8_t point[TPM_AUTHORITY_LEN], struct st_err *err)
{
    if (!tpm_point_check(ECC_SECP256R1, point, point + P256_LEN))
        return tpm_malformed(err, "the authority is no point of P-256");
    return ST_OK;
}

enum st_code
tpm_authority_make(struct secret *out_key, uint8_t out[TPM_AUTHORITY_LEN],
                   struct st_err *err)
{
    /* Made for one call: wolfSSL's RNG is not fork-safe, and any thread may come. */
    AUTO(wc_FreeRng) WC_RNG rng = {0};
    TPM_ECC_KEY key = {0};
    SECRET number = {.len = P256_LEN};
    uint8_t x[P256_LEN], y[P256_LEN];
    word32 x_len = sizeof(x), y_len = sizeof(y), len = P256_LEN;
    if (wc_InitRng(&rng))
        return st_fail(err, ST_UNAVAILABLE, "the system has no random bytes");
    if (wc_ecc_init(&key) || wc_ecc_make_key_ex(&rng, P256_LEN, &key, ECC_SECP256R1) ||
        wc_ecc_export_public_raw(&key, x, &x_len, y, &y_len) ||
        wc_ecc_export_private_only(&key, number.bytes, &len) || x_len != P256_LEN ||
        y_len != P256_LEN || len != P256_LEN)
        return tpm_crypto_failed(err, "make an authority");
    *out_key = number;
    memcpy(out, x, P256_LEN);
    memcpy(out + P256_LEN, y, P256_LEN);
    return ST_OK;
}

/* Right-aligned. */
static bool
put_number(const uint8_t *number, word32 len, uint8_t out[P256_LEN])
{
    if (len > P256_LEN)
        return false;
    memset(out, 0, P256_LEN);
    memcpy(out + P256_LEN - len, number, len);
    return true;
}

static bool
sign(const struct secret *number, const uint8_t point[TPM_AUTHORITY_LEN],
     const uint8_t digest[SHA256_LEN], WC_RNG *rng,
     uint8_t out[TPM_APPROVAL_SIGNATURE_LEN])
{
    TPM_ECC_KEY key = {0};
    uint8_t der[SIGNATURE_DER_MAX], r[P256_LEN + 1], s[P256_LEN + 1];
    word32 der_len = sizeof(der), r_len = sizeof(r), s_len = sizeof(s);
    return wc_ecc_init(&key) == 0 &&
           wc_ecc_import_unsigned(&key, point, point + P256_LEN, number->bytes,
                                  ECC_SECP256R1) == 0 &&
           wc_ecc_sign_hash(digest, SHA256_LEN, der, &der_len, rng, &key) == 0 &&
           wc_ecc_sig_to_rs(der, der_len, r, &r_len, s, &s_len) == 0 &&
           put_number(r, r_len, out) && put_number(s, s_len, out + P256_LEN);
}

enum st_code
tpm_approve(const struct secret *key, const struct tpm_authority *authority,
            const struct tpm_pcrs *pcrs, struct tpm_approval *out, struct st_err *err)
{
    AUTO(wc_FreeRng) WC_RNG rng = {0};
    struct tpm_approval approval;
    uint8_t digest[SHA256_LEN];
    enum st_code code;
    if (key->len != TPM_AUTHORITY_KEY_LEN)
        return st_fail(err, ST_INTERNAL, "an authority's key of %zu bytes", key->len);
    memcpy(approval.point, authority->point, TPM_AUTHORITY_LEN);
    if ((code = tpm_policy_pcrs(pcrs, TPM_APPROVED_PCRS, approval.policy, err)) ||
        (code = tpm_approval_digest(approval.policy, authority->ref, digest, err)))
        return code;
    if (wc_InitRng(&rng))
        return st_fail(err, ST_UNAVAILABLE, "the system has no random bytes");
    if (!sign(key, authority->point, digest, &rng, approval.signature))
        return tpm_crypto_failed(err, "sign an approval");
    *out = approval;
    return ST_OK;
}

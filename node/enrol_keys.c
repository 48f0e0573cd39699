#include "node/enrol_keys.h"

#include "node/half.h"
#include "proto/scope.h"

#include <string.h>

#define FIT_LABEL "smalltown pending v1"

enum {
    FIT_AT = UNLOCK_KEY_LEN + ED25519_SEED_LEN,
    PENDING_LEN = FIT_AT + SHA256_LEN
};

/* Of what enrolment.pb says now. */
static void
fit_of(const struct node *node, const struct secret *local_half, uint8_t out[SHA256_LEN])
{
    SECRET said = {0};
    uint8_t *at = said.bytes + strlen(FIT_LABEL);
    memcpy(said.bytes, FIT_LABEL, strlen(FIT_LABEL));
    *at++ = node->config.has_recovery;
    if (node->config.has_recovery)
        memcpy(at, node->config.recovery, HPKE_KEY_LEN);
    at += HPKE_KEY_LEN;
    memcpy(at, local_half->bytes, UNLOCK_KEY_LEN);
    at += UNLOCK_KEY_LEN;
    cert_fingerprint(said.bytes, (size_t)(at - said.bytes), out);
}

static enum st_code
complete(struct keys *keys, const struct secret *seed, struct st_err *err)
{
    secret_xor(&keys->local_half, &keys->global_half, &keys->disk_key);
    return identity_of_seed(seed, &keys->identity, err);
}

enum st_code
keys_make(struct keys *out, struct st_err *err)
{
    SECRET seed = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    enum st_code code;
    if ((code = secret_random(&out->local_half, UNLOCK_KEY_LEN, err)) ||
        (code = secret_random(&out->global_half, UNLOCK_KEY_LEN, err)) ||
        (code = key_generate(&seed, public_key, err)))
        return code;
    out->fit = out->ours = true;
    return complete(out, &seed, err);
}

enum st_code
keys_seal(const struct node *node, struct tpm *tpm, const struct keys *keys,
          struct st_err *err)
{
    SECRET pending = keys->global_half;
    enum st_code code;
    memcpy(pending.bytes + UNLOCK_KEY_LEN, keys->identity.seed.bytes, ED25519_SEED_LEN);
    fit_of(node, &keys->local_half, pending.bytes + FIT_AT);
    pending.len = PENDING_LEN;
    if ((code = half_seal(node, tpm, ESP_PENDING, &pending, err)))
        return code;
    node_passed(node, ENROL_PENDING_SEALED);
    if ((code = half_seal(node, tpm, ESP_SEALED, &keys->local_half, err)))
        return code;
    node_passed(node, ENROL_HALF_SEALED);
    return ST_OK;
}

static enum st_code
unseal_pending(const struct node *node, struct tpm *tpm, struct secret *out,
               struct st_err *err)
{
    struct st_err why = {0};
    enum st_code code = half_unseal(node, tpm, ESP_PENDING, PENDING_LEN, out, err);
    if (code == ST_DATA_LOSS && !half_unseal(node, tpm, ESP_PENDING, FIT_AT, out, &why))
        return ST_OK;
    return code;
}

/* Who knows a half that he sealed himself has the disk, and who knows the id key is the
 * node. */
static enum st_code
look_who(const struct node *node, struct tpm *tpm, bool *out_ours, struct st_err *err)
{
    enum st_code code = half_check_maker(node, tpm, ESP_PENDING, err);
    if (!code)
        code = half_check_maker(node, tpm, ESP_SEALED, err);
    *out_ours = code == ST_OK;
    return code == ST_PERMISSION_DENIED ? ST_OK : code;
}

enum st_code
keys_unseal(const struct node *node, struct tpm *tpm, struct keys *out,
            struct st_err *err)
{
    SECRET pending = {0}, seed = {0};
    uint8_t fit[SHA256_LEN];
    enum st_code code;
    if ((code = unseal_pending(node, tpm, &pending, err)) ||
        (code =
             half_unseal(node, tpm, ESP_SEALED, UNLOCK_KEY_LEN, &out->local_half, err)) ||
        (code = secret_set(&out->global_half, pending.bytes, UNLOCK_KEY_LEN, err)) ||
        (code =
             secret_set(&seed, pending.bytes + UNLOCK_KEY_LEN, ED25519_SEED_LEN, err)) ||
        (code = look_who(node, tpm, &out->ours, err)))
        return code;
    fit_of(node, &out->local_half, fit);
    out->fit = pending.len == PENDING_LEN &&
               secret_equal_bytes(pending.bytes + FIT_AT, fit, SHA256_LEN);
    return complete(out, &seed, err);
}

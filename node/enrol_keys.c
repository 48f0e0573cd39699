#include "node/enrol_keys.h"

#include "node/half.h"
#include "proto/scope.h"
#include "proto/sha256.h"

#include <assert.h>
#include <string.h>

#define FIT_LABEL "smalltown pending v2"

enum {
    FIT_AT = UNLOCK_KEY_LEN + ED25519_SEED_LEN,
    PENDING_LEN = FIT_AT + SHA256_LEN
};

static_assert((int)HPKE_KEY_LEN == (int)SHA256_LEN, "by whom it is has one length");

/* Whose the recovery key of the disk is. */
enum whose {
    NOBODYS,
    RECIPIENTS,
    VIEWERS /* of whoever is before the terminal */
};

static enum whose
whose_now(const struct node *node)
{
    if (node->config.has_recovery)
        return RECIPIENTS;
    return node->no_recovery ? NOBODYS : VIEWERS;
}

/* By what enrolment.pb says now. */
static void
fit_of(const struct node *node, enum whose whose, const struct secret *local_half,
       uint8_t out[SHA256_LEN])
{
    const struct secret *secret = &node->config.secret;
    SECRET said = {0};
    uint8_t *at = said.bytes + strlen(FIT_LABEL);
    memcpy(said.bytes, FIT_LABEL, strlen(FIT_LABEL));
    *at++ = (uint8_t)whose;
    if (whose == RECIPIENTS)
        memcpy(at, node->config.recovery, HPKE_KEY_LEN);
    else if (whose == VIEWERS)
        sha256_of(secret->bytes, secret->len, at);
    at += SHA256_LEN;
    memcpy(at, local_half->bytes, UNLOCK_KEY_LEN);
    at += UNLOCK_KEY_LEN;
    sha256_of(said.bytes, (size_t)(at - said.bytes), out);
}

static bool
is_of(const struct node *node, enum whose whose, const struct secret *pending,
      const struct secret *local_half)
{
    uint8_t fit[SHA256_LEN];
    fit_of(node, whose, local_half, fit);
    return pending->len == PENDING_LEN &&
           secret_equal_bytes(pending->bytes + FIT_AT, fit, SHA256_LEN);
}

/* Where nobody is shown anything keys of this very file are right, too: `recover` is not
 * told what the daemon is. */
static bool
is_fit(const struct node *node, const struct secret *pending,
       const struct secret *local_half)
{
    const enum whose whose = whose_now(node);
    return is_of(node, whose, pending, local_half) ||
           (whose == NOBODYS && is_of(node, VIEWERS, pending, local_half));
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
    fit_of(node, whose_now(node), &keys->local_half, pending.bytes + FIT_AT);
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
               enum half_maker *out_maker, struct st_err *err)
{
    struct st_err why = {0};
    enum st_code code =
        half_unseal(node, tpm, ESP_PENDING, PENDING_LEN, out, out_maker, err);
    if (code == ST_DATA_LOSS &&
        !half_unseal(node, tpm, ESP_PENDING, FIT_AT, out, out_maker, &why))
        return ST_OK;
    return code;
}

enum st_code
keys_unseal(const struct node *node, struct tpm *tpm, struct keys *out,
            struct st_err *err)
{
    SECRET pending = {0}, seed = {0};
    enum half_maker of_pending, of_half;
    enum st_code code;
    if ((code = unseal_pending(node, tpm, &pending, &of_pending, err)) ||
        (code = half_unseal(node, tpm, ESP_SEALED, UNLOCK_KEY_LEN, &out->local_half,
                            &of_half, err)) ||
        (code = secret_set(&out->global_half, pending.bytes, UNLOCK_KEY_LEN, err)) ||
        (code = secret_set(&seed, pending.bytes + UNLOCK_KEY_LEN, ED25519_SEED_LEN, err)))
        return code;
    /* Who knows a half that he sealed himself has the disk, and who knows the id key is
     * the node. */
    out->ours = of_pending == HALF_MADE_HERE && of_half == HALF_MADE_HERE;
    out->fit = is_fit(node, &pending, &out->local_half);
    return complete(out, &seed, err);
}

/* Reading what is demanded of a machine, and judging by it. */
#include "nms/digest.h"
#include "nms/state_internal.h"
#include "proto/sha256.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum st_code
state_reset_policy(struct state *state, struct st_err *err)
{
    struct policy *parsed;
    enum st_code code =
        policy_parse(policy_default, strlen(policy_default), &parsed, NULL, err);
    if (code)
        return code;
    policy_free(state->policy);
    state->policy = parsed;
    state->policy_version = 0;
    return ST_OK;
}

/* A document that cannot be read, maybe of a later version, keeps the master from
 * starting: to go on without it would be to accept anything. */
enum st_code
state_take_policy(struct state *state, const State__Policy *policy, struct st_err *err)
{
    struct policy *parsed;
    struct st_err why = {0};
    if (policy->version <= state->policy_version)
        return ST_OK;
    enum st_code code =
        policy_parse(policy->text, strlen(policy->text), &parsed, NULL, &why);
    if (code)
        return st_fail(err, code == ST_INVALID_ARGUMENT ? ST_DATA_LOSS : code,
                       "policy version %" PRIu64 ": %s", policy->version, why.text);
    policy_free(state->policy);
    state->policy = parsed;
    state->policy_version = policy->version;
    return ST_OK;
}

/* A copy to be freed like the others. */
static State__Policy *
default_policy(void)
{
    State__Policy policy = STATE__POLICY__INIT;
    uint8_t packed[1024];
    policy.text = (char *)policy_default;
    const size_t len = state__policy__get_packed_size(&policy);
    assert(len <= sizeof(packed));
    state__policy__pack(&policy, packed);
    return state__policy__unpack(&state_allocator, len, packed);
}

enum st_code
state_policy(struct state *state, uint64_t version, State__Policy **out,
             struct st_err *err)
{
    char key[STATE_KEY_MAX];
    READING(state);
    if (version == 0 && state->policy_version == 0) {
        *out = default_policy();
        return ST_OK;
    }
    key_of_policy(version ? version : state->policy_version, key);
    const struct record *record = records_find(&state->records, key);
    if (!record)
        return st_fail_for(err, ST_NOT_FOUND, ST_REASON_NOT_FOUND,
                           "there is no policy version %" PRIu64
                           " (any more): see `stctl policy history`",
                           version);
    *out = record_unpack(record, &state__policy__descriptor);
    return ST_OK;
}

uint64_t
state_policy_version(struct state *state)
{
    READING(state);
    return state->policy_version;
}

void
state_policy_free(State__Policy *policy)
{
    record_free_unpacked(policy);
}

struct policy_visit {
    enum st_code (*each)(void *arg, const State__Policy *policy, struct st_err *err);
    void *arg;
};

static enum st_code
visit_policy(void *arg, const void *message, const struct record *record,
             struct st_err *err)
{
    (void)record;
    const struct policy_visit *visit = arg;
    return visit->each(visit->arg, message, err);
}

enum st_code
state_each_policy(struct state *state,
                  enum st_code (*each)(void *arg, const State__Policy *policy,
                                       struct st_err *err),
                  void *arg, struct st_err *err)
{
    struct policy_visit visit = {each, arg};
    return state_each(state, "policy/", &state__policy__descriptor, visit_policy, &visit,
                      err);
}

struct ek_ca_visit {
    enum st_code (*each)(void *arg, const State__EkCa *ca, struct st_err *err);
    void *arg;
};

static enum st_code
visit_ek_ca(void *arg, const void *message, const struct record *record,
            struct st_err *err)
{
    (void)record;
    const struct ek_ca_visit *visit = arg;
    return visit->each(visit->arg, message, err);
}

enum st_code
state_each_ek_ca(struct state *state,
                 enum st_code (*each)(void *arg, const State__EkCa *ca,
                                      struct st_err *err),
                 void *arg, struct st_err *err)
{
    struct ek_ca_visit visit = {each, arg};
    return state_each(state, "ek-ca/", &state__ek_ca__descriptor, visit_ek_ca, &visit,
                      err);
}

void
state_note_ek_cas(struct state *state)
{
    const struct record *record;
    size_t at = records_begin(&state->records, "ek-ca/");
    memset(state->ek_cas, 0, SHA256_LEN);
    /* The name of each is the SHA-256 of its certificate. */
    while ((record = records_next(&state->records, "ek-ca/", &at)))
        if (digest_labelled(record_key(record), state->ek_cas, SHA256_LEN, state->ek_cas,
                            NULL))
            state_die("cannot compute SHA-256");
}

static bool
is_certified_by(const State__EkCa *ca, const ProtobufCBinaryData *ek_cert,
                const struct tpm_ek_chain *chain)
{
    if (!chain)
        return !tpm_ek_chain_check(ek_cert->data, ek_cert->len, ca->cert.data,
                                   ca->cert.len, NULL);
    return !tpm_ek_path_check(ek_cert->data, ek_cert->len, chain, ca->cert.data,
                              ca->cert.len, NULL);
}

/* Over this chain, NULL: directly. */
static bool
is_certified(const struct state *state, const ProtobufCBinaryData *ek_cert,
             const struct tpm_ek_chain *chain)
{
    const struct record *record;
    size_t at = records_begin(&state->records, "ek-ca/");
    bool found = false;
    while (!found && (record = records_next(&state->records, "ek-ca/", &at))) {
        State__EkCa *ca = record_unpack(record, &state__ek_ca__descriptor);
        found = is_certified_by(ca, ek_cert, chain);
        record_free_unpacked(ca);
    }
    return found;
}

static bool
has_path(const struct state *state, const State__Node *node)
{
    struct tpm_ek_chain chain;
    tpm_ek_chain_read(node->ek_cert.data, node->ek_cert.len, node->ek_chain,
                      node->n_ek_chain, &chain);
    return chain.count > 0 && is_certified(state, &node->ek_cert, &chain);
}

void
state_find_evidence(struct state *state, const State__Node *node,
                    struct state_evidence *out)
{
    READING(state);
    memcpy(out->ek_cas, state->ek_cas, SHA256_LEN);
    sha256_of(node->ek_pubkey.data, node->ek_pubkey.len, out->ek_sha256);
    out->directly = false;
    if (node->ek_cert.len == 0)
        out->found = STATE__EVIDENCE__NOTHING;
    else if ((out->directly = is_certified(state, &node->ek_cert, NULL)) ||
             has_path(state, node))
        out->found = STATE__EVIDENCE__CHAIN;
    else
        out->found = STATE__EVIDENCE__CERTIFICATE;
}

bool
state_evidence_holds(struct state *state, const struct state_evidence *evidence)
{
    READING(state);
    return evidence->found != STATE__EVIDENCE__UNJUDGED &&
           memcmp(evidence->ek_cas, state->ek_cas, SHA256_LEN) == 0;
}
